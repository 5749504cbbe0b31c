// The processor as a computer of ops: a kernel table, its threads and their scratch (charged to the
// host budget as "kernel scratch"). Belongs to one compute lane: one run() at a time.
#pragma once

#include <string_view>

#include "base/thread_pool.h"
#include "device/op.h"
#include "kernels/cpu/table.h"
#include "memory/buffer.h"

namespace penstock {

class CpuCompute {
 public:
  // Throws Error(unsupported) for an ISA this processor lacks, Error(invalid_argument) for the
  // threads, Error(budget).
  CpuCompute(std::string_view isa, int threads, Budget& host, bool pinned = false);

  void run(const Op& op) const;
  std::string_view isa() const { return table_.isa; }
  bool weight_only() const { return table_.weight_only; }
  const RawInputs& raw_inputs() const { return table_.raw_inputs; }
  int threads() const { return pool_.threads(); }

 private:
  const KernelTable& table_;
  ThreadPool pool_;
  Buffer scratch_;
  KernelContext context_;
};

}  // namespace penstock

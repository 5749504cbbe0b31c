// Memory of the program's registers. Registers of the visit in progress share one block, since
// visits follow each other on the compute lane; what the head picks lives from chunk to chunk, per
// sweep.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/params.h"
#include "memory/arena.h"
#include "model/program.h"

namespace penstock {

struct RegisterSizes {
  int64_t work_bytes = 0;      // registers of one visit
  int64_t prepared_bytes = 0;  // one prepared GEMM input
};

// Sizes for micro-batches of `tokens` rows; formats by weight id.
RegisterSizes register_sizes(const Program& program, const WeightList& weights,
                             const std::vector<FormatId>& formats, Compute compute, int64_t tokens);

class Registers {
 public:
  // `work` holds work_bytes + prepared_bytes; `picked` and `projected` rows live in the head block.
  Registers(const Program& program, int64_t tokens, std::byte* work, std::byte* prepared);

  int64_t width(Reg reg) const { return program_.reg_width[static_cast<int>(reg)]; }
  // Work register inside a module of this kind.
  float* at(ModuleKind module, Reg reg) const;
  std::byte* prepared() const { return prepared_; }

 private:
  const Program& program_;
  int64_t tokens_;
  std::byte* work_;
  std::byte* prepared_;
};

}  // namespace penstock

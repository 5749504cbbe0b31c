// What a kernel gets besides its params, and the table of kernels. Light on purpose: the files
// compiled with wide instruction sets include this and no standard library template.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/parallel.h"
#include "kernels/params.h"

namespace penstock {

inline constexpr size_t kScratchBytesPerWorker = size_t{1} << 21;

// The workers, and scratch that is charged to the budget by whoever made it.
struct KernelContext {
  Parallel parallel;
  std::byte* scratch = nullptr;  // workers * kScratchBytesPerWorker, 64-byte aligned
};

struct KernelTable {
  std::string_view isa;  // "portable", "avx2", ...: isas_*.cc
  // gemm takes quantised weights with bf16 inputs (Compute::weight_only).
  bool weight_only = false;
  RawInputs raw_inputs{};
  void (*embed)(const EmbedParams&, const KernelContext&);
  void (*norm)(const NormParams&, const KernelContext&);
  void (*prepare)(const PrepareParams&, const KernelContext&);
  void (*gemm)(const GemmParams&, const KernelContext&);
  void (*gated)(const GatedParams&, const KernelContext&);
  void (*rotary)(const RotaryParams&, const KernelContext&);
  void (*kv_append)(const KvAppendParams&, const KernelContext&);
  void (*attention)(const AttentionParams&, const KernelContext&);
  void (*gather_rows)(const GatherRowsParams&, const KernelContext&);
  void (*score)(const ScoreParams&, const KernelContext&);
  void (*sample)(const SampleParams&, const KernelContext&);
};

// Replaces every entry.
void overlay_portable(KernelTable& table);

}  // namespace penstock

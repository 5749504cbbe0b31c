// One table of kernels per instruction set. portable fills every entry; avx2 and avx512 replace what they do better.
// Chosen once when a device is opened, by the processor or by name; nothing here is global state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.h"
#include "kernels/params.h"

namespace penstock {

inline constexpr size_t kScratchBytesPerWorker = size_t{1} << 21;

// What a kernel gets besides its params: the workers, and scratch that is charged to the budget by whoever made it.
struct KernelContext {
  Parallel parallel;
  std::byte* scratch = nullptr;  // workers * kScratchBytesPerWorker, 64-byte aligned
};

struct KernelTable {
  std::string_view isa;  // "portable", "avx2", "avx512", "avx512bf16"
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
};

// Best first: those this processor can run.
std::vector<std::string_view> supported_isas();
// "" or "auto": the best one. Throws Error(unsupported) naming the supported ones.
const KernelTable& kernel_table(std::string_view isa);

}  // namespace penstock

// What a kernel gets besides its params, the table of kernels, and the functions that put one ISA's
// kernels into it. Light on purpose: the files compiled with wide instruction sets include this and
// no standard library template.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/parallel.h"
#include "kernels/params.h"

namespace penstock {

// The workers, and scratch that is charged to the budget by whoever made it.
struct KernelContext {
  Parallel parallel;
  std::byte* scratch = nullptr;  // workers * kScratchBytesPerWorker, 64-byte aligned
};

struct KernelTable {
  std::string_view isa;  // "portable", "avx2", "avx512", "avx512bf16", "avx512amx"
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

// Each replaces entries of the table. Those of x86 do nothing where the build has no x86
// (x86_stub.cc).
void overlay_portable(KernelTable& table);
void overlay_avx2(KernelTable& table);
void overlay_avx512(KernelTable& table);
void overlay_avx512bf16(KernelTable& table);
void overlay_avx512amx(KernelTable& table);
// What the bf16 kernels leave to AVX-512.
void gemm_avx512(const GemmParams& params, const KernelContext& context);
void attention_avx512(const AttentionParams& params, const KernelContext& context);
// Whether processor and operating system can run the files compiled for this ISA.
bool runs_avx2();
bool runs_avx512();
bool runs_avx512bf16();
bool runs_avx512amx();  // asks the system for the tile registers, once for the process
// Whether dot products of bf16 pairs are faster than fp32 multiply-adds.
bool prefers_bf16_dot();

}  // namespace penstock

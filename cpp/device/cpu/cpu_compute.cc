#include "device/cpu/cpu_compute.h"

namespace penstock {
namespace {

struct Dispatch {
  const KernelTable& table;
  const KernelContext& context;

  void operator()(const EmbedParams& params) const { table.embed(params, context); }
  void operator()(const NormParams& params) const { table.norm(params, context); }
  void operator()(const PrepareParams& params) const { table.prepare(params, context); }
  void operator()(const GemmParams& params) const { table.gemm(params, context); }
  void operator()(const GatedParams& params) const { table.gated(params, context); }
  void operator()(const RotaryParams& params) const { table.rotary(params, context); }
  void operator()(const KvAppendParams& params) const { table.kv_append(params, context); }
  void operator()(const AttentionParams& params) const { table.attention(params, context); }
  void operator()(const GatherRowsParams& params) const { table.gather_rows(params, context); }
  void operator()(const ScoreParams& params) const { table.score(params, context); }
  void operator()(const SampleParams& params) const { table.sample(params, context); }
};

}  // namespace

CpuCompute::CpuCompute(std::string_view isa, int threads, Budget& host, bool pinned)
    : table_(kernel_table(isa)),
      pool_(threads, pinned),
      scratch_(allocate_host(kScratchBytesPerWorker * static_cast<size_t>(threads), host,
                             "kernel scratch")),
      context_{pool_.parallel(), scratch_.data()} {}

void CpuCompute::run(const Op& op) const { std::visit(Dispatch{table_, context_}, op); }

}  // namespace penstock

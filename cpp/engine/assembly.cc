#include "engine/assembly.h"

#include <algorithm>

#include "engine/throttle.h"

namespace penstock {
namespace {

ContextOptions context_options(const EngineOptions& options, int threads, Compute compute) {
  ContextOptions context;
  context.host_bytes = options.host_memory;
  if (names_accelerator(options.device)) context.device_bytes = options.device_memory;
  context.disk_bytes = options.disk_memory;
  context.reserved_host_bytes = options.reserved_host_memory;
  context.device.spec = options.device;
  context.device.threads = threads;
  context.device.pin_threads = options.pin_threads;
  context.device.compute = compute;
  context.device.cublaslt = options.cublaslt;
  context.device.delay_seed = options.delay_seed;
  const Throttle throttle = throttle_from_json(options.throttle, options.device);
  context.disk_read_bytes_per_second = throttle.disk_read;
  context.disk_write_bytes_per_second = throttle.disk_write;
  context.host_attention_bytes_per_second = throttle.host_attention;
  context.device.h2d_bytes_per_second = throttle.h2d;
  context.device.d2h_bytes_per_second = throttle.d2h;
  context.device.flops_per_second = throttle.gemm;
  context.device.attention_bytes_per_second = throttle.attention;
  return context;
}

}  // namespace

Assembly::Assembly(const EngineOptions& given, const PackProgress& packing)
    : options(with_defaults(given)),
      model(options, WeightFiles::needed),
      input(plan_input(options, model)),
      chosen(choose(options, input)),
      context(context_options(options, chosen.policy.threads, input.compute)),
      packed(model.open_packed(options, chosen.policy.threads, context.host, packing)) {
  load_weights();
  allocate_kv();
  allocate_activations();
}

void Assembly::load_weights() {
  WeightStoreInput weights;
  weights.list = &model.weights();
  weights.plan = &chosen.memory.weights;
  weights.source = &model.source();
  weights.packed = packed;
  weights.split = chosen.policy.split();
  weights.devices = context.compute_memories();
  weights.host = &context.host;
  weights.threads = chosen.policy.threads;
  store.emplace(weights);
}

void Assembly::allocate_kv() {
  const MemoryPlan& memory = chosen.memory;
  KvStoreInput pages;
  pages.layout = memory.kv;
  pages.layers = static_cast<int>(model.spec().layers.size());
  pages.blocks = memory.kv_blocks;
  pages.host_blocks = memory.kv_host_blocks;
  pages.disk_bytes = memory.kv_disk_bytes;
  pages.folder = options.disk;
  pages.split = chosen.policy.split();
  pages.devices = context.compute_memories();
  pages.host = &context.host;
  pages.disk = &context.disk;
  kv.emplace(pages);
}

void Assembly::allocate_activations() {
  const MemoryPlan& memory = chosen.memory;
  ActivationStoreInput rows;
  rows.hidden = model.spec().hidden;
  rows.memory_tokens = memory.hidden_tokens;
  rows.host_tokens = memory.hidden_host_tokens;
  rows.batch_tokens = chosen.policy.micro_batch_tokens;
  rows.disk_batches = memory.hidden_disk_tokens / std::max(1, chosen.policy.micro_batch_tokens);
  rows.slots = memory.activation_slots;
  rows.host_slots = memory.activation_host_slots;
  rows.folder = options.disk;
  rows.sweeps = chosen.policy.sweeps();
  rows.devices = context.compute_memories();
  rows.host = &context.host;
  rows.disk = &context.disk;
  activations.emplace(rows);
}

ExecutorParts Assembly::executor_parts() {
  return {&context,
          &model.spec(),
          &program_of(input, chosen.policy),
          &model.weights(),
          &chosen.memory,
          &chosen.policy,
          &*store,
          &*kv,
          &*activations,
          model.compute(),
          options.invariant};
}

GeneratorParts Assembly::generator_parts(SweepRunner* runner) {
  GeneratorParts parts;
  parts.runner = runner;
  parts.spec = &model.spec();
  parts.program = &program_of(input, chosen.policy);
  parts.weights = &model.weights();
  parts.memory = &chosen.memory;
  parts.policy = &chosen.policy;
  parts.kv = &*kv;
  parts.lanes = &context.lanes;
  parts.accelerator = context.accelerator();
  parts.threads = chosen.policy.threads;
  parts.max_context = input.max_context;
  return parts;
}

}  // namespace penstock

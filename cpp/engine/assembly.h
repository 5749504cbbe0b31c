// Everything that an engine is made of, opened, planned, allocated and loaded once, in an order in
// which what comes later uses what comes before.
#pragma once

#include <optional>

#include "engine/context.h"
#include "engine/executor.h"
#include "engine/generator.h"
#include "engine/model.h"
#include "engine/planning.h"

namespace penstock {

class Assembly {
 public:
  // Throws what opening, planning, packing and loading throw.
  Assembly(const EngineOptions& given, const PackProgress& packing);
  Assembly(const Assembly&) = delete;
  Assembly& operator=(const Assembly&) = delete;

  ExecutorParts executor_parts();
  GeneratorParts generator_parts(SweepRunner* runner);

  const EngineOptions options;
  Model model;
  const PlanInput input;
  const Chosen chosen;
  Context context;
  const PackedCache* packed = nullptr;
  std::optional<WeightStore> store;
  std::optional<KvStore> kv;
  std::optional<ActivationStore> activations;

 private:
  void load_weights();
  void allocate_kv();
  void allocate_activations();
};

}  // namespace penstock

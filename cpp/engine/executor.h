// Walks a schedule: binds each step to addresses and submits it to its lane after the tickets of
// the steps it follows. Decides nothing. A sweep is over when its results can be read; prefetches
// for the next sweep stay in flight.
#pragma once

#include <deque>
#include <unordered_map>
#include <vector>

#include "engine/binding.h"
#include "engine/context.h"
#include "engine/host_attention.h"
#include "engine/staging.h"
#include "engine/sweep_runner.h"
#include "engine/visit_runner.h"
#include "store/activation_store.h"

namespace penstock {

struct ExecutorParts {
  Context* context = nullptr;
  const ModelSpec* spec = nullptr;
  const Program* program = nullptr;
  const WeightList* weights = nullptr;
  const MemoryPlan* memory = nullptr;
  const ResolvedPolicy* policy = nullptr;
  WeightStore* store = nullptr;
  KvStore* kv = nullptr;
  ActivationStore* activations = nullptr;
  Compute compute = Compute::fast;
  bool invariant = true;
};

class Executor final : public SweepRunner {
 public:
  explicit Executor(const ExecutorParts& parts);
  ~Executor() override;  // waits for everything in flight; errors are dropped
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Throws the first error of any lane; unusable afterwards.
  void start(const SweepWork& sweep) override;
  void finish() override;
  const float* logits(int64_t row) const override;
  int32_t token(int64_t row) const override;
  const ScoreState* score(int64_t index) const override;

 private:
  // What a sweep in flight has for itself.
  struct Flight {
    Flight(int place, KvStore& kv, const PageRules& rules) : number(place), binding(kv, rules) {}

    int number;  // among those in flight: which rows and head buffers are its own
    SweepBinding binding;
    std::vector<std::vector<std::vector<WeightPanel>>>
        panels;  // [visit][matrix of the module][panel]
    std::vector<Ticket> results;
  };

  LaneTask task(const Step& step) const;
  std::vector<Ticket> tickets_of(const Step& step) const;
  Ticket submit(const Step& step);
  Ticket read_panel(const Step& step);
  Ticket upload_panel(const Step& step);
  Ticket gather(const Step& step);
  Ticket upload_gathered(const Step& step);
  Ticket read_kv(const Step& step);
  Ticket write_kv(const Step& step);
  Ticket spill_activations(const Step& step, bool write);
  Ticket upload_kv(const Step& step);
  Ticket download_exchange(const Step& step);
  Ticket attend_on_host(const Step& step);
  Ticket upload_exchange(const Step& step);
  Ticket move_activations(const Step& step, CopyDirection direction);
  Ticket copy_all(const Step& step, const std::vector<CopyParams>& copies);
  Ticket compute(const Step& step);
  Ticket download_logits(const Step& step);

  void bind_panels(const Step& step);
  float* hidden(const Step& step) const;
  float* host_hidden(const Step& step) const;
  int layer(const Step& step) const;
  std::byte* slot(const Step& step, SlotKind kind) const;
  const Panel& panel(const Step& step) const;
  Ticket poison_released(const Step& step, Ticket ticket);
  Ticket send_hidden(const Step& step);
  int device_of(const Step& step) const;
  Device& device(const Step& step) const { return parts_.context->device(device_of(step)); }
  Flight& landed() const;

  ExecutorParts parts_;
  Staging staging_;
  std::vector<VisitRunner> runners_;               // by device
  std::vector<std::unique_ptr<Flight>> flights_;   // taken in turn
  Flight* flight_ = nullptr;                       // that is being started
  uint64_t started_ = 0, finished_ = 0;            // sweeps
  std::unique_ptr<HostAttention> host_attention_;  // accelerator with pages below
  std::unordered_map<uint64_t, Ticket> tickets_;
  std::deque<uint64_t> first_ids_;  // of the sweeps whose tickets are kept
};

}  // namespace penstock

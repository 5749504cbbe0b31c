// Rows in, tokens out: admission, one sweep after another, sampling, stopping. Reads from top to
// bottom as step() does: admit, plan, build, start, collect. Rows never wait for each other, and no
// row's result depends on its company.
//
// Where the model is a pipeline over several devices, as many sweeps are in flight, so that each
// device has one to work on: rows are divided into cohorts, and the sweeps serve them in turn.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <vector>

#include "base/lane.h"
#include "engine/admission.h"
#include "engine/kv_dealer.h"
#include "engine/row_sampler.h"
#include "engine/shared_prefix.h"
#include "engine/sweep_planner.h"
#include "engine/sweep_runner.h"

namespace penstock {

struct GeneratorParts {
  SweepRunner* runner = nullptr;
  const ModelSpec* spec = nullptr;
  const Program* program = nullptr;
  const WeightList* weights = nullptr;
  const MemoryPlan* memory = nullptr;
  const ResolvedPolicy* policy = nullptr;
  KvStore* kv = nullptr;
  const LaneSet* lanes = nullptr;  // whose busy time is told; may be null
  bool accelerator = false;
  int threads = 1;  // for sampling
  int max_context = 0;
};

class Generator {
 public:
  explicit Generator(const GeneratorParts& parts);

  // Throws Error(invalid_argument | budget) and is unchanged then.
  uint64_t submit(const Request& request);
  std::vector<Event> step();
  void cancel(uint64_t id);
  bool idle() const { return active_.empty() && waiting_.empty(); }
  // Logits of every position, row-major [tokens, vocab]; only when idle.
  std::vector<float> logits(const std::vector<int32_t>& tokens);

  struct Counts {
    uint64_t sweeps = 0, prompt_tokens = 0, shared_tokens = 0, generated_tokens = 0;
    uint64_t active = 0, waiting = 0;
    double seconds = 0, busiest_seconds = 0;
    PerLane<uint64_t> lane_bytes;  // as the schedules say
  };
  Counts counts() const;

 private:
  using RowPointer = std::unique_ptr<Row>;
  struct Ride {
    Row* row;
    const SpanPlan* span;
    int64_t logits_row;  // its first
  };
  // A sweep that has been started and not yet collected.
  struct Flight {
    int cohort = 0;
    std::vector<Row*> rows;
    SweepPlan sweep;
    std::vector<BatchShape> shapes;
    Schedule schedule;
  };
  static std::vector<Ride> rides_of(const std::vector<Row*>& rows, const SweepPlan& sweep);
  void check_request(const Request& request) const;
  void check_room(const Row& row) const;
  RowPointer make_row(const Request& request);
  void admit();
  bool enter(RowPointer& row);
  void share_prefix(Row& row, const PrefixMatch& match);
  void drop_prefix(Row& row);
  void settle_prefixes();
  bool launch_next();
  bool launch(int cohort);
  bool flies(int cohort) const;
  int smallest_cohort() const;
  std::vector<Row*> rows_in_service(int cohort) const;
  bool reserve_pages(std::vector<Row*>& rows);
  void put_back_youngest();
  void begin_again(RowPointer row);
  bool ends_here() const;
  void start(Flight* flight);
  void add_busiest_lane();
  std::vector<Event> land();
  std::vector<Event> collect(const Flight& flight);
  void remove(uint64_t id);
  void collect_scores(Row& row, const SpanPlan& span, int64_t first_score) const;
  void collect_logits(Row& row, const SpanPlan& span, int64_t first_logits) const;
  std::vector<TokenChoice> choose_tokens(const std::vector<Ride>& rides);
  void add_token(Row& row, TokenChoice choice, Event& event);
  void finish(Row& row, Event& event, const char* reason);
  void remove_finished();
  std::span<const int32_t> eos(const Row& row) const;

  GeneratorParts parts_;
  SweepShaper shaper_;
  SweepPlanner planner_;
  AdmissionRule admission_;
  KvDealer dealer_;
  RowSampler sampler_;
  Carry carry_;
  int64_t pace_credit_ = 0;  // tokens that rows which enter may bring
  std::deque<RowPointer> waiting_;
  std::list<RowPointer> active_;  // in order of admission
  std::list<Flight> flights_;     // in the order of their start
  int next_cohort_ = 0;
  std::vector<uint64_t> finished_, cancelled_;
  uint64_t next_id_ = 1;
  Counts counts_;
  PerLane<double> lane_seconds_;  // busy before the sweep
};

}  // namespace penstock

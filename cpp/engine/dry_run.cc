#include "engine/dry_run.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>

#include "engine/generator.h"
#include "plan/cost.h"
#include "plan/request_lengths.h"
#include "schedule/step_cost.h"

namespace penstock {
namespace {

constexpr double kWakeSeconds = 40e-6;  // from a step's end to the lane that waits for it
constexpr double kSampledValuesPerSecond = 1.5e9;       // logits that a processor looks at
constexpr double kSampleReads = 8;                      // of a logit by a GPU, about
constexpr double kSteadyBegin = 0.3, kSteadyEnd = 0.7;  // of the rows: between them nothing changes
constexpr double kFirstWaves = 0.5,
                 kLastWaves = 1.0;  // where a job is longer: not steady yet, any more
constexpr double kTenth = 0.1;      // of the rows: the first results

class Reckoner final : public SweepRunner {
 public:
  Reckoner(const DryRunInput& input, uint64_t tokens)
      : cost_(*input.plan, *input.policy, input.memory->weights),
        input_(input),
        middle_(tokens / 2),
        simulator_(kWakeSeconds, input.policy->sweeps()) {}

  void start(const SweepWork& sweep) override {
    const auto seconds = [&](const Step& step) { return cost_.seconds(step, sweep.shapes); };
    const double begin = now_;
    Timeline timeline = simulator_.run(sweep.schedule, seconds, begin);
    const double sampling = sampling_seconds(sweep.plan);
    const double results = results_at(sweep.schedule, timeline, begin);
    const SweepKind kind = kind_of(sweep.plan);
    pending_.push_back({results, kSweepSeconds + sampling, kind});
    Phase& phase = phase_of(kind);
    ++phase.sweeps;
    for (const auto& [lane, busy] : timeline.busy) {
      done_.lane_seconds[lane] += busy;
      phase.lane_seconds[lane] += busy;
    }
    for (const Step& step : sweep.schedule.steps) done_.lane_bytes[step.lane] += step.bytes;
    done_.steps += sweep.schedule.steps.size();
    const double flops = cost_.flops(sweep.shapes);
    done_.flops += flops;
    const bool middle = tokens_ <= middle_ && tokens_ + sweep.plan.logits_rows > middle_;
    tokens_ += sweep.plan.logits_rows;
    if (!middle && !done_.sweep.steps.empty()) return;
    done_.sweep = sweep.schedule;
    done_.sweep_kind = kind;
    done_.timeline = std::move(timeline);
    done_.sweep_begin = begin;
    done_.sweep_seconds = results + kSweepSeconds + sampling - begin;
    done_.sweep_flops = flops;
  }

  void finish() override {
    const PendingResults next = pending_.front();
    pending_.pop_front();
    const double before = now_;
    now_ = std::max(now_, next.results) + next.after;
    phase_of(next.kind).seconds += now_ - before;
  }
  const float* logits(int64_t) const override { return nullptr; }
  int32_t token(int64_t) const override { return 0; }
  const ScoreState* score(int64_t) const override { return nullptr; }

  double now() const { return now_; }
  Prediction& done() { return done_; }

 private:
  // Of a sweep that has been started and not been finished.
  struct PendingResults {
    double results, after;  // when they can be read; seconds until the next sweep is there
    SweepKind kind;
  };

  Phase& phase_of(SweepKind kind) { return done_.phases[static_cast<size_t>(kind)]; }

  static SweepKind kind_of(const SweepPlan& plan) {
    bool prompts = false, tokens = false;
    for (const BatchPlan& batch : plan.batches) {
      for (const SpanPlan& span : batch.spans) (span.count() > 1 ? prompts : tokens) = true;
    }
    if (prompts && tokens) return SweepKind::both;
    return prompts ? SweepKind::prompts : SweepKind::tokens;
  }

  static double results_at(const Schedule& schedule, const Timeline& timeline, double begin) {
    double end = begin;
    for (size_t i = 0; i < schedule.steps.size(); ++i) {
      const LaneKind lane = schedule.steps[i].lane.kind;
      if (lane == LaneKind::disk_read || lane == LaneKind::h2d) continue;
      end = std::max(end, timeline.entries[i].end);
    }
    return end;
  }

  // An accelerator reads the logits of the rows it chooses for; all others are the processor's.
  double sampling_seconds(const SweepPlan& plan) const {
    const auto vocab = static_cast<double>(input_.plan->spec->vocab);
    const int64_t there = input_.plan->accelerator ? plan.chosen_rows : 0;
    const double rate = input_.plan->machine.attention_rate(format(input_.plan->kv).name);
    const double values = static_cast<double>(plan.logits_rows - there) * vocab;
    const double bytes = static_cast<double>(there) * vocab * kSampleReads * sizeof(float);
    return values / kSampledValuesPerSecond + bytes / rate;
  }

  StepCost cost_;
  const DryRunInput& input_;
  uint64_t middle_, tokens_ = 0;
  Simulator simulator_;
  double now_ = 0;
  std::deque<PendingResults> pending_;
  Prediction done_;
};

Request request_of(const RequestLength& row, int64_t number, int vocab) {
  Request request;
  request.tokens = row.tokens;
  request.tokens.resize(static_cast<size_t>(row.prompt));
  if (row.tokens.empty()) {  // different from the first token on
    request.tokens[0] = static_cast<int32_t>(number % vocab);
    if (row.prompt > 1) request.tokens[1] = static_cast<int32_t>(number / vocab % vocab);
  }
  request.sampling.max_tokens = static_cast<int>(std::max<int64_t>(1, row.fresh));
  request.sampling.ignore_eos = true;
  if (row.logits) request.sampling.logprobs = 0;
  request.score = row.fresh == 0;
  return request;
}

// What a job has taken when some part of its rows is over.
struct Mark {
  double seconds = 0, rows = 0, flops = 0;
  PerLane<double> lane_seconds;
  PerLane<uint64_t> lane_bytes;
  std::array<Phase, kSweepKinds> phases;
};

Mark mark_of(const Reckoner& reckoner, const Prediction& done, double rows) {
  Mark mark;
  mark.seconds = reckoner.now();
  mark.rows = rows;
  mark.flops = done.flops;
  mark.lane_seconds = done.lane_seconds;
  mark.lane_bytes = done.lane_bytes;
  mark.phases = done.phases;
  return mark;
}

// Adds `rows` rows that are like those between the marks.
void extrapolate(const Mark& from, const Mark& to, double rows, Prediction* prediction) {
  const double each = rows / std::max(1.0, to.rows - from.rows);
  prediction->extrapolated = true;
  prediction->seconds += (to.seconds - from.seconds) * each;
  prediction->flops += (to.flops - from.flops) * each;
  const auto grown = [&](const auto& after, const auto& before, LaneId lane) {
    const auto old = before.find(lane);
    const auto base = old == before.end() ? 0.0 : static_cast<double>(old->second);
    return (static_cast<double>(after) - base) * each;
  };
  for (const auto& [lane, seconds] : to.lane_seconds) {
    prediction->lane_seconds[lane] += grown(seconds, from.lane_seconds, lane);
  }
  for (const auto& [lane, bytes] : to.lane_bytes) {
    prediction->lane_bytes[lane] += static_cast<uint64_t>(grown(bytes, from.lane_bytes, lane));
  }
  for (size_t i = 0; i < to.phases.size(); ++i) {
    const Phase &begin = from.phases[i], &end = to.phases[i];
    Phase& phase = prediction->phases[i];
    phase.seconds += (end.seconds - begin.seconds) * each;
    phase.sweeps += (end.sweeps - begin.sweeps) * each;
    for (const auto& [lane, seconds] : end.lane_seconds) {
      phase.lane_seconds[lane] += grown(seconds, begin.lane_seconds, lane);
    }
  }
}

class DryRun {
 public:
  explicit DryRun(const DryRunInput& input)
      : input_(input),
        count_(input.most_rows > 0
                   ? std::min(input.rows.size(), static_cast<size_t>(input.most_rows))
                   : input.rows.size()),
        kv_(kv_books(input)),
        reckoner_(input, tokens()),
        generator_(parts()) {}

  Prediction run() {
    for (size_t i = 0; i < count_; ++i) {
      generator_.submit(request_of(input_.rows[i], static_cast<int64_t>(i), vocab()));
    }
    size_t finished = 0;
    while (!generator_.idle()) {
      for (const Event& event : generator_.step()) finished += event.finished;
      in_flight_ = std::max(in_flight_, static_cast<double>(generator_.counts().active));
      note(static_cast<double>(finished));
    }
    return total();
  }

 private:
  int vocab() const { return input_.plan->spec->vocab; }

  uint64_t tokens() const {
    uint64_t sum = 0;
    for (size_t i = 0; i < count_; ++i) sum += static_cast<uint64_t>(input_.rows[i].fresh);
    return sum;
  }

  static KvStoreInput kv_books(const DryRunInput& input) {
    KvStoreInput kv;
    kv.layout = input.memory->kv;
    kv.layers = static_cast<int>(input.plan->spec->layers.size());
    kv.blocks = input.memory->kv_blocks;
    kv.host_blocks = input.memory->kv_host_blocks;
    kv.disk_bytes = input.memory->kv_disk_bytes;
    kv.accelerator = input.plan->accelerator;
    kv.split = input.policy->split();
    return kv;
  }

  GeneratorParts parts() {
    GeneratorParts parts;
    parts.runner = &reckoner_;
    parts.spec = input_.plan->spec;
    parts.program = &program_of(*input_.plan, *input_.policy);
    parts.weights = input_.plan->weights;
    parts.memory = input_.memory;
    parts.policy = input_.policy;
    parts.kv = &kv_;
    parts.accelerator = input_.plan->accelerator;
    parts.max_context = input_.plan->max_context;
    return parts;
  }

  // The first and the last of the sweeps after which so many rows were finished.
  void note(double finished) {
    const size_t count = marks_.size();
    if (count >= 2 && marks_[count - 2].rows == finished) marks_.pop_back();
    marks_.push_back(mark_of(reckoner_, reckoner_.done(), finished));
  }

  // The last mark with at most so many rows finished.
  const Mark& last_within(double rows) const {
    const auto after = std::partition_point(marks_.begin(), marks_.end(),
                                            [&](const Mark& mark) { return mark.rows <= rows; });
    return after == marks_.begin() ? start_ : *std::prev(after);
  }
  const Mark& first_with(double rows) const {
    const auto found = std::partition_point(marks_.begin(), marks_.end(),
                                            [&](const Mark& mark) { return mark.rows < rows; });
    return found == marks_.end() ? marks_.back() : *found;
  }

  // Two marks between which rows are like all later ones. Rows that entered together finish
  // together, so that only whole waves of the rows in flight tell how long one takes.
  std::pair<const Mark*, const Mark*> steady() const {
    const auto count = static_cast<double>(count_);
    const double waves = std::floor(count / in_flight_ - kFirstWaves - kLastWaves);
    if (waves >= 1) {
      const Mark& from = first_with(kFirstWaves * in_flight_);
      return {&from, &first_with(from.rows + waves * in_flight_)};
    }
    const Mark &from = last_within(kSteadyBegin * count), &to = last_within(kSteadyEnd * count);
    if (to.rows > from.rows) return {&from, &to};
    return {&start_, &marks_.back()};
  }

  // When a tenth of the rows had their result; `to` and on: each takes as long as those before.
  double first_results(const Prediction& done, const Mark& from, const Mark& to) const {
    const double rows = std::ceil(kTenth * static_cast<double>(done.rows));
    if (rows <= static_cast<double>(count_)) return first_with(rows).seconds;
    const double each = (to.seconds - from.seconds) / std::max(1.0, to.rows - from.rows);
    return marks_.back().seconds + each * (rows - static_cast<double>(count_));
  }

  Prediction total() {
    Prediction done = std::move(reckoner_.done());
    const Generator::Counts counts = generator_.counts();
    done.seconds = reckoner_.now();
    done.rows = input_.rows.size();
    done.sweeps = counts.sweeps;
    done.prompt_tokens = counts.prompt_tokens;
    done.generated_tokens = counts.generated_tokens;
    if (marks_.empty()) return done;
    const auto [from, to] = steady();
    done.first_results = first_results(done, *from, *to);
    if (count_ == input_.rows.size()) return done;
    const double whole = static_cast<double>(input_.rows.size()) / static_cast<double>(count_);
    extrapolate(*from, *to, static_cast<double>(input_.rows.size() - count_), &done);
    done.sweeps = 0;
    for (const Phase& phase : done.phases) {
      done.sweeps += static_cast<uint64_t>(std::llround(phase.sweeps));
    }
    done.prompt_tokens = static_cast<uint64_t>(static_cast<double>(done.prompt_tokens) * whole);
    done.generated_tokens =
        static_cast<uint64_t>(static_cast<double>(done.generated_tokens) * whole);
    return done;
  }

  const DryRunInput& input_;
  size_t count_;
  KvStore kv_;
  Reckoner reckoner_;
  Generator generator_;
  double in_flight_ = 1;     // rows, at most
  Mark start_;               // nothing is done
  std::vector<Mark> marks_;  // after sweeps
};

}  // namespace

Prediction dry_run(const DryRunInput& input) { return DryRun(input).run(); }

std::vector<RequestLength> typical_rows(const PlanInput& input, const ResolvedPolicy& policy) {
  const RequestLengths lengths = request_lengths(input);
  const int64_t many = 3 * int64_t{policy.max_sequences};
  const int64_t rows = input.workload.rows > 0 ? input.workload.rows : many;
  const int64_t fresh = std::max<int64_t>(1, lengths.mean - lengths.prompt);
  return std::vector<RequestLength>(
      static_cast<size_t>(rows),
      {std::min(lengths.prompt, lengths.mean - fresh), fresh, {}, false});
}

}  // namespace penstock

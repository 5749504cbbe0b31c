#include "plan/pace.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/checked.h"
#include "plan/cost.h"
#include "plan/request_lengths.h"
#include "tensor/units.h"

namespace penstock {
namespace {

constexpr int kAges = 32;            // steps of a row's life
constexpr double kManyBlocks = 8;    // a job of more blocks than this is steady in its middle
constexpr double kClearGain = 0.98;  // of the time without a limit
constexpr int64_t kModelledTokens = 512;
constexpr double kManyRows = 1e6;
constexpr std::array kFactors = {1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0};  // of the balance

// Rows of every age, in steps of `stretch` sweeps.
class AgeClasses {
 public:
  explicit AgeClasses(const PaceInput& input)
      : input_(input),
        ages_(static_cast<size_t>(std::clamp<double>(std::ceil(input.fresh), 1, kAges))),
        stretch_(std::max(1.0, input.fresh) / static_cast<double>(ages_)),
        rows_(ages_, 0.0) {}

  double stretch() const { return stretch_; }
  double sequences() const {
    double sum = 0;
    for (double rows : rows_) sum += rows;
    return sum;
  }

  // Rows that may enter now and still fit at every step until they leave.
  double room() const {
    double most = std::max(0.0, input_.max_sequences - sequences());
    for (size_t step = 0; step < ages_; ++step) {
      double held = 0;
      for (size_t age = 0; age + step < ages_; ++age) held += rows_[age] * length(age + step);
      most = std::min(most, (input_.kv_tokens - held) / length(step));
    }
    return std::max(0.0, most);
  }

  void enter(double rows) { rows_.front() = rows; }
  void grow_older() {
    for (size_t age = ages_ - 1; age > 0; --age) rows_[age] = rows_[age - 1];
    rows_.front() = 0;
  }

 private:
  // Tokens that a row's pages hold.
  double length(size_t age) const {
    const double tokens = input_.prompt + static_cast<double>(age) * stretch_;
    return std::ceil(tokens / input_.page_tokens) * input_.page_tokens;
  }

  const PaceInput& input_;
  size_t ages_;
  double stretch_;
  std::vector<double> rows_;  // by age
};

// Rows of all ages that fit.
double capacity(const PaceInput& input) {
  return std::max(1.0, input.kv_tokens / (input.prompt + input.fresh / 2));
}

double sweep_seconds(const PaceInput& input, double tokens) {
  const double sweeps = std::max(1.0, std::ceil(tokens / input.sweep_tokens));
  return std::max(sweeps * input.rates.stream_seconds, tokens * input.rates.token_seconds);
}

SweepRates modelled_rates(const PlanInput& input, const ResolvedPolicy& policy,
                          const WeightPlan& weights) {
  SweepLoad load;
  load.tokens = kModelledTokens;
  load.batches = ceil_div(kModelledTokens, std::max(1, policy.micro_batch_tokens));
  const SweepCost cost = CostModel(input).sweep(summarise(input, weights).traffic, load);
  const int compute = static_cast<int>(LaneKind::compute);
  SweepRates rates;
  rates.token_seconds = cost.seconds[compute] / static_cast<double>(kModelledTokens);
  for (int lane = 0; lane < kLaneKinds; ++lane) {
    if (lane != compute) rates.stream_seconds = std::max(rates.stream_seconds, cost.seconds[lane]);
  }
  return rates;
}

// Tokens of all rows together that the pages in memory and on disk hold.
double kv_room(const PlanInput& input, const MemoryPlan& sizes) {
  const auto layers = static_cast<int64_t>(input.spec->layers.size());
  const int64_t unit = round_up(sizes.kv.page_bytes(), kPageBytes);
  const int64_t on_disk = static_cast<int64_t>(sizes.kv_disk_bytes) / unit;
  const int64_t tails = layers * sizes.kv_disk_sequences;  // of sequences on disk, in memory
  const int64_t pages = (sizes.kv_blocks + sizes.kv_host_blocks - tails + on_disk) / layers;
  return static_cast<double>(pages * sizes.kv.page_tokens);
}

}  // namespace

double paced_seconds(const PaceInput& input, double tokens) {
  AgeClasses ages(input);
  double left = std::min(input.rows, kManyBlocks * capacity(input)), seconds = 0;
  while (left > 1e-6 || ages.sequences() > 1e-6) {
    const double decoding = ages.sequences();
    const double paced = tokens / input.prompt * ages.stretch();
    double entering = std::min({left, paced, ages.room()});
    if (decoding <= 1e-6 && entering < 1) entering = std::min(left, 1.0);  // one always may
    ages.enter(entering);
    left -= entering;
    const double read = entering * input.prompt / ages.stretch();
    seconds += ages.stretch() * sweep_seconds(input, decoding + read);
    ages.grow_older();
  }
  return seconds;
}

int64_t best_pace(const PaceInput& input) {
  const auto unlimited = static_cast<int64_t>(input.sweep_tokens);
  if (input.rates.stream_seconds <= 0 || input.rates.token_seconds <= 0) return unlimited;
  const double balance = input.rates.stream_seconds / input.rates.token_seconds;
  // Sweeps of decoding rows alone compute for as long as they read.
  if (balance <= std::min(capacity(input), input.max_sequences)) return unlimited;
  double best = input.sweep_tokens, least = kClearGain * paced_seconds(input, best);
  std::vector<double> paces = {capacity(input) / input.fresh * input.prompt};
  for (const double factor : kFactors) {
    paces.push_back(factor * balance * input.prompt / (input.prompt + input.fresh));
  }
  for (const double pace : paces) {
    const double tokens = std::floor(std::max(1.0, pace));
    if (tokens >= input.sweep_tokens) continue;
    const double seconds = paced_seconds(input, tokens);
    if (seconds >= least) continue;
    least = seconds;
    best = tokens;
  }
  return static_cast<int64_t>(best);
}

int64_t choose_pace(const PlanInput& input, const ResolvedPolicy& policy, const MemoryPlan& sizes) {
  if (policy.admission == Admission::block) return 0;
  const RequestLengths lengths = request_lengths(input);
  PaceInput job;
  job.rates = modelled_rates(input, policy, sizes.weights);
  const double sweeps = policy.sweeps();  // each has its own rows
  const double rows = input.workload.rows > 0 ? double(input.workload.rows) : kManyRows;
  job.rows = rows / sweeps;
  job.prompt = static_cast<double>(lengths.prompt);
  job.fresh = static_cast<double>(lengths.fresh);
  job.kv_tokens = kv_room(input, sizes) / sweeps;
  job.page_tokens = policy.page_tokens;
  job.max_sequences = policy.sweep_rows();
  job.sweep_tokens = static_cast<double>(std::max<int64_t>(1, sizes.sweep_tokens));
  const int64_t pace = best_pace(job);
  return pace < sizes.sweep_tokens ? pace : 0;
}

}  // namespace penstock

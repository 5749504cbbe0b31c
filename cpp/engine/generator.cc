#include "engine/generator.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "tensor/units.h"

namespace penstock {

namespace {

[[noreturn]] void refuse(const char* field, const std::string& found, const std::string& allowed,
                         const char* what) {
  throw Error(ErrorCode::invalid_argument, what,
              {.field = field, .found = found, .allowed = allowed});
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Generator::Generator(const GeneratorParts& parts)
    : parts_(parts),
      shaper_({parts.spec, parts.weights, parts.memory, parts.policy, parts.accelerator}),
      planner_(*parts.memory, *parts.policy, shaper_),
      admission_(*parts.kv, *parts.policy),
      dealer_(*parts.memory, *parts.policy, parts.accelerator),
      sampler_(parts.spec->vocab, parts.threads) {
  add_busiest_lane();
  counts_.busiest_seconds = 0;  // what loading did is no sweep's
}

void Generator::check_request(const Request& request) const {
  const int vocab = parts_.spec->vocab;
  const auto length = static_cast<int64_t>(request.tokens.size());
  if (request.tokens.empty()) refuse("prompt", "no tokens", "at least one", "empty prompt");
  for (const int32_t token : request.tokens) {
    if (token >= 0 && token < vocab) continue;
    refuse("prompt", std::to_string(token), "0 to " + std::to_string(vocab - 1),
           "token id outside the vocabulary");
  }
  const bool generates = !request.score && !request.all_logits;
  if (generates) check_sampling(request.sampling, vocab);
  const int64_t total = length + (generates ? request.sampling.max_tokens : 0);
  if (total > parts_.max_context) {
    refuse("prompt",
           std::to_string(length) + " prompt tokens" +
               (generates ? " + max_tokens " + std::to_string(request.sampling.max_tokens) : ""),
           "together at most " + std::to_string(parts_.max_context),
           "row is too long for the context");
  }
}

uint64_t Generator::submit(const Request& request) {
  check_request(request);
  RowPointer row = make_row(request);
  check_room(*row);
  const uint64_t id = row->id;
  waiting_.push_back(std::move(row));
  return id;
}

// A row must fit when it is alone, wherever its pages may be put.
void Generator::check_room(const Row& row) const {
  const MemoryPlan& memory = *parts_.memory;
  const KvStore& kv = *parts_.kv;
  const auto require = [](int64_t pages, int64_t limit, const char* where) {
    if (pages <= limit) return;
    refuse("prompt", std::to_string(pages) + " KV pages", "at most " + std::to_string(limit),
           where);
  };
  const KvNeed room = kv.capacity();
  const int64_t page_bytes = kv.layout().page_bytes();
  for (const KvHome& home : dealer_.possible(kv.pages_for(row.final_length()))) {
    const KvNeed need = kv.need(home, row.final_cached());
    const KvNeed whole = kv.need(home, row.final_length());
    const int64_t below = home.below_of(kv.pages_for(row.final_length()));
    require(need.here, room.here, "row needs more KV memory than the budget leaves");
    require(need.host, room.host, "row needs more KV memory than the host budget leaves");
    require(whole.units, room.units, "row needs more KV space than the disk budget leaves");
    if (home.on_disk()) {
      require(below, static_cast<int64_t>(memory.kv_staging_bytes / kv.unit_bytes()),
              "row has more KV pages than pass through host memory at once");
    }
    if (memory.device_kv_slots > 0) {
      require(below,
              static_cast<int64_t>(memory.device_kv_bytes) / round_up(page_bytes, kLineBytes),
              "row has more KV pages than pass through device memory at once");
    }
  }
}

Generator::RowPointer Generator::make_row(const Request& request) {
  auto row = std::make_unique<Row>();
  row->id = next_id_++;
  row->request = request;
  row->tokens = request.tokens;
  row->prompt_tokens = static_cast<int64_t>(request.tokens.size());
  return row;
}

void Generator::cancel(uint64_t id) {
  const auto flies = [&](const RowPointer& row) { return row->id == id && row->riding > 0; };
  const auto row = std::find_if(active_.begin(), active_.end(), flies);
  if (row == active_.end()) return remove(id);
  (*row)->cancelled = true;
}

// A row that rides in no sweep.
void Generator::remove(uint64_t id) {
  const auto same = [&](const RowPointer& row) { return row->id == id; };
  std::erase_if(waiting_, same);
  for (const RowPointer& row : active_) {
    if (same(row)) parts_.kv->close(row->kv);
  }
  // Who counted on pages that will not be written any more begins again. Donors come first.
  std::vector<RowPointer> orphans;
  std::set<const Row*> gone;
  for (RowPointer& row : active_) {
    if (!same(row) && !gone.contains(row->donor)) continue;
    gone.insert(row.get());
    if (!same(row)) orphans.push_back(std::move(row));
  }
  active_.remove_if([&](const RowPointer& row) { return !row || same(row); });
  for (; !orphans.empty(); orphans.pop_back()) begin_again(std::move(orphans.back()));
}

std::vector<Event> Generator::step() {
  admit();
  if (active_.empty()) return {};
  const double begin = seconds_now();
  while (static_cast<int>(flights_.size()) < parts_.policy->sweeps() && launch_next()) {
  }
  check(!flights_.empty(), "every sweep carries a row");
  std::vector<Event> events = land();
  counts_.seconds += seconds_now() - begin;
  return events;
}

// A sweep for the next cohort that has none in flight and rows to serve.
bool Generator::launch_next() {
  for (int i = 0; i < parts_.policy->sweeps(); ++i) {
    const int cohort = next_cohort_;
    next_cohort_ = (next_cohort_ + 1) % parts_.policy->sweeps();
    if (!flies(cohort) && launch(cohort)) return true;
  }
  return false;
}

bool Generator::flies(int cohort) const {
  const auto of_cohort = [&](const Flight& flight) { return flight.cohort == cohort; };
  return std::any_of(flights_.begin(), flights_.end(), of_cohort);
}

bool Generator::launch(int cohort) {
  Flight flight;
  flight.cohort = cohort;
  flight.rows = rows_in_service(cohort);
  if (flight.rows.empty() || !reserve_pages(flight.rows)) return false;
  flight.sweep = planner_.plan(flight.rows);
  if (flight.sweep.batches.empty()) return false;
  flights_.push_back(std::move(flight));
  start(&flights_.back());
  return true;
}

// The results of the oldest sweep in flight.
std::vector<Event> Generator::land() {
  parts_.runner->finish();
  const Flight flight = std::move(flights_.front());
  flights_.pop_front();
  ++counts_.sweeps;
  add_busiest_lane();
  std::vector<Event> events = collect(flight);
  remove_finished();
  for (const uint64_t id : std::exchange(cancelled_, {})) remove(id);
  return events;
}

void Generator::admit() {
  const bool block = parts_.policy->admission == Admission::block;
  if (block && !active_.empty()) return;
  const int64_t pace = block ? 0 : parts_.policy->pace;
  pace_credit_ = std::min(pace_credit_ + pace, pace);
  const auto in_pace = [&] { return pace == 0 || active_.empty() || pace_credit_ > 0; };
  while (!waiting_.empty() && in_pace() && enter(waiting_.front())) {
    pace_credit_ -= waiting_.front()->pending();
    waiting_.front()->cohort = smallest_cohort();
    active_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

bool Generator::enter(RowPointer& row) {
  KvStore& kv = *parts_.kv;
  PrefixMatch match;
  if (parts_.policy->share_prefix) {
    match = find_prefix(active_, *row, parts_.policy->page_tokens);
  }
  if (match.pages > 0 && match.donor->riding > 0) {  // in flight: its page tables stay as they are
    match.pages = std::min<int64_t>(match.pages, match.donor->kv.pages.front().size());
  }
  const int64_t pages = kv.pages_for(row->final_length());
  row->home = dealer_.deal(pages);
  if (match.pages > 0) row->home = dealer_.join(row->home, match.donor->home, match.pages);
  share_prefix(*row, match);
  std::vector<const Row*> active;
  for (const RowPointer& each : active_) active.push_back(each.get());
  const KvPrefix prefix{match.pages > 0 ? &match.donor->kv : nullptr, match.pages};
  const bool fits = (active.empty() || admission_.admits(active, *row)) &&
                    (match.pages == 0 || kv.grow(match.donor->kv, row->shared_tokens)) &&
                    kv.open(row->kv, row->home, row->final_length(), prefix);
  if (!fits) {
    check(!active.empty(), "a row that was accepted has room when it is alone");
    drop_prefix(*row);
    return false;
  }
  counts_.shared_tokens += row->shared_tokens;
  dealer_.commit(row->home, pages);
  return true;
}

// What `match` gives counts as read.
void Generator::share_prefix(Row& row, const PrefixMatch& match) {
  row.prefix_group = row.id;
  if (match.pages == 0) return;
  row.shared_tokens = row.cached = match.pages * parts_.policy->page_tokens;
  row.prefix_group = match.donor->shared_tokens > 0 ? match.donor->prefix_group : match.donor->id;
  row.donor = match.donor;
}

void Generator::drop_prefix(Row& row) {
  row.shared_tokens = row.cached = 0;
  row.donor = nullptr;
}

int Generator::smallest_cohort() const {
  std::vector<int> rows(parts_.policy->sweeps(), 0);
  for (const RowPointer& row : active_) ++rows[row->cohort];
  return static_cast<int>(std::min_element(rows.begin(), rows.end()) - rows.begin());
}

void Generator::settle_prefixes() {
  for (const RowPointer& row : active_) {
    const Row* donor = row->donor;
    const bool stored = donor != nullptr && donor->donor == nullptr;  // what it shares itself
    if (stored && donor->cached >= row->shared_tokens) row->donor = nullptr;
  }
}

// Decoding rows first: each is one token and must not wait; then prompts in the order of admission,
// so that a donor's turn comes before that of who shares its pages.
std::vector<Row*> Generator::rows_in_service(int cohort) const {
  std::vector<Row*> rows, prompts;
  for (const RowPointer& row : active_) {
    if (row->cohort != cohort) continue;
    const bool decodes = row->pending() == 1 && row->donor == nullptr;
    (decodes ? rows : prompts).push_back(row.get());
  }
  rows.insert(rows.end(), prompts.begin(), prompts.end());
  return rows;
}

// Pages for what each row may read in this sweep. When the pool runs dry the youngest row is put
// back, once no sweep is in flight that may need it; false until then.
bool Generator::reserve_pages(std::vector<Row*>& rows) {
  const ResolvedPolicy& policy = *parts_.policy;
  const int64_t limit = std::max(1, std::min(policy.prefill_chunk, policy.micro_batch_tokens));
  for (size_t i = 0; i < rows.size();) {
    Row& row = *rows[i];
    if (parts_.kv->grow(row.kv, row.cached + std::min(row.pending(), limit))) {
      ++i;
      continue;
    }
    if (!flights_.empty()) return false;
    check(active_.size() > 1, "a row that was accepted fits when it is alone");
    std::erase(rows, active_.back().get());
    put_back_youngest();
  }
  return !rows.empty();
}

void Generator::put_back_youngest() {
  RowPointer row = std::move(active_.back());
  active_.pop_back();
  begin_again(std::move(row));
}

void Generator::begin_again(RowPointer row) {
  parts_.kv->close(row->kv);
  drop_prefix(*row);
  row->prompt_logprobs.clear();
  row->logits.clear();
  waiting_.push_front(std::move(row));
}

// No row will be left after the sweeps in flight, whatever is sampled.
bool Generator::ends_here() const {
  if (!waiting_.empty()) return false;
  for (const RowPointer& row : active_) {
    if (row->riding < row->pending()) return false;
    if (row->generates() && row->generated() + 1 < row->request.sampling.max_tokens) return false;
  }
  return true;
}

void Generator::start(Flight* flight) {
  BuildOptions options = shaper_.build_options();
  options.last_sweep = ends_here();
  flight->shapes = shaper_.shapes(flight->sweep);
  Built built =
      build_sweep(parts_.memory->weights.visits, *parts_.program, flight->shapes, options, carry_);
  flight->schedule = std::move(built.schedule);
  parts_.runner->start({flight->sweep, flight->shapes, flight->schedule});
  carry_ = std::move(built.carry);
  for (const Step& step : flight->schedule.steps) counts_.lane_bytes[step.lane] += step.bytes;
}

// Work for the next sweep counts in this one when a lane finished it here.
void Generator::add_busiest_lane() {
  if (parts_.lanes == nullptr) return;
  const LaneSet& lanes = *parts_.lanes;
  double busiest = 0;
  for (const LaneId lane : lanes.lanes()) {
    double& before = lane_seconds_[lane];
    const double now = lanes.stats(lane).busy_seconds;
    busiest = std::max(busiest, now - before);
    before = now;
  }
  counts_.busiest_seconds += busiest;
}

// The rows that took part in a sweep, in the order of its spans.
std::vector<Generator::Ride> Generator::rides_of(const std::vector<Row*>& rows,
                                                 const SweepPlan& sweep) {
  std::vector<const SpanPlan*> spans;
  for (const BatchPlan& batch : sweep.batches) {
    for (const SpanPlan& span : batch.spans) spans.push_back(&span);
  }
  std::vector<Ride> rides;
  int64_t logits_row = 0;
  for (Row* row : rows) {
    if (row->riding == 0) continue;
    rides.push_back({row, spans.at(rides.size()), logits_row});
    logits_row += rides.back().span->logits_rows();
  }
  return rides;
}

std::vector<Event> Generator::collect(const Flight& flight) {
  const std::vector<Ride> rides = rides_of(flight.rows, flight.sweep);
  std::vector<TokenChoice> choices = choose_tokens(rides);
  std::vector<Event> events;
  size_t next_choice = 0;
  int64_t score = 0;
  for (const auto& [rider, span_plan, logits_row] : rides) {
    Row& row = *rider;
    const SpanPlan& span = *span_plan;
    const int64_t taken = std::exchange(row.riding, 0);
    row.cached += taken;
    row.kv.length = row.cached;
    counts_.prompt_tokens +=
        std::max<int64_t>(0, std::min(taken, row.prompt_tokens - (row.cached - taken)));
    collect_scores(row, span, score);
    Event event;
    event.request = row.id;
    if (row.request.all_logits) collect_logits(row, span, logits_row);
    if (span.generates()) add_token(row, std::move(choices.at(next_choice++)), event);
    score += static_cast<int64_t>(span.targets.size());
    const bool read = row.cached >= row.prompt_tokens;
    if (read && row.scores() && !row.prompt_logprobs.empty()) {
      event.prompt_logprobs.swap(row.prompt_logprobs);
    }
    if (!row.generates() && read) finish(row, event, row.request.score ? "score" : "length");
    if (row.cancelled) {
      if (!event.finished) cancelled_.push_back(row.id);
      continue;
    }
    if (event.finished || !event.tokens.empty() || !event.prompt_logprobs.empty()) {
      events.push_back(std::move(event));
    }
  }
  settle_prefixes();
  return events;
}

void Generator::collect_scores(Row& row, const SpanPlan& span, int64_t first_score) const {
  if (!row.scores()) return;
  if (span.position == 0) row.prompt_logprobs.assign(1, 0.0f);
  for (size_t i = 0; i < span.targets.size(); ++i) {
    const ScoreState* state = parts_.runner->score(first_score + static_cast<int64_t>(i));
    const float logprob =
        state != nullptr ? state->target - (state->max + std::log(state->sum)) : 0;
    row.prompt_logprobs.push_back(logprob);
  }
}

void Generator::collect_logits(Row& row, const SpanPlan& span, int64_t first_logits) const {
  const float* first = parts_.runner->logits(first_logits);
  row.logits.insert(row.logits.end(), first, first + span.logits_rows() * parts_.spec->vocab);
}

// The model's own end tokens, if the row heeds them.
std::span<const int32_t> Generator::eos(const Row& row) const {
  if (row.request.sampling.ignore_eos) return {};
  return parts_.spec->eos;
}

// Of the rows that want one, in their order: those that the device has chosen, and the others from
// their logits.
std::vector<TokenChoice> Generator::choose_tokens(const std::vector<Ride>& rides) {
  std::vector<TokenChoice> choices;
  std::vector<RowLogits> wanted;
  std::vector<size_t> places;
  for (const auto& [row, span, logits_row] : rides) {
    if (!span->generates()) continue;
    TokenChoice& choice = choices.emplace_back();
    if (span->want == Want::token) {
      choice.token = parts_.runner->token(logits_row);
      check_chosen(choice.token);
      continue;
    }
    places.push_back(choices.size() - 1);
    const std::span<const int32_t> all = row->tokens;
    RowLogits one{parts_.runner->logits(logits_row), {}};
    one.input.sampling = &row->request.sampling;
    one.input.prompt = all.first(row->prompt_tokens);
    one.input.generated = all.subspan(row->prompt_tokens);
    one.input.stop_tokens = row->request.sampling.stop_token_ids;
    one.input.eos = eos(*row);
    wanted.push_back(one);
  }
  std::vector<TokenChoice> chosen = sampler_.choose(wanted);
  for (size_t i = 0; i < places.size(); ++i) choices[places[i]] = std::move(chosen[i]);
  return choices;
}

void Generator::add_token(Row& row, TokenChoice choice, Event& event) {
  const int32_t token = choice.token;
  row.tokens.push_back(token);
  ++counts_.generated_tokens;
  event.tokens.push_back(std::move(choice));
  const auto among = [token](std::span<const int32_t> ends) {
    return std::find(ends.begin(), ends.end(), token) != ends.end();
  };
  const bool ended = among(row.request.sampling.stop_token_ids) || among(eos(row));
  if (ended) {
    finish(row, event, "stop");
  } else if (row.generated() >= row.request.sampling.max_tokens) {
    finish(row, event, "length");
  }
}

void Generator::finish(Row& row, Event& event, const char* reason) {
  event.finished = true;
  event.finish_reason = reason;
  finished_.push_back(row.id);
}

void Generator::remove_finished() {
  for (const uint64_t id : finished_) {
    const auto row = std::find_if(active_.begin(), active_.end(),
                                  [&](const RowPointer& each) { return each->id == id; });
    parts_.kv->close((*row)->kv);
    if (!(*row)->request.all_logits) active_.erase(row);
  }
  finished_.clear();
}

std::vector<float> Generator::logits(const std::vector<int32_t>& tokens) {
  if (!idle()) refuse("tokens", "requests in flight", "an idle engine", "logits() runs on its own");
  Request request;
  request.tokens = tokens;
  request.all_logits = true;
  submit(request);
  for (;;) {
    const std::vector<Event> events = step();
    if (!events.empty() && events.front().finished) break;
  }
  std::vector<float> result = std::move(active_.front()->logits);
  active_.clear();
  return result;
}

Generator::Counts Generator::counts() const {
  Counts counts = counts_;
  counts.active = active_.size();
  counts.waiting = waiting_.size();
  return counts;
}

}  // namespace penstock

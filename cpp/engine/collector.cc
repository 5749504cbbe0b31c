#include "engine/collector.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace penstock {

Collector::Collector(const SweepRunner& runner, const ModelSpec& spec, int threads)
    : runner_(runner), spec_(spec), sampler_(spec.vocab, threads) {}

// The requests that took part in a sweep, in the order of its spans.
std::vector<Collector::Rider> Collector::riders_of(const ServedSweep& sweep) {
  std::vector<const SpanPlan*> spans;
  for (const BatchPlan& batch : sweep.plan.batches) {
    for (const SpanPlan& span : batch.spans) spans.push_back(&span);
  }
  std::vector<Rider> riders;
  int64_t logits_row = 0;
  for (LiveRequest* request : sweep.requests) {
    if (request->riding == 0) continue;
    riders.push_back({request, spans.at(riders.size()), logits_row});
    logits_row += riders.back().span->logits_rows();
  }
  return riders;
}

Collector::Collected Collector::collect(const ServedSweep& sweep) {
  const std::vector<Rider> riders = riders_of(sweep);
  std::vector<TokenChoice> choices = choose_tokens(riders);
  Collected collected;
  size_t next_choice = 0;
  int64_t score = 0;
  for (const auto& [rider, span_plan, logits_row] : riders) {
    LiveRequest& request = *rider;
    const SpanPlan& span = *span_plan;
    const int64_t taken = std::exchange(request.riding, 0);
    const int64_t prompt_left = request.prompt_tokens - request.cached;
    collected.prompt_tokens += std::max<int64_t>(0, std::min(taken, prompt_left));
    request.cached += taken;
    request.kv.length = request.cached;
    collect_scores(request, span, score);
    score += static_cast<int64_t>(span.targets.size());
    if (request.asked.all_logits) collect_logits(request, span, logits_row);
    Event event;
    event.request = request.id;
    const char* reason = nullptr;
    if (span.generates()) {
      event.tokens.push_back(std::move(choices.at(next_choice++)));
      reason = add_token(request, event.tokens.back().token);
      ++collected.generated_tokens;
    }
    const bool read = request.cached >= request.prompt_tokens;
    if (read && request.scores() && !request.prompt_logprobs.empty()) {
      event.prompt_logprobs.swap(request.prompt_logprobs);
    }
    if (!request.generates() && read) reason = request.asked.score ? "score" : "length";
    if (reason != nullptr) {
      event.finished = true;
      event.finish_reason = reason;
      collected.finished.push_back(request.id);
    }
    if (request.cancelled) {
      if (!event.finished) collected.cancelled.push_back(request.id);
      continue;
    }
    if (event.finished || !event.tokens.empty() || !event.prompt_logprobs.empty()) {
      collected.events.push_back(std::move(event));
    }
  }
  return collected;
}

void Collector::collect_scores(LiveRequest& request, const SpanPlan& span,
                               int64_t first_score) const {
  if (!request.scores()) return;
  if (span.position == 0) request.prompt_logprobs.assign(1, 0.0f);
  for (size_t i = 0; i < span.targets.size(); ++i) {
    const ScoreState* state = runner_.score(first_score + static_cast<int64_t>(i));
    const float logprob =
        state != nullptr ? state->target - (state->max + std::log(state->sum)) : 0;
    request.prompt_logprobs.push_back(logprob);
  }
}

void Collector::collect_logits(LiveRequest& request, const SpanPlan& span,
                               int64_t first_row) const {
  const float* first = runner_.logits(first_row);
  request.logits.insert(request.logits.end(), first, first + span.logits_rows() * spec_.vocab);
}

// The model's own end tokens, if the request heeds them.
std::span<const int32_t> Collector::eos(const LiveRequest& request) const {
  if (request.asked.sampling.ignore_eos) return {};
  return spec_.eos;
}

// Of the requests that want one, in their order: those that the device has chosen, and the others
// from their logits.
std::vector<TokenChoice> Collector::choose_tokens(const std::vector<Rider>& riders) {
  std::vector<TokenChoice> choices;
  std::vector<RowLogits> wanted;
  std::vector<size_t> places;
  for (const auto& [request, span, logits_row] : riders) {
    if (!span->generates()) continue;
    TokenChoice& choice = choices.emplace_back();
    if (span->want == Want::token) {
      choice.token = runner_.token(logits_row);
      check_chosen(choice.token);
      continue;
    }
    places.push_back(choices.size() - 1);
    const std::span<const int32_t> all = request->tokens;
    RowLogits one{runner_.logits(logits_row), {}};
    one.input.sampling = &request->asked.sampling;
    one.input.prompt = all.first(request->prompt_tokens);
    one.input.generated = all.subspan(request->prompt_tokens);
    one.input.stop_tokens = request->asked.sampling.stop_token_ids;
    one.input.eos = eos(*request);
    wanted.push_back(one);
  }
  std::vector<TokenChoice> chosen = sampler_.choose(wanted);
  for (size_t i = 0; i < places.size(); ++i) choices[places[i]] = std::move(chosen[i]);
  return choices;
}

// Why the request ends with it; null when it does not.
const char* Collector::add_token(LiveRequest& request, int32_t token) const {
  request.tokens.push_back(token);
  const auto among = [token](std::span<const int32_t> ends) {
    return std::find(ends.begin(), ends.end(), token) != ends.end();
  };
  if (among(request.asked.sampling.stop_token_ids) || among(eos(request))) return "stop";
  return request.generated() >= request.asked.sampling.max_tokens ? "length" : nullptr;
}

}  // namespace penstock

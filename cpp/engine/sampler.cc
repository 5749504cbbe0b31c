#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "base/random.h"
#include "kernels/sample.h"
#include "kernels/sample_weight.h"

namespace penstock {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void require(bool ok, const char* field, double found, const char* allowed) {
  if (ok) return;
  throw Error(ErrorCode::invalid_argument, "sampling parameter out of range",
              {.field = field, .found = std::to_string(found), .allowed = allowed});
}

void require_token(int32_t token, const char* field, int vocab) {
  if (token >= 0 && token < vocab) return;
  throw Error(ErrorCode::invalid_argument, "token id outside the vocabulary",
              {.field = field,
               .found = std::to_string(token),
               .allowed = "0 to " + std::to_string(vocab - 1)});
}

bool changes_scores(const Sampling& s, size_t generated) {
  return !s.allowed_token_ids.empty() || !s.logit_bias.empty() ||
         generated < static_cast<size_t>(s.min_tokens) || s.repetition_penalty != 1.0 ||
         s.presence_penalty != 0 || s.frequency_penalty != 0;
}

}  // namespace

void check_sampling(const Sampling& s, int vocab) {
  require(s.max_tokens >= 1, "max_tokens", s.max_tokens, "at least 1");
  require(s.min_tokens >= 0 && s.min_tokens <= s.max_tokens, "min_tokens", s.min_tokens,
          "0 to max_tokens");
  require(s.temperature >= 0 && s.temperature <= 100, "temperature", s.temperature, "0 to 100");
  require(s.top_k >= 0, "top_k", s.top_k, "0 (off) or more");
  require(s.top_p > 0 && s.top_p <= 1, "top_p", s.top_p, "above 0, up to 1");
  require(s.min_p >= 0 && s.min_p <= 1, "min_p", s.min_p, "0 to 1");
  require(std::abs(s.presence_penalty) <= 2, "presence_penalty", s.presence_penalty, "-2 to 2");
  require(std::abs(s.frequency_penalty) <= 2, "frequency_penalty", s.frequency_penalty, "-2 to 2");
  require(s.repetition_penalty > 0 && s.repetition_penalty <= 100, "repetition_penalty",
          s.repetition_penalty, "above 0, up to 100");
  require(s.logprobs >= -1 && s.logprobs <= 100, "logprobs", s.logprobs, "-1 (none) to 100");
  for (const int32_t token : s.stop_token_ids) require_token(token, "stop_token_ids", vocab);
  for (const int32_t token : s.allowed_token_ids) require_token(token, "allowed_token_ids", vocab);
  for (const auto& [token, bias] : s.logit_bias) {
    require_token(token, "logit_bias", vocab);
    require(std::abs(bias) <= 100, "logit_bias", bias, "-100 to 100");
  }
}

double log_sum_exp(const float* logits, int vocab) {
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int i = 0; i < vocab; ++i) max = std::max<double>(max, logits[i]);
  for (int i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(logits[i]) - max);
  return max + std::log(sum);
}

bool samples_plainly(const Sampling& sampling, size_t generated, int vocab) {
  return sampling.logprobs < 0 && vocab <= kMostSampled && !changes_scores(sampling, generated);
}

SampleRow sample_row(const Sampling& sampling, size_t generated) {
  constexpr double kMostScale = 1e300;
  SampleRow how;
  if (sampling.temperature > 0) how.scale = std::min(1.0 / sampling.temperature, kMostScale);
  if (sampling.min_p > 0) how.floor = std::log(sampling.min_p);
  how.top_k = sampling.top_k;
  how.top_p = sampling.top_p;
  how.uniform = uniform(sampling.seed, generated);
  return how;
}

void check_chosen(int32_t token) {
  check(token >= 0, "no token can be chosen: every logit is masked or not a number");
}

TokenChoice Sampler::choose(const float* logits, const SamplerInput& input) {
  const float* scores = logits;
  if (changes_scores(*input.sampling, input.generated.size())) {
    changed_.assign(logits, logits + vocab_);
    adjust(input);
    penalise(input);
    scores = changed_.data();
  }
  ids_.resize(static_cast<size_t>(vocab_));
  TokenChoice choice;
  const SampleRow how = sample_row(*input.sampling, input.generated.size());
  choice.token = sample_token(scores, vocab_, how, {weigh_samples, ids_.data()});
  check_chosen(choice.token);
  if (input.sampling->logprobs >= 0) add_logprobs(logits, input.sampling->logprobs, choice);
  return choice;
}

void Sampler::adjust(const SamplerInput& input) {
  const Sampling& s = *input.sampling;
  if (!s.allowed_token_ids.empty()) {
    std::vector<float> kept(vocab_, kNever);
    for (const int32_t token : s.allowed_token_ids) kept[token] = changed_[token];
    changed_.swap(kept);
  }
  for (const auto& [token, bias] : s.logit_bias) changed_[token] += bias;
  if (static_cast<int>(input.generated.size()) < s.min_tokens) {
    for (const std::span<const int32_t> ends : {input.stop_tokens, input.eos}) {
      for (const int32_t token : ends) changed_[token] = kNever;
    }
  }
}

void Sampler::penalise(const SamplerInput& input) {
  const Sampling& s = *input.sampling;
  if (s.repetition_penalty != 1.0) {
    std::unordered_map<int32_t, bool> seen;
    const auto apply = [&](int32_t token) {
      if (!seen.emplace(token, true).second) return;
      float& score = changed_[token];
      score = score > 0 ? score / static_cast<float>(s.repetition_penalty)
                        : score * static_cast<float>(s.repetition_penalty);
    };
    for (const int32_t token : input.prompt) apply(token);
    for (const int32_t token : input.generated) apply(token);
  }
  if (s.presence_penalty == 0 && s.frequency_penalty == 0) return;
  std::unordered_map<int32_t, int> counts;
  for (const int32_t token : input.generated) ++counts[token];
  for (const auto& [token, count] : counts) {
    changed_[token] -= static_cast<float>(s.presence_penalty + s.frequency_penalty * count);
  }
}

void Sampler::add_logprobs(const float* logits, int count, TokenChoice& choice) const {
  const double norm = log_sum_exp(logits, vocab_);
  choice.logprob = static_cast<float>(logits[choice.token] - norm);
  if (count == 0) return;
  std::vector<int32_t> ids(vocab_);
  for (int32_t i = 0; i < vocab_; ++i) ids[i] = i;
  const int keep = std::min(count, vocab_);
  std::partial_sort(ids.begin(), ids.begin() + keep, ids.end(), BetterScore{logits});
  for (int i = 0; i < keep; ++i) {
    choice.top.emplace_back(ids[i], static_cast<float>(logits[ids[i]] - norm));
  }
}

}  // namespace penstock

// From a row of logits to a token. Order: allowed tokens and bias, end tokens held back until
// min_tokens, repetition, frequency and presence penalties, temperature, min_p, top_k, top_p, draw.
// Ties go to the lower id. Log-probabilities are those of the model's own logits, before any of
// this.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/params.h"
#include "penstock/engine.h"

namespace penstock {

struct SamplerInput {
  const Sampling* sampling = nullptr;
  std::span<const int32_t> prompt, generated;  // for the penalties
  std::span<const int32_t> stop_tokens, eos;   // not chosen before min_tokens
};

class Sampler {
 public:
  explicit Sampler(int vocab) : vocab_(vocab) {}

  // logits: [vocab]. Throws Error(internal) when no token is left or the logits are not numbers.
  TokenChoice choose(const float* logits, const SamplerInput& input);

 private:
  void adjust(const SamplerInput& input);
  void penalise(const SamplerInput& input);
  void add_logprobs(const float* logits, int count, TokenChoice& choice) const;

  int vocab_;
  std::vector<float> changed_;
  std::vector<int32_t> ids_;
};

// Whether a row that has generated so many tokens wants nothing of its logits but a token of the
// model's own distribution: then the device chooses it.
bool samples_plainly(const Sampling& sampling, size_t generated, int vocab);
// How the next token is drawn once the logits are what they should be; row 0.
SampleRow sample_row(const Sampling& sampling, size_t generated);
// The error of a row of which no token can be chosen.
void check_chosen(int32_t token);

// Throws Error(invalid_argument) naming the field, what was found and what is allowed.
void check_sampling(const Sampling& sampling, int vocab);

// log(sum(exp(logits))) in double precision, in ascending order.
double log_sum_exp(const float* logits, int vocab);

}  // namespace penstock

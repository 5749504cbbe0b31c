// What an engine gives for a list of requests, to be compared bit for bit.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "penstock/engine.h"

namespace penstock::testing {

struct Outcome {
  std::map<int, std::vector<int32_t>> tokens;  // by place in the list
  std::map<int, std::vector<float>> numbers;   // log-probabilities of choices and prompts
  std::vector<float> logits;
  Stats stats;

  // The same bits, whatever it took.
  bool same(const Outcome& other) const {
    if (tokens != other.tokens || !same(logits, other.logits)) return false;
    for (const auto& [row, values] : numbers) {
      if (!other.numbers.contains(row) || !same(values, other.numbers.at(row))) return false;
    }
    return numbers.size() == other.numbers.size();
  }

  static bool same(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size()) return false;
    return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }
};

// Runs until nothing is left; `row_of` gives a request's place in the list.
inline void collect(Engine& engine, const std::map<uint64_t, int>& row_of, Outcome& outcome) {
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      const int row = row_of.at(event.request);
      auto& numbers = outcome.numbers[row];
      for (const TokenChoice& choice : event.tokens) {
        outcome.tokens[row].push_back(choice.token);
        numbers.push_back(choice.logprob);
        for (const auto& [token, logprob] : choice.top) numbers.push_back(logprob);
      }
      numbers.insert(numbers.end(), event.prompt_logprobs.begin(), event.prompt_logprobs.end());
    }
  }
  outcome.stats = engine.stats();
}

inline std::map<uint64_t, int> submit(Engine& engine, const std::vector<Request>& requests) {
  std::map<uint64_t, int> row_of;
  for (size_t i = 0; i < requests.size(); ++i) {
    row_of[engine.submit(requests[i])] = static_cast<int>(i);
  }
  return row_of;
}

// Bytes moved are those of the schedules, and no budget is exceeded by a byte.
inline void expect_honest(const Stats& stats) {
  for (const auto& [lane, bytes] : stats.predicted_bytes) {
    if (!stats.lanes.contains(lane)) {
      EXPECT_EQ(bytes, 0u) << lane << " is not open";
      continue;
    }
    EXPECT_EQ(stats.lanes.at(lane).bytes, bytes) << lane;
  }
  for (const auto& [tier, peak] : stats.peak_bytes) {
    EXPECT_LE(peak, stats.budget_bytes.at(tier)) << tier;
  }
}

}  // namespace penstock::testing

// Performs no sweep: notes what was started, and gives results that a test has set.
#pragma once

#include <map>
#include <vector>

#include "engine/sweep_runner.h"

namespace penstock::testing {

class ScriptedRunner final : public SweepRunner {
 public:
  void start(const SweepWork& sweep) override {
    started.push_back(&sweep.schedule);
    shapes.push_back(sweep.shapes);
  }
  void finish() override { ++finished; }
  const float* logits(int64_t row) const override {
    const auto found = row_logits.find(row);
    return found == row_logits.end() ? nullptr : found->second.data();
  }
  int32_t token(int64_t row) const override { return row_tokens.at(row); }
  const ScoreState* score(int64_t index) const override {
    const auto found = scores.find(index);
    return found == scores.end() ? nullptr : &found->second;
  }

  std::vector<const Schedule*> started;
  std::vector<std::vector<BatchShape>> shapes;
  int finished = 0;
  std::map<int64_t, std::vector<float>> row_logits;
  std::map<int64_t, int32_t> row_tokens;
  std::map<int64_t, ScoreState> scores;
};

}  // namespace penstock::testing

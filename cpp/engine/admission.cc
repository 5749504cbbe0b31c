#include "engine/admission.h"

#include <algorithm>
#include <vector>

#include "base/checked.h"

namespace penstock {

namespace {

constexpr size_t kProbes =
    64;  // sweeps at which the projection is evaluated when there are many rows

}  // namespace

AdmissionRule::Course AdmissionRule::course(const Row& row) const {
  const int64_t chunk = std::max(1, policy_.prefill_chunk);
  const int64_t sweeps = std::max<int64_t>(1, ceil_div(row.pending(), chunk));
  const int64_t left = row.final_length() - static_cast<int64_t>(row.tokens.size());
  return {sweeps, static_cast<int64_t>(row.tokens.size()), sweeps + std::max<int64_t>(left, 1) - 1};
}

int64_t AdmissionRule::blocks_at(const Row& row, const Course& course, int64_t sweep) const {
  if (sweep >= course.last_sweep) return 0;
  const int64_t grown = std::max<int64_t>(0, sweep - course.prefill_sweeps + 1);
  const int64_t tokens = std::min(course.first + grown, row.final_cached());
  return kv_.blocks_for(std::max<int64_t>(tokens, 1), row.kv_on_disk);
}

bool AdmissionRule::admits(std::span<const Row* const> active, const Row& candidate) const {
  if (static_cast<int64_t>(active.size()) >= policy_.max_sequences) return false;
  if (policy_.admission == Admission::block) {
    int64_t blocks = kv_.blocks_for(candidate.final_cached(), candidate.kv_on_disk);
    for (const Row* row : active) blocks += kv_.blocks_for(row->final_cached(), row->kv_on_disk);
    return blocks <= kv_.blocks();
  }
  std::vector<const Row*> rows(active.begin(), active.end());
  rows.push_back(&candidate);
  std::vector<Course> courses;
  std::vector<int64_t> ends;  // the sum peaks just before a row leaves
  for (const Row* row : rows) {
    courses.push_back(course(*row));
    ends.push_back(courses.back().last_sweep - 1);
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  const size_t stride = std::max<size_t>(1, ends.size() / kProbes);
  for (size_t i = 0; i < ends.size(); i += stride) {
    int64_t blocks = 0;
    for (size_t r = 0; r < rows.size(); ++r) blocks += blocks_at(*rows[r], courses[r], ends[i]);
    if (blocks > kv_.blocks()) return false;
  }
  return true;
}

}  // namespace penstock

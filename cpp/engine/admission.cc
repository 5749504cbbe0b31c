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

// Without the pages it shares.
int64_t AdmissionRule::blocks_at(const Row& row, const Course& course, int64_t sweep) const {
  if (sweep >= course.last_sweep) return 0;
  const int64_t grown = std::max<int64_t>(0, sweep - course.prefill_sweeps + 1);
  const int64_t tokens = std::min(course.first + grown, row.final_cached());
  return kv_.blocks_for(std::max<int64_t>(tokens, 1), row.kv_on_disk) -
         kv_.blocks_for(row.shared_tokens, false);
}

// Pages that rows share count once: as those of the row they come from while it is there, else as
// the most that one of the others holds.
AdmissionRule::SharedPages AdmissionRule::shared_pages(std::span<const Row* const> rows,
                                                       std::span<const Course> courses) const {
  SharedPages shared;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i]->shared_tokens == 0) continue;
    const int64_t blocks = kv_.blocks_for(rows[i]->shared_tokens, false);
    shared[rows[i]->prefix_group].holders.push_back({courses[i].last_sweep, blocks});
  }
  for (size_t i = 0; i < rows.size() && !shared.empty(); ++i) {
    const auto group = shared.find(rows[i]->id);
    if (group != shared.end()) group->second.origin_until = courses[i].last_sweep;
  }
  return shared;
}

int64_t AdmissionRule::shared_blocks_at(const SharedPages& shared, int64_t sweep) {
  int64_t blocks = 0;
  for (const auto& [id, group] : shared) {
    if (sweep < group.origin_until) continue;
    int64_t most = 0;
    for (const auto& holder : group.holders) {
      if (sweep < holder.until) most = std::max(most, holder.blocks);
    }
    blocks += most;
  }
  return blocks;
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
  const SharedPages shared = shared_pages(rows, courses);
  const size_t stride = std::max<size_t>(1, ends.size() / kProbes);
  for (size_t i = 0; i < ends.size(); i += stride) {
    int64_t blocks = shared_blocks_at(shared, ends[i]);
    for (size_t r = 0; r < rows.size(); ++r) blocks += blocks_at(*rows[r], courses[r], ends[i]);
    if (blocks > kv_.blocks()) return false;
  }
  return true;
}

}  // namespace penstock

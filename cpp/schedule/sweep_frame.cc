#include "schedule/sweep_frame.h"

#include "base/error.h"

namespace penstock {

SweepFrame::SweepFrame(const std::vector<Visit>& all_visits, const Program& of_program,
                       const std::vector<BatchShape>& all_batches, const BuildOptions& with)
    : visits(all_visits), program(of_program), batches(all_batches), options(with) {
  check(!batches.empty(), "a sweep serves at least one micro-batch");
  check(options.lookahead >= 1, "lookahead is at least one visit");
  for (size_t v = 0; v < visits.size(); ++v) add_position(static_cast<int>(v), false);
  running = static_cast<int>(positions.size());
  check(running > 0 && kind(0) == ModuleKind::embed, "a sweep begins with the embedding");
  list_groups();
  if (options.last_sweep) return;
  for (size_t v = 0; v < visits.size(); ++v) add_position(static_cast<int>(v), true);
}

void SweepFrame::add_position(int index, bool ahead) {
  const Visit& visit = visits[index];
  const bool head = program.modules[visit.module].kind == ModuleKind::head;
  if (ahead && (head || static_cast<int>(positions.size()) >= running + options.lookahead)) return;
  Position position;
  position.visit = index;
  position.ahead = ahead;
  position.first_panel = panel_count;
  for (size_t b = 0; b < batches.size(); ++b) {
    if (!head || batches[b].head_rows > 0) position.batches.push_back(static_cast<int>(b));
  }
  if (position.batches.empty()) return;
  for (size_t i = 0; i < visit.panels.size(); ++i) {
    if (is_streamed(visit.panels[i], compute_tier()))
      position.streamed.push_back(static_cast<int>(i));
  }
  if (ahead && position.streamed.empty()) return;
  panel_count += static_cast<int64_t>(position.streamed.size());
  if (!position.streamed.empty()) streaming.push_back(static_cast<int>(positions.size()));
  position.streaming_rank = static_cast<int>(streaming.size());
  positions.push_back(std::move(position));
}

void SweepFrame::list_groups() {
  for (int p = 0; p < running; ++p) {
    const bool joins = apart() && kind(p) == ModuleKind::attention && p > 0 &&
                       kind(p - 1) == ModuleKind::mlp && device(p - 1) == device(p);
    if (joins) {
      groups.back().push_back(p);
    } else {
      groups.push_back({p});
    }
  }
}

}  // namespace penstock

// What a sweep visits, in order, before any step exists: its positions, the groups of positions
// that a micro-batch passes in one go, and those of the next sweep whose panels may be prefetched.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/build.h"

namespace penstock {

// A visit in the order in which it runs; those of the next sweep are there to be prefetched only.
struct Position {
  int visit = -1;
  bool ahead = false;
  std::vector<int> batches;   // micro-batches that compute here
  std::vector<int> streamed;  // panels that need a slot
  int64_t first_panel = 0;    // number of the first of them in the stream
  int streaming_rank = 0;     // positions with streamed panels up to this one
};

struct SweepFrame {
  // The arguments must outlive the frame.
  SweepFrame(const std::vector<Visit>& visits, const Program& program,
             const std::vector<BatchShape>& batches, const BuildOptions& options);

  ModuleKind kind(int position) const {
    return program.modules[visits[positions[position].visit].module].kind;
  }
  const Visit& visit(int position) const { return visits[positions[position].visit]; }
  int device(int position) const { return visit(position).device; }
  Tier compute_tier() const { return options.accelerator ? Tier::device : Tier::host; }
  bool apart() const { return program.form == AttentionForm::apart; }
  // Whether a batch's hidden rows pass through this position.
  bool carries_hidden(int position) const {
    return kind(position) != ModuleKind::head || visit(position).first_chunk;
  }

  const std::vector<Visit>& visits;
  const Program& program;
  const std::vector<BatchShape>& batches;
  const BuildOptions& options;
  std::vector<Position> positions;
  int running = 0;                       // positions of this sweep
  std::vector<std::vector<int>> groups;  // of those, all with the same batches
  std::vector<int> streaming;            // positions with streamed panels
  int64_t panel_count = 0;               // streamed panels of all positions

 private:
  void add_position(int index, bool ahead);
  void list_groups();
};

}  // namespace penstock

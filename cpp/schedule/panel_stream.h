// The weights of a sweep on their way: panels in the order of the stream, each submitted when its
// slots have been given back, in a ring that goes on into the next sweep.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/slot_ring.h"
#include "schedule/step_writer.h"

namespace penstock {

class PanelStream {
 public:
  PanelStream(const SweepFrame& frame, StepWriter& writer, const Carry& carry);

  // Panels of these positions, which are about to compute. They must fit into the ring together.
  void require(const std::vector<int>& group);
  // What should be on its way when `done` of `count` micro-batches of these positions have their
  // turn: as many positions as these are, `lookahead` further on, a part with each turn.
  void load_ahead(const std::vector<int>& group, int64_t done, int64_t count);
  // A compute step of a position takes its panels: `first` waits for them, `last` releases them.
  void use(int position, Step* step, bool first, bool last);
  void save(Carry* carry);

 private:
  int64_t target(const std::vector<int>& group, int64_t done, int64_t count) const;
  // Of a panel in the stream that is not before the next to be loaded.
  int position_of(int64_t panel) const;
  void load(int64_t target);
  bool load_next();
  uint64_t read(int panel, const SlotRing::Taken& taken);
  bool upload(int panel);
  // Where the panels of a position stay until they are used.
  SlotRing& ring(int position) {
    return frame_.options.accelerator ? device_rings_.of(frame_.device(position))
                                      : host_rings_.of(0);
  }

  const SweepFrame& frame_;
  StepWriter& writer_;
  std::vector<Carry::Ahead> loaded_;  // by number in the stream
  int load_position_ = 0;
  SlotRings host_rings_, device_rings_;
};

}  // namespace penstock

// Proves a schedule right without running it: every id in `after` is smaller; each slot is written
// before it is read, by a step that the reader follows (through `after` and lane order); nothing is
// overwritten before its last reader; every panel a compute step needs is there; capacity is never
// exceeded; every slot is released. Works over joined sweeps, so the wrap-around is covered: the
// first one must not depend on prefetches of a sweep that is not given. Shares no code with the
// builder. What it cannot know: how many micro-batches wanted logits or have pages on disk; it
// holds each micro-batch to what its own steps say.
#pragma once

#include <string>
#include <vector>

#include "schedule/build.h"

namespace penstock {

struct Finding {
  uint64_t step = 0;
  std::string what;
};

std::vector<Finding> check_schedules(const std::vector<const Schedule*>& sweeps,
                                     const std::vector<Visit>& visits, const Program& program,
                                     const BuildOptions& options);

}  // namespace penstock

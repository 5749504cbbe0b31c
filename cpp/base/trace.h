// What the lanes did, as a trace that Perfetto and chrome://tracing open: one track per lane (a few
// where a lane had several tasks in flight), one slice per task with its tag and bytes. Times are
// microseconds since the lane set was made.
#pragma once

#include <span>
#include <string>

#include "base/lane.h"

namespace penstock {

std::string chrome_trace(std::span<const LaneEvent> events);

}  // namespace penstock

// What the tests of lanes share.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/lane.h"

namespace penstock {

inline constexpr LaneId kCompute{LaneKind::compute, 0};
inline constexpr LaneId kRead{LaneKind::disk_read, 0};
inline constexpr LaneId kWrite{LaneKind::disk_write, 0};

inline LaneTask task(std::function<void()> begin, std::vector<Ticket> after = {}) {
  return {.after = std::move(after),
          .begin = std::move(begin),
          .finish = {},
          .bytes = 0,
          .label = "t",
          .tag = 0};
}

// Blocks the lane until opened, so that a test can arrange what queues up behind.
class Gate {
 public:
  void open() {
    open_.store(true);
    open_.notify_all();
  }
  std::function<void()> passage() {
    return [this] { open_.wait(false); };
  }

 private:
  std::atomic<bool> open_{false};
};

inline std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace penstock

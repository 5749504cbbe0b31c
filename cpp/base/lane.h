// Lanes and tickets: the only way work is ordered in Penstock. A lane is an in-order queue with one
// worker thread of its own; a ticket names a piece of work on a lane and is done when the lane has
// passed it. Work waits for the tickets it names, nothing else: there is no global barrier.
//
// A lane may keep several tasks in flight (`depth` > 1, for I/O): `begin` is called in order once
// the task's tickets are done, `finish` is called in order afterwards and may block until the
// transfer is over. While the next task is not ready, the lane finishes older ones, so it can never
// wait for itself.
//
// Errors are sticky: the first exception on a lane is kept, later tasks of that lane are passed
// without running, and any wait on a ticket at or after the failed one rethrows it. A task whose
// ticket failed fails with the same error.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace penstock {

enum class LaneKind : uint8_t { compute, host_compute, h2d, d2h, disk_read, disk_write };
inline constexpr int kLaneKinds = 6;
std::string lane_name(LaneKind kind);  // "compute", "host_compute", ...

struct LaneId {
  LaneKind kind = LaneKind::compute;
  int ordinal = 0;  // of the accelerator
  auto operator<=>(const LaneId&) const = default;
};
std::string lane_name(LaneId id);  // "compute", "compute:1", ...
template <class T>
using PerLane = std::map<LaneId, T>;

struct Ticket {
  LaneId lane;
  uint64_t number = 0;  // 0: nothing to wait for
};

struct LaneTask {
  std::vector<Ticket> after;
  std::function<void()> begin;   // may be empty
  std::function<void()> finish;  // may be empty
  uint64_t bytes = 0;            // counted when the task has finished without error
  const char* label = "";        // for the trace; must outlive the lane set
  int64_t tag = 0;               // for the trace: step id
  double seconds = 0;            // modelled: the lane is never faster than this
};

struct LaneOptions {
  int depth = 1;  // tasks in flight
  uint64_t delay_seed =
      0;  // != 0: sleep a seeded random time before each task (virtual accelerator)
  int max_delay_microseconds = 200;
  // > 0: the lane sleeps so that it is never faster than this, nor slower in the long run where its
  // work takes less: what it slept too long is made up for until it has to wait for something.
  double bytes_per_second = 0;
};

struct LaneStats {
  double busy_seconds = 0;  // time with at least one task begun and not finished, or the next one
                            // about to begin; waiting for tickets is not busy
  uint64_t bytes = 0;
  uint64_t tasks = 0;
};

// One task as it ran, for the trace; seconds since the lane set was made.
struct LaneEvent {
  LaneId lane;
  const char* label;
  int64_t tag;
  double begin_seconds, end_seconds;
  uint64_t bytes;
  uint64_t number = 0;          // of its ticket
  std::vector<Ticket> after{};  // what it waited for
};

class LaneSet {
 public:
  LaneSet();
  ~LaneSet();  // drains: every submitted task has run or been passed
  LaneSet(const LaneSet&) = delete;
  LaneSet& operator=(const LaneSet&) = delete;

  void open(LaneId id, LaneOptions options = {});  // throws Error(internal) when already open
  bool is_open(LaneId id) const;
  Ticket submit(LaneId id, LaneTask task);
  bool done(Ticket ticket) const;  // true also when the lane failed
  void wait(Ticket ticket);  // rethrows the lane's first error if the ticket is at or after it
  void wait_all();           // every lane; rethrows the first error found
  // After an error: waits until all lanes are empty and forgets errors, so that a new attempt may
  // start.
  void recover();
  LaneStats stats(LaneId id) const;
  std::vector<LaneId> lanes() const;
  void record_events(bool on);
  std::vector<LaneEvent> take_events();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock

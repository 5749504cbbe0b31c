#include "base/lane.h"

#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;
using Lock = std::unique_lock<std::mutex>;

constexpr uint64_t kNever = UINT64_MAX;

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

std::string text(LaneId id) { return lane_name(id.kind) + ":" + std::to_string(id.ordinal); }

// The next value of a splitmix64 sequence.
uint64_t next_random(uint64_t* state) {
  uint64_t value = (*state += 0x9e3779b97f4a7c15u);
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

// Calls `work` and returns what it threw.
std::exception_ptr attempt(const std::function<void()>& work) {
  try {
    if (work) work();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

// A task taken from the queue and not yet passed. Only its lane's worker touches it.
struct TakenTask {
  uint64_t number = 0;
  LaneTask task;
  bool runs = false;  // begun without error
  Clock::time_point begin;
};

struct Lane {
  LaneId id;
  LaneOptions options;
  std::thread worker;
  uint64_t random = 0;
  Clock::time_point link_free;  // when the modelled lane has done everything so far
  bool rested = true;           // since its last task it had nothing to do, or had to wait

  // Below: under the set's mutex. `flying` grows and shrinks under it, its elements belong to the
  // worker.
  std::deque<LaneTask> queue;
  std::deque<TakenTask> flying;
  uint64_t submitted = 0, begun = 0, passed = 0;
  size_t front_done = 0;  // leading tickets of the next task that are known to be done
  uint64_t failed_at = kNever;
  std::exception_ptr error;

  bool idle = false;  // the worker sleeps for want of tasks
  Ticket blocked_on;  // the ticket the worker sleeps on; number 0: none
  std::condition_variable wake;
  int waiters = 0;
  std::condition_variable advanced;

  int running = 0;
  Clock::time_point busy_since, busy_until;
  LaneStats stats;

  bool failed(uint64_t number) const { return number >= failed_at; }

  // One task after another is one busy time.
  void start_running(Clock::time_point now) {
    if (rested) link_free = std::max(link_free, now);
    if (running++ == 0) busy_since = rested ? now : busy_until;
    rested = false;
  }
  void stop_running(Clock::time_point now) {
    if (--running > 0) return;
    stats.busy_seconds += seconds(now - busy_since);
    busy_until = now;
  }

  void sleep_random_delay() {
    const uint64_t limit = static_cast<uint64_t>(std::max(options.max_delay_microseconds, 0));
    std::this_thread::sleep_for(std::chrono::microseconds(next_random(&random) % (limit + 1)));
  }

  // Sleeps until a lane of the given speed would have done the task after all earlier ones. The
  // time is carried from task to task, so neither rounding nor waking up late adds up.
  void throttle(const TakenTask& taken) {
    const LaneTask& task = taken.task;
    double needed = task.seconds;
    if (options.bytes_per_second > 0) {
      needed = std::max(needed, static_cast<double>(task.bytes) / options.bytes_per_second);
    }
    if (needed <= 0) return;
    link_free += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(needed));
    std::this_thread::sleep_until(link_free);
  }
};

}  // namespace

std::string lane_name(LaneKind kind) {
  static constexpr const char* kNames[kLaneKinds] = {"compute", "host_compute", "h2d",
                                                     "d2h",     "disk_read",    "disk_write"};
  const int index = static_cast<int>(kind);
  check(index >= 0 && index < kLaneKinds, "lane kind out of range");
  return kNames[index];
}

std::string lane_name(LaneId id) {
  const std::string name = lane_name(id.kind);
  return id.ordinal == 0 ? name : name + ":" + std::to_string(id.ordinal);
}

struct LaneSet::State {
  std::mutex mutex;
  std::vector<std::unique_ptr<Lane>> lanes;
  uint64_t pending = 0;  // tasks submitted and not passed, all lanes
  std::condition_variable drained;
  std::exception_ptr first_error;  // in time, of any lane
  bool stop = false;
  bool recording = false;
  std::vector<LaneEvent> events;
  Clock::time_point start = Clock::now();

  Lane* look_up(LaneId id) const {
    for (const auto& lane : lanes) {
      if (lane->id == id) return lane.get();
    }
    return nullptr;
  }

  Lane& find(LaneId id) const {
    Lane* lane = look_up(id);
    if (!lane) throw Error(ErrorCode::internal, "lane " + text(id) + " is not open");
    return *lane;
  }

  // The lane of a ticket that was handed out.
  Lane& issuer(Ticket ticket) const {
    Lane& lane = find(ticket.lane);
    check(ticket.number <= lane.submitted, "a ticket that was never handed out");
    return lane;
  }

  bool is_done(Ticket ticket) const {
    return ticket.number == 0 || ticket.number <= look_up(ticket.lane)->passed;
  }

  bool on_a_worker() const {
    return std::any_of(lanes.begin(), lanes.end(), [](const auto& lane) {
      return lane->worker.get_id() == std::this_thread::get_id();
    });
  }

  void fail(Lane& lane, uint64_t number, std::exception_ptr error) {
    if (!first_error) first_error = error;
    if (number >= lane.failed_at) return;
    lane.failed_at = number;
    lane.error = std::move(error);
  }

  void work(Lane& lane);
  bool next_may_begin(Lane& lane) const;
  std::exception_ptr error_of_tickets(const LaneTask& task) const;
  void begin_next(Lane& lane, Lock& lock);
  void finish_oldest(Lane& lane, Lock& lock);
  void record(Lane& lane, const TakenTask& taken, Clock::time_point end);
  void pass(Lane& lane, uint64_t number);
  void sleep(Lane& lane, Lock& lock);
  void drain(Lock& lock);
};

void LaneSet::State::work(Lane& lane) {
  pthread_setname_np(pthread_self(), text(lane.id).substr(0, 15).c_str());
  prctl(PR_SET_TIMERSLACK, 1UL);  // ns: modelled times end when they should
  Lock lock(mutex);
  for (;;) {
    if (next_may_begin(lane)) {
      begin_next(lane, lock);
    } else if (!lane.flying.empty()) {
      finish_oldest(lane, lock);
    } else if (stop) {
      return;
    } else {
      sleep(lane, lock);
    }
  }
}

// The next task may begin when all its tickets are done, when one of those done has failed, or when
// it is only to be passed.
bool LaneSet::State::next_may_begin(Lane& lane) const {
  if (lane.queue.empty() || static_cast<int>(lane.flying.size()) >= lane.options.depth)
    return false;
  if (lane.failed_at != kNever) return true;
  const std::vector<Ticket>& after = lane.queue.front().after;
  for (; lane.front_done < after.size(); ++lane.front_done) {
    const Ticket ticket = after[lane.front_done];
    if (!is_done(ticket)) return false;
    if (ticket.number != 0 && look_up(ticket.lane)->failed(ticket.number)) return true;
  }
  return true;
}

std::exception_ptr LaneSet::State::error_of_tickets(const LaneTask& task) const {
  for (const Ticket ticket : task.after) {
    if (ticket.number == 0) continue;
    const Lane& other = *look_up(ticket.lane);
    if (other.failed(ticket.number)) return other.error;
  }
  return nullptr;
}

void LaneSet::State::begin_next(Lane& lane, Lock& lock) {
  TakenTask& taken = lane.flying.emplace_back();
  taken.number = ++lane.begun;
  taken.task = std::move(lane.queue.front());
  lane.queue.pop_front();
  lane.front_done = 0;
  if (lane.failed_at != kNever) return;
  if (std::exception_ptr error = error_of_tickets(taken.task)) {
    fail(lane, taken.number, error);
    return;
  }
  if (lane.options.delay_seed != 0) {
    lock.unlock();
    lane.sleep_random_delay();
    lock.lock();
    if (lane.running == 0) lane.rested = true;
  }
  taken.begin = Clock::now();
  taken.runs = true;
  lane.start_running(taken.begin);
  if (!taken.task.begin) return;
  lock.unlock();
  std::exception_ptr error = attempt(taken.task.begin);
  lock.lock();
  if (!error) return;
  taken.runs = false;
  lane.stop_running(Clock::now());
  fail(lane, taken.number, std::move(error));
}

void LaneSet::State::finish_oldest(Lane& lane, Lock& lock) {
  TakenTask& taken = lane.flying.front();
  lock.unlock();
  std::exception_ptr error;
  if (taken.runs) {
    error = attempt(taken.task.finish);
    if (!error) lane.throttle(taken);
  }
  const Clock::time_point end = Clock::now();
  taken.task.begin = nullptr;  // what the task holds is given back before its ticket is done
  taken.task.finish = nullptr;
  lock.lock();
  if (taken.runs) {
    lane.stop_running(end);
    if (!error) record(lane, taken, end);
  }
  if (error) fail(lane, taken.number, std::move(error));
  const uint64_t number = taken.number;
  lane.flying.pop_front();
  pass(lane, number);
}

void LaneSet::State::record(Lane& lane, const TakenTask& taken, Clock::time_point end) {
  lane.stats.bytes += taken.task.bytes;
  ++lane.stats.tasks;
  if (!recording) return;
  events.push_back({lane.id, taken.task.label, taken.task.tag, seconds(taken.begin - start),
                    seconds(end - start), taken.task.bytes, taken.number, taken.task.after});
}

void LaneSet::State::pass(Lane& lane, uint64_t number) {
  lane.passed = number;
  if (lane.waiters > 0) lane.advanced.notify_all();
  for (const auto& other : lanes) {
    const Ticket ticket = other->blocked_on;
    if (ticket.number != 0 && ticket.lane == lane.id && ticket.number <= number) {
      other->wake.notify_one();
    }
  }
  if (--pending == 0) drained.notify_all();
}

void LaneSet::State::sleep(Lane& lane, Lock& lock) {
  lane.rested = true;
  if (lane.queue.empty()) {
    lane.idle = true;
    lane.wake.wait(lock, [&] { return stop || !lane.queue.empty(); });
    lane.idle = false;
    return;
  }
  lane.blocked_on = lane.queue.front().after[lane.front_done];
  lane.wake.wait(lock, [&] { return is_done(lane.blocked_on); });
  lane.blocked_on = {};
}

void LaneSet::State::drain(Lock& lock) {
  check(!on_a_worker(), "a lane worker cannot wait for its own lane");
  drained.wait(lock, [&] { return pending == 0; });
}

LaneSet::LaneSet() : state_(std::make_unique<State>()) {}

LaneSet::~LaneSet() {
  {
    Lock lock(state_->mutex);
    state_->drained.wait(lock, [&] { return state_->pending == 0; });
    state_->stop = true;
    for (const auto& lane : state_->lanes) lane->wake.notify_one();
  }
  for (const auto& lane : state_->lanes) lane->worker.join();
}

void LaneSet::open(LaneId id, LaneOptions options) {
  check(options.depth >= 1, "a lane needs a depth of at least 1");
  Lock lock(state_->mutex);
  if (state_->look_up(id))
    throw Error(ErrorCode::internal, "lane " + text(id) + " is already open");
  auto lane = std::make_unique<Lane>();
  lane->id = id;
  lane->options = options;
  lane->random = options.delay_seed * kLaneKinds + static_cast<uint64_t>(id.kind) +
                 (static_cast<uint64_t>(id.ordinal) << 32);
  state_->lanes.push_back(std::move(lane));
  Lane* opened = state_->lanes.back().get();
  try {
    opened->worker = std::thread([state = state_.get(), opened] { state->work(*opened); });
  } catch (const std::system_error& error) {
    state_->lanes.pop_back();
    throw Error(ErrorCode::internal,
                "cannot start the thread of lane " + text(id) + ": " + error.what());
  }
}

bool LaneSet::is_open(LaneId id) const {
  Lock lock(state_->mutex);
  return state_->look_up(id) != nullptr;
}

Ticket LaneSet::submit(LaneId id, LaneTask task) {
  Lock lock(state_->mutex);
  Lane& lane = state_->find(id);
  for (const Ticket ticket : task.after) {
    if (ticket.number != 0) state_->issuer(ticket);
  }
  lane.queue.push_back(std::move(task));
  ++state_->pending;
  if (lane.idle) lane.wake.notify_one();
  return {id, ++lane.submitted};
}

bool LaneSet::done(Ticket ticket) const {
  if (ticket.number == 0) return true;
  Lock lock(state_->mutex);
  return state_->issuer(ticket).passed >= ticket.number;
}

void LaneSet::wait(Ticket ticket) {
  if (ticket.number == 0) return;
  Lock lock(state_->mutex);
  Lane& lane = state_->issuer(ticket);
  check(lane.passed >= ticket.number || lane.worker.get_id() != std::this_thread::get_id(),
        "a lane worker cannot wait for its own lane");
  ++lane.waiters;
  lane.advanced.wait(lock, [&] { return lane.passed >= ticket.number; });
  --lane.waiters;
  if (!lane.failed(ticket.number)) return;
  std::exception_ptr error = lane.error;
  lock.unlock();
  std::rethrow_exception(std::move(error));
}

void LaneSet::wait_all() {
  Lock lock(state_->mutex);
  state_->drain(lock);
  if (!state_->first_error) return;
  std::exception_ptr error = state_->first_error;
  lock.unlock();
  std::rethrow_exception(std::move(error));
}

void LaneSet::recover() {
  Lock lock(state_->mutex);
  state_->drain(lock);
  state_->first_error = nullptr;
  for (const auto& lane : state_->lanes) {
    lane->failed_at = kNever;
    lane->error = nullptr;
  }
}

LaneStats LaneSet::stats(LaneId id) const {
  Lock lock(state_->mutex);
  const Lane& lane = state_->find(id);
  LaneStats stats = lane.stats;
  if (lane.running > 0) stats.busy_seconds += seconds(Clock::now() - lane.busy_since);
  return stats;
}

std::vector<LaneId> LaneSet::lanes() const {
  Lock lock(state_->mutex);
  std::vector<LaneId> ids;
  for (const auto& lane : state_->lanes) ids.push_back(lane->id);
  return ids;
}

void LaneSet::record_events(bool on) {
  Lock lock(state_->mutex);
  state_->recording = on;
}

std::vector<LaneEvent> LaneSet::take_events() {
  Lock lock(state_->mutex);
  return std::exchange(state_->events, {});
}

}  // namespace penstock

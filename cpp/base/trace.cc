#include "base/trace.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string_view>
#include <tuple>
#include <vector>

namespace penstock {
namespace {

// A row of the trace: slices of one lane that do not overlap.
struct Track {
  LaneId lane;
  double free_at = 0;
  int copy = 0;  // 0 for the lane's first track
};

size_t track_of(const LaneEvent& event, std::vector<Track>* tracks) {
  int copy = 0;
  for (size_t i = 0; i < tracks->size(); ++i) {
    Track& track = (*tracks)[i];
    if (track.lane != event.lane) continue;
    if (track.free_at <= event.begin_seconds) {
      track.free_at = event.end_seconds;
      return i;
    }
    ++copy;
  }
  tracks->push_back({event.lane, event.end_seconds, copy});
  return tracks->size() - 1;
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      out += code;
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string slice(const LaneEvent& event, size_t track) {
  char numbers[192];
  std::snprintf(numbers, sizeof numbers,
                ",\"ph\":\"X\",\"pid\":1,\"tid\":%zu,\"ts\":%.3f,\"dur\":%.3f,"
                "\"args\":{\"tag\":%lld,\"bytes\":%llu}}",
                track + 1, event.begin_seconds * 1e6,
                (event.end_seconds - event.begin_seconds) * 1e6, static_cast<long long>(event.tag),
                static_cast<unsigned long long>(event.bytes));
  return "{\"name\":" + in_quotes(event.label) + numbers;
}

bool computes(LaneKind lane) { return lane == LaneKind::compute || lane == LaneKind::host_compute; }

std::string flow(const char* phase, size_t number, double seconds, size_t track) {
  char text[160];
  std::snprintf(text, sizeof text,
                "{\"name\":\"to use\",\"cat\":\"flow\",\"ph\":\"%s\",\"bp\":\"e\",\"id\":%zu,"
                "\"pid\":1,\"tid\":%zu,\"ts\":%.3f},\n",
                phase, number, track + 1, seconds * 1e6);
  return text;
}

// Arrows from a transfer to the work that waited for it.
class Flows {
 public:
  void add(const LaneEvent& event, size_t track) {
    ends_[{event.lane.kind, event.lane.ordinal, event.number}] = {event.end_seconds, track};
  }

  std::string into(const LaneEvent& event, size_t track) {
    std::string out;
    for (const Ticket ticket : event.after) {
      if (computes(ticket.lane.kind) && computes(event.lane.kind)) continue;
      const auto from = ends_.find({ticket.lane.kind, ticket.lane.ordinal, ticket.number});
      if (from == ends_.end()) continue;
      const auto& [seconds, source] = from->second;
      out += flow("s", ++count_, seconds, source);
      out += flow("f", count_, event.begin_seconds, track);
    }
    return out;
  }

 private:
  using Key = std::tuple<LaneKind, int, uint64_t>;
  std::map<Key, std::pair<double, size_t>> ends_;
  size_t count_ = 0;
};

std::string track_name(const Track& track, size_t index) {
  std::string name = lane_name(track.lane);
  if (track.copy > 0) name.append(" (").append(std::to_string(track.copy + 1)).append(")");
  return "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":" + std::to_string(index + 1) +
         ",\"args\":{\"name\":" + in_quotes(name) + "}}";
}

}  // namespace

std::string chrome_trace(std::span<const LaneEvent> events) {
  std::vector<LaneEvent> sorted(events.begin(), events.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const LaneEvent& a, const LaneEvent& b) {
    return a.begin_seconds < b.begin_seconds;
  });
  std::vector<Track> tracks;
  std::string out = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
  Flows flows;
  for (const LaneEvent& event : sorted) {
    const size_t track = track_of(event, &tracks);
    out += slice(event, track) + ",\n" + flows.into(event, track);
    flows.add(event, track);
  }
  for (size_t i = 0; i < tracks.size(); ++i) out += track_name(tracks[i], i) + ",\n";
  out +=
      "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{\"name\":\"penstock\"}}\n]}\n";
  return out;
}

}  // namespace penstock

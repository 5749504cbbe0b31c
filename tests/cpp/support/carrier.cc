#include "support/carrier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "device/operands.h"
#include "support/test_device.h"

namespace penstock::test {
namespace {

constexpr size_t kAlignment = 256;

DeviceOptions options_for(const std::string& spec, Budget& memory) {
  DeviceOptions options;
  options.spec = spec;
  options.memory = &memory;
  options.device_memory = memory.limit();
  options.cublaslt = test_cublaslt();
  options.guard_pages = true;
  return options;
}

// Panels and pages lie anywhere; all else of one name is reached from one pointer.
bool stands_alone(const Operand& operand) {
  const std::string_view name = operand.name;
  return name == "weight" || name == "page";
}

std::vector<Region> regions_of(const std::vector<Operand>& all) {
  std::vector<Region> regions;
  std::unordered_map<std::string_view, size_t> by_name;
  for (const Operand& operand : all) {
    const std::byte* end = operand.data + operand.bytes();
    const auto found = by_name.find(operand.name);
    if (!stands_alone(operand) && found != by_name.end()) {
      Region& region = regions[found->second];
      region.begin = std::min(region.begin, operand.data);
      region.end = std::max(region.end, end);
      continue;
    }
    by_name[operand.name] = regions.size();
    Region& region = regions.emplace_back();
    region.begin = operand.data;
    region.end = end;
  }
  std::sort(regions.begin(), regions.end(),
            [](const Region& a, const Region& b) { return a.begin < b.begin; });
  std::vector<Region> apart;
  for (Region& region : regions) {
    if (!apart.empty() && region.begin < apart.back().end) {
      apart.back().end = std::max(apart.back().end, region.end);
    } else {
      apart.push_back(std::move(region));
    }
  }
  return apart;
}

Region& region_of(std::vector<Region>& regions, const std::byte* at) {
  const auto after =
      std::upper_bound(regions.begin(), regions.end(), at,
                       [](const std::byte* p, const Region& region) { return p < region.begin; });
  check(after != regions.begin() && std::prev(after)->holds(at), "an operand is in a region");
  return *std::prev(after);
}

// Calls f(row) for the beginning of each row.
template <class F>
void for_each_row(const Operand& operand, F f) {
  for (size_t row = 0; row < operand.rows; ++row) f(operand.data + row * operand.stride_bytes);
}

// An op with the addresses of the device in the place of those of the host. The op it gives points
// into it.
class Translation {
 public:
  Translation(const std::vector<Operand>& all, std::vector<Region>& regions) {
    for (const Operand& operand : all) {
      const Region& region = region_of(regions, operand.data);
      std::byte* there = region.device + (operand.data - region.begin);
      ways_.emplace(operand.name, there - operand.data);
      if (stands_alone(operand)) there_.emplace(operand.data, there);
    }
  }

  Op operator()(EmbedParams p) {
    move("rows", p.rows), move("add", p.add), move("out", p.out);
    return p;
  }
  Op operator()(NormParams p) {
    move("x", p.x), move("weight", p.weight), move("bias", p.bias), move("y", p.y);
    return p;
  }
  Op operator()(PrepareParams p) {
    move("x", p.x), move("out", p.out);
    return p;
  }
  Op operator()(GemmParams p) {
    panels_.assign(p.panels, p.panels + p.panel_count);
    for (WeightPanel& panel : panels_) panel.data = alone(panel.data);
    p.panels = panels_.data();
    move("x", p.x), move("bias", p.bias), move("residual", p.residual), move("y", p.y);
    return p;
  }
  Op operator()(GatedParams p) {
    move("gate", p.gate), move("up", p.up), move("out", p.out);
    return p;
  }
  Op operator()(RotaryParams p) {
    move("x", p.x), move("inv_freq", p.inv_freq);
    return p;
  }
  Op operator()(KvAppendParams p) {
    p.spans = spans(p.spans, p.span_count, p.layout.page_tokens);
    move("k", p.k), move("v", p.v);
    return p;
  }
  Op operator()(AttentionParams p) {
    p.spans = spans(p.spans, p.span_count, p.layout.page_tokens);
    move("q", p.q), move("out", p.out), move("states", p.states);
    return p;
  }
  Op operator()(GatherRowsParams p) {
    move("x", p.x), move("out", p.out);
    return p;
  }
  Op operator()(ScoreParams p) {
    move("logits", p.logits), move("states", p.states);
    return p;
  }
  Op operator()(SampleParams p) {
    move("logits", p.logits), move("tokens", p.tokens);
    return p;
  }

 private:
  // A pointer from which no operand is reached becomes null.
  template <class T>
  void move(const char* name, T*& pointer) const {
    if (pointer == nullptr) return;
    const auto way = ways_.find(name);
    const auto from = reinterpret_cast<uintptr_t>(pointer);
    pointer = way == ways_.end() ? nullptr
                                 : reinterpret_cast<T*>(from + static_cast<uintptr_t>(way->second));
  }
  std::byte* alone(const std::byte* at) const {
    const auto found = there_.find(at);
    return found == there_.end() ? nullptr : found->second;
  }
  // Pages that hold no key of the op are null there.
  const SpanView* spans(const SpanView* given, int32_t count, int page_tokens) {
    spans_.assign(given, given + count);
    for (SpanView& span : spans_) {
      const int32_t end = std::min(span.position + span.count, span.key_end);
      const auto pages = static_cast<size_t>(std::max(0, end + page_tokens - 1) / page_tokens);
      std::vector<std::byte*>& table = tables_.emplace_back();
      for (size_t i = 0; i < pages; ++i) table.push_back(alone(span.pages[i]));
      span.pages = table.data();
    }
    return spans_.data();
  }

  std::unordered_map<std::string_view, ptrdiff_t> ways_;
  std::unordered_map<const std::byte*, std::byte*> there_;
  std::vector<WeightPanel> panels_;
  std::vector<SpanView> spans_;
  std::deque<std::vector<std::byte*>> tables_;
};

void fill(const std::vector<Operand>& all, std::vector<Region>& regions) {
  for (Region& region : regions) region.sent.assign(region.bytes(), std::byte{0xff});
  for (const Operand& operand : all) {
    if (operand.access == Access::write) continue;
    Region& region = region_of(regions, operand.data);
    for_each_row(operand, [&](const std::byte* row) {
      std::memcpy(region.sent.data() + (row - region.begin), row, operand.row_bytes);
    });
  }
}

// Takes what was written to the host; all else must be as it was sent.
void take(const Op& op, const std::vector<Operand>& all, std::vector<Region>& regions) {
  for (const Operand& operand : all) {
    if (operand.access == Access::read) continue;
    Region& region = region_of(regions, operand.data);
    for_each_row(operand, [&](const std::byte* row) {
      const auto at = static_cast<size_t>(row - region.begin);
      std::memcpy(const_cast<std::byte*>(row), region.returned.data() + at, operand.row_bytes);
      std::memcpy(region.sent.data() + at, region.returned.data() + at, operand.row_bytes);
    });
  }
  for (const Region& region : regions) {
    const auto [sent, returned] =
        std::mismatch(region.sent.begin(), region.sent.end(), region.returned.begin());
    if (sent == region.sent.end()) continue;
    ADD_FAILURE() << op_name(op) << " wrote beside its operands, at byte "
                  << sent - region.sent.begin() << " of " << region.bytes();
  }
}

}  // namespace

Carrier::Carrier(const std::string& spec, const Open& open)
    : spec_(spec), device_(open(options_for(spec, memory_), lanes_, host_)) {}

void Carrier::run(const Op& op) {
  const std::vector<Operand> all = operands(op);
  std::vector<Region> regions = regions_of(all);
  if (regions.empty()) return;  // no rows
  fill(all, regions);
  for (Region& region : regions) {
    const size_t offset = reinterpret_cast<uintptr_t>(region.begin) % kAlignment;
    region.memory = device_->allocate(offset + region.bytes(), memory_, "operands");
    region.device = region.memory.data() + offset;
    region.returned.resize(region.bytes());
  }
  Translation translation(all, regions);
  try {
    run_there(std::visit(translation, op), regions);
  } catch (...) {
    lanes_.recover();
    throw;
  }
  take(op, all, regions);
}

void Carrier::run_there(const Op& op, std::vector<Region>& regions) {
  Ticket last{};
  for (const Region& region : regions) {
    last =
        device_->copy({region.device, region.sent.data(), region.bytes(), CopyDirection::h2d}, {});
  }
  const Ticket done = device_->run(op, {&last, 1});
  for (Region& region : regions) {
    last = device_->copy(
        {region.returned.data(), region.device, region.bytes(), CopyDirection::d2h}, {&done, 1});
  }
  device_->wait(last);
}

}  // namespace penstock::test

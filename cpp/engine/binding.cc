#include "engine/binding.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "tensor/units.h"

namespace penstock {

namespace {

void add_range(std::vector<RowRange>& ranges, int64_t begin, int64_t count) {
  if (count <= 0) return;
  if (!ranges.empty() && ranges.back().end == begin) {
    ranges.back().end += count;
  } else {
    ranges.push_back({begin, begin + count});
  }
}

}  // namespace

void SweepBinding::bind(const SweepPlan& sweep) {
  batches_.clear();
  int64_t head_rows = 0, logits = 0, scores = 0;
  for (const BatchPlan& plan : sweep.batches) {
    BatchBinding& binding = batches_.emplace_back();
    binding.first_head_row = head_rows;
    binding.first_logits = logits;
    binding.first_score = scores;
    bind_batch(plan, binding);
    bind_head(plan, binding);
    head_rows += plan.head_rows();
    logits += plan.logits_rows;
    scores += plan.score_rows;
  }
}

void SweepBinding::bind_batch(const BatchPlan& plan, BatchBinding& binding) const {
  binding.plan = &plan;
  binding.layers.resize(kv_.layers());
  binding.host_tables.resize(kv_.layers() * plan.spans.size());
  binding.device_tables.resize(kv_.layers() * plan.spans.size());
  int32_t row = 0;
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const SpanPlan& span = plan.spans[i];
    for (int32_t t = 0; t < span.count(); ++t) {
      binding.token_ids.push_back(span.tokens[t]);
      binding.positions.push_back(span.position + t);
    }
    binding.pages.push_back(span_pages(span, rules_));
    bind_span(binding, i, row);
    row += span.count();
  }
}

// Page tables of spans that pass through slots follow when the slots are known.
void SweepBinding::bind_span(BatchBinding& binding, size_t index, int32_t row) const {
  const SpanPlan& span = binding.plan->spans[index];
  const SpanPages& pages = binding.pages[index];
  const auto cut = static_cast<int32_t>(pages.cut);
  for (int layer = 0; layer < kv_.layers(); ++layer) {
    LayerSpans& spans = binding.layers[layer];
    SpanView here{row, span.position, span.count(), span.kv->pages[layer].data()};
    SpanView there = here;
    there.key_end = cut;
    if (rules_.accelerator && pages.down_rows > 0) spans.host_append.push_back(there);
    if (!pages.hosted || pages.below == 0) {
      spans.append.push_back(here);
      spans.attend.push_back(here);
      continue;
    }
    there.partial = !pages.whole;
    spans.host_attend.push_back(there);
    if (pages.whole) continue;
    here.key_begin = cut;
    if (span.position >= cut) spans.append.push_back(here);
    here.resume = true;
    spans.join.push_back(here);
  }
}

void SweepBinding::bind_head(const BatchPlan& plan, BatchBinding& binding) const {
  int32_t row = 0;
  for (const SpanPlan& span : plan.spans) {
    bind_logits(span, row, binding);
    row += span.count();
  }
  row = 0;
  for (const SpanPlan& span : plan.spans) {
    for (size_t i = 0; i < span.targets.size(); ++i) {
      binding.head_rows.push_back(row + static_cast<int32_t>(i));
      binding.targets.push_back(span.targets[i]);
    }
    row += span.count();
  }
}

// `row`: the span's first one.
void SweepBinding::bind_logits(const SpanPlan& span, int32_t row, BatchBinding& binding) const {
  const int64_t rows = span.logits_rows();
  const auto first = static_cast<int64_t>(binding.head_rows.size());
  for (int64_t i = span.count() - rows; i < span.count(); ++i) {
    binding.head_rows.push_back(row + static_cast<int32_t>(i));
  }
  const bool token = span.want == Want::token;
  add_range(token ? binding.tokens_down : binding.logits_down, first, rows);
  if (!token) return;
  binding.samples.push_back(span.sample);
  binding.samples.back().row = first;
}

template <class F>
void SweepBinding::each_disk_span(const BatchBinding& binding, std::byte* slot, F f) const {
  for (size_t i = 0; i < binding.pages.size(); ++i) {
    if (!binding.pages[i].on_disk) continue;
    f(i, slot);
    if (slot != nullptr) slot += binding.pages[i].below * kv_.unit_bytes();
  }
}

template <class F>
void SweepBinding::each_staged_span(const BatchBinding& binding, std::byte* slot, F f) const {
  for (size_t i = 0; i < binding.pages.size(); ++i) {
    if (!binding.pages[i].staged) continue;
    f(i, slot);
    slot += binding.pages[i].below * device_stride();
  }
}

int64_t SweepBinding::device_stride() const {
  return round_up(kv_.layout().page_bytes(), kLineBytes);
}

namespace {

// Gives the views of one span their page table.
void set_pages(std::vector<SpanView>& views, int32_t row, std::byte* const* pages) {
  for (SpanView& view : views) {
    if (view.first_row == row) view.pages = pages;
  }
}

// First row of every span.
std::vector<int32_t> first_rows(const BatchPlan& plan) {
  std::vector<int32_t> rows;
  int32_t row = 0;
  for (const SpanPlan& span : plan.spans) {
    rows.push_back(row);
    row += span.count();
  }
  return rows;
}

}  // namespace

void SweepBinding::place_host_pages(int batch, int layer, std::byte* slot) {
  BatchBinding& binding = batches_.at(batch);
  const std::vector<int32_t> rows = first_rows(*binding.plan);
  each_disk_span(binding, slot, [&](size_t index, std::byte* part) {
    const SpanPages& pages = binding.pages[index];
    const KvSequence& kv = *binding.plan->spans[index].kv;
    auto& table = binding.host_tables[layer * binding.pages.size() + index];
    table = kv.pages[layer];
    for (int64_t page = 0; page < pages.below; ++page) {
      table[page] = part + page * static_cast<int64_t>(kv_.unit_bytes());
    }
    if (pages.full < pages.below) table[pages.full] = kv.tails[layer];
    LayerSpans& spans = binding.layers[layer];
    if (!rules_.accelerator) {
      set_pages(spans.append, rows[index], table.data());
      set_pages(spans.attend, rows[index], table.data());
    }
    set_pages(spans.host_append, rows[index], table.data());
    set_pages(spans.host_attend, rows[index], table.data());
  });
}

void SweepBinding::place_device_pages(int batch, int layer, std::byte* slot) {
  BatchBinding& binding = batches_.at(batch);
  const std::vector<int32_t> rows = first_rows(*binding.plan);
  each_staged_span(binding, slot, [&](size_t index, std::byte* part) {
    auto& table = binding.device_tables[layer * binding.pages.size() + index];
    table = binding.plan->spans[index].kv->pages[layer];
    for (int64_t page = 0; page < binding.pages[index].below; ++page) {
      table[page] = part + page * device_stride();
    }
    set_pages(binding.layers[layer].append, rows[index], table.data());
    set_pages(binding.layers[layer].attend, rows[index], table.data());
  });
}

std::vector<Transfer> SweepBinding::page_reads(int batch, int layer, std::byte* slot) const {
  const BatchBinding& binding = batches_.at(batch);
  std::vector<Transfer> transfers;
  each_disk_span(binding, slot, [&](size_t index, std::byte* part) {
    const int64_t full = binding.pages[index].full;
    for (const KvSequence::Run& run : binding.plan->spans[index].kv->runs) {
      const int64_t end = std::min(full, run.first_page + run.pages);
      if (end <= run.first_page) break;
      Transfer transfer;
      transfer.file = &kv_.spill().file();
      transfer.data = part + run.first_page * static_cast<int64_t>(kv_.unit_bytes());
      transfer.bytes = (end - run.first_page) * kv_.unit_bytes();
      transfer.offset = kv_.spill().offset(run.first_unit + layer * run.stride);
      transfers.push_back(transfer);
    }
  });
  return transfers;
}

void SweepBinding::verify_pages(int batch, int layer, const std::byte* slot) const {
  const BatchBinding& binding = batches_.at(batch);
  each_disk_span(binding, const_cast<std::byte*>(slot), [&](size_t index, std::byte* part) {
    const KvSequence& kv = *binding.plan->spans[index].kv;
    for (int64_t page = 0; page < binding.pages[index].full; ++page) {
      kv_.spill().verify(kv.unit(layer, page), part + page * kv_.unit_bytes());
    }
  });
}

std::vector<Transfer> SweepBinding::page_writes(int batch, int layer, std::byte* slot) {
  const BatchBinding& binding = batches_.at(batch);
  std::vector<Transfer> transfers;
  each_disk_span(binding, slot, [&](size_t index, std::byte* part) {
    const SpanPages& pages = binding.pages[index];
    const KvSequence& kv = *binding.plan->spans[index].kv;
    if (pages.completed == 0) return;
    std::byte* first = part + pages.full * kv_.unit_bytes();
    std::memcpy(first, kv.tails[layer], kv_.layout().page_bytes());
    for (int64_t i = 0; i < pages.completed; ++i) {
      kv_.spill().seal(kv.unit(layer, pages.full + i), first + i * kv_.unit_bytes());
    }
    Transfer transfer;
    transfer.file = &kv_.spill().file();
    transfer.data = first;
    transfer.bytes = pages.completed * kv_.unit_bytes();
    transfer.offset = kv_.spill().offset(kv.unit(layer, pages.full));
    transfer.write = true;
    transfers.push_back(transfer);
  });
  return transfers;
}

// The page begun after the completed ones becomes the tail that stays in memory.
void SweepBinding::keep_tails(int batch, int layer, const std::byte* slot) const {
  const BatchBinding& binding = batches_.at(batch);
  each_disk_span(binding, const_cast<std::byte*>(slot), [&](size_t index, std::byte* part) {
    const SpanPages& pages = binding.pages[index];
    const int64_t tail = pages.full + pages.completed;
    if (pages.completed == 0 || tail >= pages.below) return;
    std::memcpy(binding.plan->spans[index].kv->tails[layer], part + tail * kv_.unit_bytes(),
                kv_.layout().page_bytes());
  });
}

std::vector<CopyParams> SweepBinding::page_uploads(int batch, int layer, const std::byte* host_slot,
                                                   std::byte* device_slot) const {
  const BatchBinding& binding = batches_.at(batch);
  std::vector<const std::byte*> disk_part(binding.pages.size(), nullptr);
  each_disk_span(binding, const_cast<std::byte*>(host_slot),
                 [&](size_t index, std::byte* part) { disk_part[index] = part; });
  const size_t bytes = kv_.layout().page_bytes();
  std::vector<CopyParams> copies;
  const auto add = [&](std::byte* destination, const std::byte* source) {
    if (!copies.empty()) {
      CopyParams& last = copies.back();
      const bool joins = static_cast<std::byte*>(last.destination) + last.bytes == destination &&
                         static_cast<const std::byte*>(last.source) + last.bytes == source;
      if (joins) {
        last.bytes += bytes;
        return;
      }
    }
    copies.push_back({destination, source, bytes, CopyDirection::h2d});
  };
  each_staged_span(binding, device_slot, [&](size_t index, std::byte* part) {
    const SpanPages& pages = binding.pages[index];
    const KvSequence& kv = *binding.plan->spans[index].kv;
    for (int64_t page = 0; page < pages.stored; ++page) {
      const std::byte* source = kv.pages[layer][page];
      if (pages.on_disk) {
        const bool tail = page >= pages.full;
        source = tail ? kv.tails[layer] : disk_part[index] + page * kv_.unit_bytes();
      }
      add(part + page * device_stride(), source);
    }
  });
  return copies;
}

std::vector<RowRange> SweepBinding::stored_rows(int batch) const {
  const BatchBinding& binding = batches_.at(batch);
  const std::vector<int32_t> rows = first_rows(*binding.plan);
  std::vector<RowRange> ranges;
  for (size_t i = 0; i < rows.size(); ++i) add_range(ranges, rows[i], binding.pages[i].down_rows);
  return ranges;
}

std::vector<RowRange> SweepBinding::hosted_rows(int batch, bool only_parts) const {
  const BatchBinding& binding = batches_.at(batch);
  const std::vector<int32_t> rows = first_rows(*binding.plan);
  std::vector<RowRange> ranges;
  for (size_t i = 0; i < rows.size(); ++i) {
    const SpanPages& pages = binding.pages[i];
    if (pages.hosted && !(only_parts && pages.whole)) add_range(ranges, rows[i], 1);
  }
  return ranges;
}

}  // namespace penstock

#include "engine/binding.h"

#include <cstring>

namespace penstock {

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
  binding.spans.resize(kv_.layers());
  binding.disk_pages.resize(kv_.layers() * plan.spans.size());
  int32_t row = 0;
  for (const SpanPlan& span : plan.spans) {
    for (int32_t i = 0; i < span.count(); ++i) {
      binding.token_ids.push_back(span.tokens[i]);
      binding.positions.push_back(span.position + i);
    }
    for (int layer = 0; layer < kv_.layers(); ++layer) {
      std::byte* const* pages = span.kv->on_disk ? nullptr : span.kv->pages[layer].data();
      binding.spans[layer].push_back({row, span.position, span.count(), pages});
    }
    row += span.count();
  }
}

void SweepBinding::bind_head(const BatchPlan& plan, BatchBinding& binding) const {
  int32_t row = 0;
  for (const SpanPlan& span : plan.spans) {
    if (span.want == Want::last) binding.head_rows.push_back(row + span.count() - 1);
    if (span.want == Want::all) {
      for (int32_t i = 0; i < span.count(); ++i) binding.head_rows.push_back(row + i);
    }
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

template <class F>
void SweepBinding::each_disk_span(const BatchPlan& plan, std::byte* slot, F f) const {
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const SpanPlan& span = plan.spans[i];
    if (!span.kv->on_disk) continue;
    f(span, i, slot);
    slot += disk_span(span, kv_.layout().page_tokens).pages * kv_.unit_bytes();
  }
}

SweepBinding::DiskBytes SweepBinding::disk_bytes(const BatchPlan& plan) const {
  DiskBytes bytes;
  each_disk_span(plan, nullptr, [&](const SpanPlan& span, size_t, std::byte*) {
    const DiskSpan pages = disk_span(span, kv_.layout().page_tokens);
    bytes.read += pages.full * kv_.unit_bytes();
    bytes.write += pages.completed * kv_.unit_bytes();
    bytes.staging += pages.pages * kv_.unit_bytes();
    bytes.any = true;
  });
  return bytes;
}

void SweepBinding::place_pages(int batch, int layer, std::byte* slot) {
  BatchBinding& binding = batches_.at(batch);
  each_disk_span(*binding.plan, slot, [&](const SpanPlan& span, size_t index, std::byte* part) {
    const DiskSpan pages = disk_span(span, kv_.layout().page_tokens);
    auto& table = binding.disk_pages[layer * binding.plan->spans.size() + index];
    table.clear();
    for (int64_t page = 0; page < pages.pages; ++page) {
      table.push_back(part + page * kv_.unit_bytes());
    }
    if (pages.full < pages.pages) table[pages.full] = span.kv->pages[layer].front();
    binding.spans[layer][index].pages = table.data();
  });
}

std::vector<Transfer> SweepBinding::page_reads(int batch, int layer, std::byte* slot) const {
  std::vector<Transfer> transfers;
  each_disk_span(*batches_.at(batch).plan, slot,
                 [&](const SpanPlan& span, size_t, std::byte* part) {
                   const DiskSpan pages = disk_span(span, kv_.layout().page_tokens);
                   if (pages.full == 0) return;
                   Transfer transfer;
                   transfer.file = &kv_.spill().file();
                   transfer.data = part;
                   transfer.bytes = pages.full * kv_.unit_bytes();
                   transfer.offset = kv_.spill().offset(span.kv->unit(layer, 0));
                   transfers.push_back(transfer);
                 });
  return transfers;
}

void SweepBinding::verify_pages(int batch, int layer, const std::byte* slot) const {
  each_disk_span(*batches_.at(batch).plan, const_cast<std::byte*>(slot),
                 [&](const SpanPlan& span, size_t, std::byte* part) {
                   const DiskSpan pages = disk_span(span, kv_.layout().page_tokens);
                   for (int64_t page = 0; page < pages.full; ++page) {
                     kv_.spill().verify(span.kv->unit(layer, page), part + page * kv_.unit_bytes());
                   }
                 });
}

std::vector<Transfer> SweepBinding::page_writes(int batch, int layer, std::byte* slot) {
  std::vector<Transfer> transfers;
  each_disk_span(
      *batches_.at(batch).plan, slot, [&](const SpanPlan& span, size_t, std::byte* part) {
        const DiskSpan pages = disk_span(span, kv_.layout().page_tokens);
        if (pages.completed == 0) return;
        std::byte* first = part + pages.full * kv_.unit_bytes();
        std::memcpy(first, span.kv->pages[layer].front(), kv_.layout().page_bytes());
        for (int64_t i = 0; i < pages.completed; ++i) {
          kv_.spill().seal(span.kv->unit(layer, pages.full + i), first + i * kv_.unit_bytes());
        }
        Transfer transfer;
        transfer.file = &kv_.spill().file();
        transfer.data = first;
        transfer.bytes = pages.completed * kv_.unit_bytes();
        transfer.offset = kv_.spill().offset(span.kv->unit(layer, pages.full));
        transfer.write = true;
        transfers.push_back(transfer);
      });
  return transfers;
}

// The page begun after the completed ones becomes the tail that stays in memory.
void SweepBinding::keep_tails(int batch, int layer, const std::byte* slot) const {
  each_disk_span(*batches_.at(batch).plan, const_cast<std::byte*>(slot),
                 [&](const SpanPlan& span, size_t, std::byte* part) {
                   const DiskSpan pages = disk_span(span, kv_.layout().page_tokens);
                   const int64_t tail = pages.full + pages.completed;
                   if (pages.completed == 0 || tail >= pages.pages) return;
                   std::memcpy(span.kv->pages[layer].front(), part + tail * kv_.unit_bytes(),
                               kv_.layout().page_bytes());
                 });
}

}  // namespace penstock

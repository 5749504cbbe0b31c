#include "engine/probe_attention.h"

#include "tensor/kv_layout.h"

namespace penstock {
namespace {

constexpr int kPageTokens = 32, kSequences = 8, kPromptRows = 256;
constexpr int kKeys = AttentionProbe::kRows;
constexpr int kPages = kKeys / kPageTokens;  // of a sequence
constexpr int64_t kWidth = int64_t{AttentionProbe::kHeads} * AttentionProbe::kHeadDim;

KvLayout layout_of(FormatId kv) {
  return {kv, AttentionProbe::kHeads, AttentionProbe::kHeadDim, kPageTokens};
}

float* floats(std::byte* data) { return static_cast<float*>(static_cast<void*>(data)); }

}  // namespace

AttentionProbe::AttentionProbe(FormatId kv, const Place& place, const std::byte* rows)
    : place_(place),
      pages_(place.allocate(static_cast<size_t>(layout_of(kv).page_bytes()) * kPages * kSequences)),
      rows_(place.allocate(kRowsBytes)),
      out_(place.allocate(sizeof(float) * kPromptRows * kWidth)) {
  const size_t page_bytes = pages_.bytes() / (kPages * kSequences);
  for (size_t i = 0; i < kPages * kSequences; ++i) {
    table_.push_back(pages_.data() + i * page_bytes);
  }
  place_.fill(rows_.data(), rows, kRowsBytes);
  params_.layout = layout_of(kv);
  params_.q = floats(rows_.data());
  params_.q_stride = params_.out_stride = kWidth;
  params_.heads = kHeads;
  params_.scale = 0.1f;
  params_.out = floats(out_.data());
  for (int i = 0; i < kSequences; ++i) {
    const SpanView whole{0, 0, kKeys, table(i)};
    place_.run(KvAppendParams{params_.layout, &whole, 1, params_.q, kWidth, params_.q, kWidth});
    decoding_.push_back({i, kKeys - 1, 1, table(i)});
  }
}

std::byte* const* AttentionProbe::table(int sequence) const {
  return table_.data() + static_cast<size_t>(sequence) * kPages;
}

void AttentionProbe::decode() {
  params_.spans = decoding_.data();
  params_.span_count = kSequences;
  place_.run(params_);
}

void AttentionProbe::prompt() {
  const SpanView chunk{0, 0, kPromptRows, table(0)};
  params_.spans = &chunk;
  params_.span_count = 1;
  place_.run(params_);
}

double AttentionProbe::prompt_flops() {
  return 4.0 * kWidth * (kPromptRows * (kPromptRows + 1) / 2);
}

}  // namespace penstock

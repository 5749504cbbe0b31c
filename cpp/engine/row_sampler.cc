#include "engine/row_sampler.h"

#include <exception>

namespace penstock {
namespace {

constexpr int64_t kLogitsWorthThreads = 1 << 17;  // fewer are looked at sooner than one wakes

}  // namespace

RowSampler::RowSampler(int vocab, int threads)
    : vocab_(vocab), pool_(threads), samplers_(static_cast<size_t>(threads), Sampler(vocab)) {}

std::vector<TokenChoice> RowSampler::choose(const std::vector<RowLogits>& rows) {
  std::vector<TokenChoice> choices(rows.size());
  std::vector<std::exception_ptr> errors(rows.size());
  const auto choose = [&](int64_t row, int worker) {
    const auto at = static_cast<size_t>(row);
    try {
      choices[at] = choose_one(rows[at], worker);
    } catch (...) {
      errors[at] = std::current_exception();
    }
  };
  const auto count = static_cast<int64_t>(rows.size());
  if (count * vocab_ >= kLogitsWorthThreads) {
    pool_.parallel().for_each(count, choose);
  } else {
    for (int64_t row = 0; row < count; ++row) choose(row, 0);
  }
  for (const std::exception_ptr& error : errors) {
    if (error != nullptr) std::rethrow_exception(error);
  }
  return choices;
}

TokenChoice RowSampler::choose_one(const RowLogits& row, int worker) {
  if (row.logits == nullptr) {
    TokenChoice any;
    any.token = 0;
    return any;
  }
  return samplers_[static_cast<size_t>(worker)].choose(row.logits, row.input);
}

}  // namespace penstock

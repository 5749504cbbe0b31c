#include "store/row_source.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace penstock {

namespace {

class FileSource final : public RowSource {
 public:
  explicit FileSource(const Catalogue& catalogue) : catalogue_(catalogue) {}

  DType dtype(const WeightInfo& weight) const override {
    return catalogue_.find(weight.name).dtype;
  }

  void read_raw(const WeightInfo& weight, int64_t begin, int64_t end, void* out) const override {
    const TensorLocation& location = catalogue_.find(weight.name);
    const uint64_t row_bytes = weight.cols * dtype_bytes(location.dtype);
    location.file->read_unaligned(out, (end - begin) * row_bytes,
                                  location.offset + begin * row_bytes);
  }

  const TensorLocation* location(const WeightInfo& weight) const override {
    return &catalogue_.find(weight.name);
  }

  std::string fingerprint() const override { return catalogue_.fingerprint(); }

 private:
  const Catalogue& catalogue_;
};

// Rows of matrices are windows on one round of values, so that large models are made at the speed
// of memory.
class RandomSource final : public RowSource {
 public:
  RandomSource(DType dtype, uint64_t seed) : dtype_(dtype), seed_(seed) {}

  DType dtype(const WeightInfo&) const override { return dtype_; }

  void read_raw(const WeightInfo& weight, int64_t begin, int64_t end, void* out) const override {
    std::call_once(made_, [&] { make_round(); });  // a plan reads no value
    auto* to = static_cast<std::byte*>(out);
    for (int64_t row = begin; row < end; ++row, to += weight.cols * dtype_bytes(dtype_)) {
      const uint64_t key = mix64(seed_ ^ mix64(uint64_t(weight.id) << 32 ^ uint64_t(row)));
      if (weight.kind != WeightKind::vector) {
        copy_round(static_cast<int64_t>(key % kRound), weight.cols, to);
        continue;
      }
      for (int64_t i = 0; i < weight.cols; ++i) {
        store(to, i, (weight.bias ? 0.0f : 1.0f) + 0.02f * unit(key + uint64_t(i)));
      }
    }
  }

  const TensorLocation* location(const WeightInfo&) const override { return nullptr; }

  std::string fingerprint() const override { return "random-rounds-" + std::to_string(seed_); }

 private:
  static constexpr int64_t kRound = 262147;  // a prime: windows repeat late
  static constexpr float kSpread = 0.0346f;  // uniform: standard deviation 0.02

  static float unit(uint64_t key) { return float(mix64(key) >> 40) * (2.0f / 16777216.0f) - 1.0f; }
  void store(std::byte* to, int64_t i, float value) const {
    store_from_float(to, dtype_, i, value);
  }
  void make_round() const {
    round_.resize(kRound * dtype_bytes(dtype_));
    for (int64_t i = 0; i < kRound; ++i) store(round_.data(), i, kSpread * unit(mix64(seed_) + i));
  }
  void copy_round(int64_t first, int64_t count, std::byte* to) const {
    const size_t element = dtype_bytes(dtype_);
    while (count > 0) {
      const int64_t some = std::min(count, kRound - first);
      std::memcpy(to, round_.data() + first * element, some * element);
      to += some * element;
      count -= some;
      first = 0;
    }
  }

  DType dtype_;
  uint64_t seed_;
  mutable std::once_flag made_;
  mutable std::vector<std::byte> round_;
};

}  // namespace

void RowSource::read_floats(const WeightInfo& weight, int64_t begin, int64_t end,
                            float* out) const {
  constexpr int64_t kChunkBytes = int64_t{1} << 18;
  const DType type = dtype(weight);
  const int64_t row_bytes = weight.cols * dtype_bytes(type);
  const int64_t step = std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(1, row_bytes));
  std::vector<std::byte> raw(std::min(step, end - begin) * row_bytes);
  for (int64_t row = begin; row < end; row += step) {
    const int64_t stop = std::min(end, row + step);
    read_raw(weight, row, stop, raw.data());
    const int64_t count = (stop - row) * weight.cols;
    for (int64_t i = 0; i < count; ++i) {
      out[(row - begin) * weight.cols + i] = load_as_float(raw.data(), type, i);
    }
  }
}

std::unique_ptr<RowSource> make_file_source(const Catalogue& catalogue) {
  return std::make_unique<FileSource>(catalogue);
}

std::unique_ptr<RowSource> make_random_source(DType dtype, uint64_t seed) {
  return std::make_unique<RandomSource>(dtype, seed);
}

}  // namespace penstock

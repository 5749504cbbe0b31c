// Cache lines that will be needed next, asked for evenly over the work on what is there now, so
// that memory and arithmetic overlap. Work is counted in vector instructions, roughly. Lines come
// from `together` runs in turns: some processors read several places faster than one.
class Ahead {
 public:
  static constexpr int kMostRuns = 64;

  // Every run is `bytes` long.
  explicit Ahead(int64_t bytes, int together = 1) : bytes_(bytes), group_(together) {}
  // At most kMostRuns.
  void add(const std::byte* run) { runs_[count_++] = run; }
  // Before any of `work`.
  void spread(int64_t work) {
    if (group_ > count_) group_ = count_;
    a_unit_ = blocks_of(blocks_of(bytes_, 64) * count_ * kLine, at_least(work, 1));
  }
  // Before the next `work`.
  void touch(int64_t work) {
    if (run_ == count_) return;
    const std::byte* const* runs = runs_ + run_;
    int64_t at = at_, due = due_ + work * a_unit_;
    for (; due >= group_ * kLine; due -= group_ * kLine) {
      for (int i = 0; i < group_; ++i) __builtin_prefetch(runs[i] + at, 0, 2);
      if ((at += 64) < bytes_) continue;
      at = 0;
      if ((run_ += group_) == count_) break;
      group_ = count_ - run_ < group_ ? count_ - run_ : group_;
      runs = runs_ + run_;
    }
    at_ = at;
    due_ = due;
  }

 private:
  static constexpr int64_t kLine = 1 << 16;  // parts of a line

  const std::byte* runs_[kMostRuns];
  int64_t bytes_, a_unit_ = 0, due_ = 0, at_ = 0;
  int group_, count_ = 0, run_ = 0;
};

constexpr int64_t kTransposeWork = 100;  // of kLanes vectors
constexpr int64_t kExpWork = 25;         // of a vector
constexpr int64_t kCodesWork = 30;       // of a vector that becomes codes
constexpr int64_t kTurnElements = 16;    // of head_dim that attention takes in one go
// Steps of a product of `rows` rows in one go: few rows are soon done, and many lines asked for at
// once wait for each other.
inline constexpr int64_t turn_steps(int64_t rows) { return rows > 4 ? 16 : 4; }

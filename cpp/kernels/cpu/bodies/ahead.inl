// Cache lines that will be needed next, asked for evenly over a number of turns of what is computed
// now, so that memory and arithmetic overlap.
class Ahead {
 public:
  static constexpr int kMostRuns = 64;

  // Every run is `bytes` long.
  explicit Ahead(int64_t bytes) : bytes_(bytes) {}
  // At most kMostRuns.
  void add(const std::byte* run) { runs_[count_++] = run; }
  // Before the first of `turns` turns.
  void spread(int64_t turns) {
    a_turn_ = blocks_of(blocks_of(bytes_, 64) * count_, at_least(turns, 1));
  }
  void touch() {
    if (run_ == count_) return;
    const std::byte* run = runs_[run_];
    int64_t at = at_;
    for (int64_t i = 0; i < a_turn_; ++i) {
      __builtin_prefetch(run + at, 0, 2);
      if ((at += 64) < bytes_) continue;
      at = 0;
      if (++run_ == count_) break;
      run = runs_[run_];
    }
    at_ = at;
  }

 private:
  const std::byte* runs_[kMostRuns];
  int64_t bytes_, a_turn_ = 0, at_ = 0;
  int count_ = 0, run_ = 0;
};

constexpr int64_t kTurnElements = 16;  // of head_dim between two turns of attention
// Steps of a product of `rows` rows between two turns: few rows are soon done, and many lines asked
// for at once wait for each other.
inline constexpr int64_t turn_steps(int64_t rows) { return rows > 4 ? 16 : 4; }

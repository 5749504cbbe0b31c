#include "support/simt_emulator.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "base/error.h"
#include "kernels/cuda/launch.h"
#include "support/coroutine.h"
#include "support/random.h"

namespace penstock::test {
namespace {

constexpr int kWords = 6;  // that a lane brings to an exchange

// What the lanes of a warp have brought to an exchange.
struct Exchange {
  int kind = 0;
  bool reduced = false;  // words 1 hold what a reduction of words 0 gives each lane
  uint32_t words[cuda::kWarp][kWords];
};

// Two exchanges in turns: a lane can be one ahead of another, never two.
struct Warp {
  Exchange exchanges[2];
  uint64_t met = 0;  // exchanges that all lanes have come to
  int arrived = 0;   // lanes at the next one
};

// A thread's copies that it has not waited for, in groups; the last one is still open.
struct Copies {
  struct Copy {
    std::byte* to;
    const std::byte* from;
    size_t bytes;
  };
  std::vector<std::vector<Copy>> groups{1};

  bool none() const {
    return std::all_of(groups.begin(), groups.end(), [](const auto& g) { return g.empty(); });
  }
  // Makes the copies of all committed groups but the last `left`.
  void arrive(size_t left) {
    while (groups.size() - 1 > left) {
      for (const Copy& copy : groups.front()) std::memcpy(copy.to, copy.from, copy.bytes);
      groups.erase(groups.begin());
    }
  }
};

constexpr int kWorkers = 2;  // that run blocks of a launch side by side
// Coroutines are used again: their stacks are large.
std::vector<std::unique_ptr<Coroutine>>& coroutines(int worker, size_t count) {
  static std::vector<std::unique_ptr<Coroutine>> all[kWorkers];
  while (all[worker].size() < count) all[worker].push_back(std::make_unique<Coroutine>());
  return all[worker];
}

}  // namespace

class Emulator {
 public:
  Emulator(const cuda::LaunchShape& shape, uint64_t seed, const EmulatedBody& body, int worker)
      : shape_(shape),
        body_(body),
        random_(seed),
        count_(static_cast<size_t>(shape.threads)),
        threads_(coroutines(worker, count_)),
        ready_(count_),
        warps_(count_ / cuda::kWarp),
        copies_(count_),
        shared_(static_cast<std::byte*>(::operator new(shape.shared_bytes, std::align_val_t{64}))) {
    check(shape.threads > 0 && shape.threads % cuda::kWarp == 0, "whole warps only");
  }
  ~Emulator() { ::operator delete(shared_, std::align_val_t{64}); }

  void run_block(int64_t block) {
    block_ = block;
    std::memset(shared_, 0xff, shape_.shared_bytes);
    at_barrier_ = 0;
    running_ = count_;
    for (Warp& warp : warps_) warp.met = 0, warp.arrived = 0;
    for (size_t i = 0; i < count_; ++i) {
      ready_[i] = true;
      copies_[i] = {};
      threads_[i]->start([this, i] { body_(EmulatedThread(*this, static_cast<int>(i))); });
    }
    while (running_ > 0) turn();
  }

  int threads() const { return shape_.threads; }
  int64_t block() const { return block_; }
  std::byte* shared() const { return shared_; }

  void sync(int thread) {
    check(running_ == count_, "a thread left while others wait");
    if (++at_barrier_ < count_) return pause(thread);
    at_barrier_ = 0;
    ready_.assign(count_, true);
  }

  // Returns what all lanes have brought to an exchange of this kind.
  Exchange& meet(int thread, int kind, std::initializer_list<uint32_t> words) {
    Warp& warp = warps_[static_cast<size_t>(thread / cuda::kWarp)];
    Exchange& exchange = warp.exchanges[warp.met % 2];
    if (warp.arrived == 0) exchange.kind = kind, exchange.reduced = false;
    check(exchange.kind == kind, "lanes of a warp meet in different exchanges");
    std::copy(words.begin(), words.end(), exchange.words[thread % cuda::kWarp]);
    if (++warp.arrived < cuda::kWarp) {
      pause(thread);
      return exchange;
    }
    warp.arrived = 0;
    ++warp.met;
    for (int lane = 0; lane < cuda::kWarp; ++lane) {
      ready_[static_cast<size_t>(thread / cuda::kWarp * cuda::kWarp + lane)] = true;
    }
    return exchange;
  }

  void copy_async(int thread, const Copies::Copy& copy) {
    const auto aligned = [&](const std::byte* p) {
      return reinterpret_cast<uintptr_t>(p) % copy.bytes == 0;
    };
    check(aligned(copy.to) && aligned(copy.from), "an asynchronous copy is not aligned");
    check(copy.to >= shared_ && copy.to + copy.bytes <= shared_ + shape_.shared_bytes,
          "an asynchronous copy goes outside shared memory");
    std::memset(copy.to, 0xff, copy.bytes);
    copies(thread).groups.back().push_back(copy);
  }
  Copies& copies(int thread) { return copies_[static_cast<size_t>(thread)]; }

 private:
  void pause(int thread) {
    ready_[static_cast<size_t>(thread)] = false;
    threads_[static_cast<size_t>(thread)]->pause();
  }

  // Every thread that may go does, from a random one on, up or down.
  void turn() {
    const auto first = static_cast<size_t>(random_.below(static_cast<int64_t>(count_)));
    const bool down = random_.below(2) == 0;
    bool went = false;
    for (size_t i = 0; i < count_; ++i) {
      const size_t index = (first + (down ? count_ - i : i)) % count_;
      if (!ready_[index]) continue;
      went = true;
      threads_[index]->resume();
      if (!threads_[index]->done()) continue;
      ready_[index] = false;
      --running_;
      check(at_barrier_ == 0, "a thread left while others wait");
      check(copies_[index].none(), "a thread left with copies under way");
    }
    check(went, "threads wait for each other for ever");
  }

  const cuda::LaunchShape& shape_;
  const EmulatedBody& body_;
  Random random_;
  size_t count_;
  std::vector<std::unique_ptr<Coroutine>>& threads_;
  std::vector<char> ready_;
  std::vector<Warp> warps_;
  std::vector<Copies> copies_;
  std::byte* shared_;
  int64_t block_ = 0;
  size_t at_barrier_ = 0, running_ = 0;
};

int EmulatedThread::threads() const { return emulator_.threads(); }
int64_t EmulatedThread::block() const { return emulator_.block(); }
std::byte* EmulatedThread::shared() const { return emulator_.shared(); }
void EmulatedThread::sync() const { emulator_.sync(thread_); }

uint32_t EmulatedThread::reduce(uint32_t value, JoinWords join) const {
  Exchange& exchange = emulator_.meet(thread_, 1, {value});
  if (!exchange.reduced) {
    uint32_t values[cuda::kWarp], next[cuda::kWarp];
    for (int lane = 0; lane < cuda::kWarp; ++lane) values[lane] = exchange.words[lane][0];
    for (int step = cuda::kWarp / 2; step > 0; step /= 2) {
      for (int lane = 0; lane < cuda::kWarp; ++lane) {
        next[lane] = join(values[lane], values[lane ^ step]);
      }
      std::copy_n(next, cuda::kWarp, values);
    }
    for (int lane = 0; lane < cuda::kWarp; ++lane) exchange.words[lane][1] = values[lane];
    exchange.reduced = true;
  }
  return exchange.words[thread_ % cuda::kWarp][1];
}

namespace {

// Which lane brings a word of A or B, and as which of its words.
struct Holders {
  struct Holder {
    int lane = -1, word = 0;
  };
  Holder a[16][8], b[8][8];  // [row][word], [word][column]

  Holders() {
    for (int lane = 0; lane < cuda::kWarp; ++lane) {
      for (int i = 0; i < 4; ++i) {
        const cuda::PlaceA place = cuda::place_a(lane, i);
        a[place.row][place.word] = {lane, i};
      }
      for (int i = 0; i < 2; ++i) {
        const cuda::PlaceB place = cuda::place_b(lane, i);
        b[place.word][place.column] = {lane, 4 + i};
      }
    }
  }
};

// Adds the products of the words of one sum, ascending.
template <class T, class Add>
void multiply(const Exchange& exchange, int lane, cuda::Fragment<T>& sums, Add add) {
  static const Holders holders;
  for (int i = 0; i < 4; ++i) {
    const cuda::PlaceSum place = cuda::place_sum(lane, i);
    for (int word = 0; word < 8; ++word) {
      const auto& a = holders.a[place.row][word];
      const auto& b = holders.b[word][place.column];
      sums.sums[i] =
          add(sums.sums[i], exchange.words[a.lane][a.word], exchange.words[b.lane][b.word]);
    }
  }
}

}  // namespace

void EmulatedThread::multiply_s8(cuda::Fragment<int32_t>& sums, const cuda::FragmentA& a,
                                 const cuda::FragmentB& b) const {
  const Exchange& exchange = emulator_.meet(
      thread_, 2, {a.words[0], a.words[1], a.words[2], a.words[3], b.words[0], b.words[1]});
  multiply(exchange, thread_ % cuda::kWarp, sums, [](int32_t sum, uint32_t x, uint32_t y) {
    for (int byte = 0; byte < 4; ++byte) {
      sum += static_cast<int8_t>(x >> (8 * byte)) * static_cast<int8_t>(y >> (8 * byte));
    }
    return sum;
  });
}

void EmulatedThread::multiply_bf16(cuda::Fragment<float>& sums, const cuda::FragmentA& a,
                                   const cuda::FragmentB& b) const {
  const Exchange& exchange = emulator_.meet(
      thread_, 3, {a.words[0], a.words[1], a.words[2], a.words[3], b.words[0], b.words[1]});
  multiply(exchange, thread_ % cuda::kWarp, sums, [](float sum, uint32_t x, uint32_t y) {
    sum = std::fma(cuda::low_bf16(x), cuda::low_bf16(y), sum);
    return std::fma(cuda::high_bf16(x), cuda::high_bf16(y), sum);
  });
}

void EmulatedThread::multiply_f16(cuda::Fragment<float>& sums, const cuda::FragmentA& a,
                                  const cuda::FragmentB& b) const {
  const Exchange& exchange = emulator_.meet(
      thread_, 4, {a.words[0], a.words[1], a.words[2], a.words[3], b.words[0], b.words[1]});
  const auto half = [](uint32_t word, int shift) {
    return float_from_f16(static_cast<uint16_t>(word >> shift));
  };
  multiply(exchange, thread_ % cuda::kWarp, sums, [&](float sum, uint32_t x, uint32_t y) {
    sum = std::fma(half(x, 0), half(y, 0), sum);
    return std::fma(half(x, 16), half(y, 16), sum);
  });
}

uint32_t EmulatedThread::add_bf16(uint32_t a, uint32_t b) const {
  const uint32_t low = bf16_from_float(cuda::low_bf16(a) + cuda::low_bf16(b));
  return low | static_cast<uint32_t>(bf16_from_float(cuda::high_bf16(a) + cuda::high_bf16(b)))
                   << 16;
}

void EmulatedThread::copy_async(std::byte* to, const std::byte* from) const {
  emulator_.copy_async(thread_, {to, from, 16});
}
void EmulatedThread::copy_async_word(std::byte* to, const std::byte* from) const {
  emulator_.copy_async(thread_, {to, from, 4});
}
void EmulatedThread::commit_copies() const { emulator_.copies(thread_).groups.emplace_back(); }
void EmulatedThread::wait_copies_but(size_t groups) const {
  emulator_.copies(thread_).arrive(groups);
}

void emulate(const cuda::LaunchShape& shape, uint64_t seed, const EmulatedBody& body) {
  static std::mutex one_launch;  // coroutines are shared
  const std::lock_guard lock(one_launch);
  std::atomic<int64_t> next = 0;
  const auto some = [&](int worker) {
    Emulator emulator(shape, seed, body, worker);
    for (int64_t block = next++; block < shape.blocks; block = next++) emulator.run_block(block);
  };
  if (shape.blocks < 8) return some(0);
  std::thread other(some, 1);
  some(0);
  other.join();
}

namespace {

// Little room of every kind, so that ops are cut.
struct EmulatedLauncher {
  static constexpr size_t kTableBytes = size_t{4} << 10, kWorkspaceBytes = size_t{192} << 10;
  bool tiles = true;
  std::vector<std::unique_ptr<std::byte[]>> tables{};
  std::unique_ptr<std::byte[]> room{new std::byte[kWorkspaceBytes]};
  cublaslt::DenseProducts* products = nullptr;
  size_t used_workspace = kWorkspaceBytes;

  EmulatedLauncher() { std::memset(room.get(), 0xff, kWorkspaceBytes); }

  template <class Kernel, class Args>
  void launch(const cuda::LaunchShape& shape, const Args& args) {
    const Args copy = args;
    const auto seed = static_cast<uint64_t>(shape.blocks * shape.threads);
    emulate(shape, seed, [&](const EmulatedThread& on) { Kernel{}(on, copy); });
  }
  // A copy, as on a GPU.
  template <class T>
  const T* upload(const T* table, int64_t count) {
    if (table == nullptr) return nullptr;
    const auto bytes = static_cast<size_t>(count) * sizeof(T);
    tables.push_back(std::make_unique<std::byte[]>(bytes));
    std::memcpy(tables.back().get(), static_cast<const void*>(table), bytes);
    return static_cast<const T*>(static_cast<const void*>(tables.back().get()));
  }
  size_t table_bytes() const { return kTableBytes; }
  void reuse_tables() { tables.clear(); }
  std::byte* workspace() const { return room.get(); }
  size_t workspace_bytes() const { return used_workspace; }
  bool bf16_tiles() const { return tiles; }
  cuda::SharedRoom shared_room() const { return cuda::shared_room(tiles ? 80 : 75); }
  int multiprocessors() const { return 8; }
  cublaslt::DenseProducts* dense() const { return products; }
  void* stream() const { return nullptr; }
};

template <bool kTiles>
struct Emulated {
  template <class Params>
  static void run(const Params& params, const KernelContext&) {
    EmulatedLauncher launcher;
    launcher.tiles = kTiles;
    cuda::run(launcher, params);
  }
  static KernelTable table() {
    return {
        .isa = kTiles ? "cuda" : "cuda75",
        .weight_only = true,
        .raw_inputs = {InputKind::f16, kTiles ? InputKind::bf16 : InputKind::f16},
        .embed = run<EmbedParams>,
        .norm = run<NormParams>,
        .prepare = run<PrepareParams>,
        .gemm = run<GemmParams>,
        .gated = run<GatedParams>,
        .rotary = run<RotaryParams>,
        .kv_append = run<KvAppendParams>,
        .attention = run<AttentionParams>,
        .gather_rows = run<GatherRowsParams>,
        .score = run<ScoreParams>,
        .sample = run<SampleParams>,
    };
  }
};

}  // namespace

const KernelTable& emulated_cuda_table() {
  static const KernelTable table = Emulated<true>::table();
  return table;
}
const KernelTable& emulated_turing_table() {
  static const KernelTable table = Emulated<false>::table();
  return table;
}

void emulate_dense(const GemmParams& params, cublaslt::DenseProducts* dense) {
  EmulatedLauncher launcher;
  launcher.products = dense;
  cuda::run(launcher, params);
}

bool emulate_dequantised(const GemmParams& params, cublaslt::DenseProducts* dense,
                         size_t workspace_bytes) {
  EmulatedLauncher launcher;
  launcher.products = dense;
  launcher.used_workspace = workspace_bytes;
  return cuda::run_dequantised(launcher, params, weight_view(params.format, params.k));
}

void emulate_dequantise(const cuda::DequantiseArgs& args) {
  EmulatedLauncher launcher;
  cuda::launch_dequantise(launcher, args);
}

void emulate_weight_only(const GemmParams& params, const WeightView& view) {
  EmulatedLauncher launcher;
  cuda::run_weight_only(launcher, params, view);
}

void emulate_codes(const GemmParams& params, const WeightView& view, cuda::CodesPlan plan) {
  EmulatedLauncher launcher;
  cuda::run_codes(launcher, params, view, plan);
}

}  // namespace penstock::test

// Sequential O_DIRECT reads, DEPTH blocks in flight, as one JSON object:
//   disk_probe ROUNDS SECONDS BLOCK_BYTES DEPTH FILE...
// Blocks are read in order through all files, round after round from where the last one stopped.
// Prints bytes per second: the median of the rounds, the lowest and the highest.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kAlignment = 4096;

struct Block {
  int file;
  int64_t offset;
};

struct Probe {
  int rounds = 0, depth = 0;
  double seconds = 0;
  int64_t block_bytes = 0;
  std::vector<Block> blocks;
};

[[noreturn]] void fail(const char* what, const char* file) {
  std::fprintf(stderr, "%s: ", what);
  std::perror(file);
  std::exit(1);
}

void add_file(const char* path, Probe& probe) {
  const int file = ::open(path, O_RDONLY | O_DIRECT);
  struct stat info;
  if (file < 0 || ::fstat(file, &info) != 0) fail("open", path);
  for (int64_t at = 0; at + probe.block_bytes <= info.st_size; at += probe.block_bytes) {
    probe.blocks.push_back({file, at});
  }
}

double rate(const Probe& probe, std::atomic<size_t>& next) {
  std::atomic<int64_t> bytes = 0;
  const Clock::time_point begin = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  const auto read_blocks = [&] {
    const auto size = static_cast<size_t>(probe.block_bytes);
    void* buffer = std::aligned_alloc(kAlignment, size);
    while (elapsed() < probe.seconds) {
      const Block& block = probe.blocks[next++ % probe.blocks.size()];
      if (::pread(block.file, buffer, size, block.offset) != probe.block_bytes) fail("read", "");
      bytes += probe.block_bytes;
    }
    std::free(buffer);
  };
  std::vector<std::thread> readers;
  for (int i = 0; i < probe.depth; ++i) readers.emplace_back(read_blocks);
  for (std::thread& reader : readers) reader.join();
  return static_cast<double>(bytes) / elapsed();
}

}  // namespace

int main(int count, char** arguments) {
  Probe probe;
  if (count >= 6) {
    probe.rounds = std::atoi(arguments[1]);
    probe.seconds = std::atof(arguments[2]);
    probe.block_bytes = std::atoll(arguments[3]);
    probe.depth = std::atoi(arguments[4]);
  }
  const bool is_aligned = probe.block_bytes > 0 && probe.block_bytes % kAlignment == 0;
  if (probe.rounds < 1 || probe.depth < 1 || !is_aligned) {
    std::fprintf(stderr, "usage: %s ROUNDS SECONDS BLOCK_BYTES DEPTH FILE...\n", arguments[0]);
    return 2;
  }
  for (int i = 5; i < count; ++i) add_file(arguments[i], probe);
  if (probe.blocks.empty()) {
    std::fprintf(stderr, "the files are smaller than a block\n");
    return 1;
  }
  std::atomic<size_t> next = 0;
  std::vector<double> rates(static_cast<size_t>(probe.rounds));
  for (double& one : rates) one = rate(probe, next);
  std::sort(rates.begin(), rates.end());
  std::printf("{\"bytes_per_second\": %.5g, \"lowest\": %.5g, \"highest\": %.5g}\n",
              rates[rates.size() / 2], rates.front(), rates.back());
  return 0;
}

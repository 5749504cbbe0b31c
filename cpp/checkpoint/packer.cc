#include "checkpoint/packer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/checked.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "io/aligned_block.h"
#include "io/async_io.h"
#include "tensor/quantize.h"

namespace penstock {
namespace {

constexpr int64_t kChunkBytes = int64_t{4} << 20;  // of fp32 rows read at once
constexpr int kWriters = 4;

int64_t chunk_rows(const PackedTensor& tensor) {
  const int64_t rows = round_down(kChunkBytes / (tensor.k * 4), kTileRows);
  return std::clamp<int64_t>(rows, kTileRows, round_up(tensor.blocks.front().row_end, kTileRows));
}

bool is_temp_name(const std::string& name) {
  if (!name.ends_with(".tmp")) return false;
  const std::string stem = name.substr(0, name.size() - 4);
  const size_t dot = stem.rfind('.');
  return dot != std::string::npos && dot > 0 && dot + 1 < stem.size() &&
         stem.find_first_not_of("0123456789-", dot + 1) == std::string::npos;
}

bool is_at(const File& file, const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 && info.st_ino == file.identity().inode &&
         info.st_dev == file.identity().device;
}

// A file under a temporary name that is removed unless it was renamed. Its lock says that the
// writer lives.
class TempFile {
 public:
  TempFile(const std::string& stem, const FaultSeam* seam) {
    for (int attempt = 0; attempt < 100; ++attempt) {
      path_ = stem + "." + std::to_string(::getpid()) + "-" + std::to_string(attempt) + ".tmp";
      struct stat info;
      if (::lstat(path_.c_str(), &info) == 0) continue;
      file_ = File::create(path_, true, seam);
      owned_ = true;
      if (file_.try_lock() && is_at(file_, path_)) return;
      owned_ = false;  // another process took it for a dead one's
    }
    throw Error(ErrorCode::io, "cannot create a temporary file",
                {.file = path_, .field = "", .found = "100 files of this name", .allowed = ""});
  }
  ~TempFile() {
    if (owned_) ::unlink(path_.c_str());
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  const File& file() const { return file_; }
  void rename_to(const std::string& path, const FaultSeam* seam) {
    rename_durably(path_, path, seam);
    owned_ = false;
  }

 private:
  std::string path_;
  File file_;
  bool owned_ = false;
};

class Packer {
 public:
  Packer(const File& file, const PackOptions& options, PackedPlan& plan, Budget& host)
      : file_(file),
        options_(options),
        plan_(plan),
        chunk_bytes_(largest_chunk(plan)),
        block_bytes_(largest_block(plan)),
        charged_(host.reserve(chunk_bytes_ + 2 * block_bytes_ + plan.data_begin, "packing")),
        chunk_(chunk_bytes_),
        blocks_{AlignedBlock(block_bytes_), AlignedBlock(block_bytes_)},
        pool_(options.threads),
        io_(kWriters) {}

  void pack(const std::vector<PackSource>& sources) {
    report(0);
    for (size_t i = 0; i < sources.size(); ++i) {
      for (PackedBlock& block : plan_.tensors[i].blocks)
        pack_block(sources[i], plan_.tensors[i], block);
    }
    for (const AsyncIo::Handle& handle : writes_) {
      if (handle != nullptr) io_.wait(handle);
    }
    const AlignedBlock head(plan_.data_begin);
    write_packed_head(plan_, head.span());
    file_.write(head.data(), head.size(), 0);
  }

 private:
  static uint64_t largest_chunk(const PackedPlan& plan) {
    int64_t bytes = 0;
    for (const PackedTensor& tensor : plan.tensors) {
      bytes = std::max(bytes, checked_mul(chunk_rows(tensor) * 4, tensor.k, "chunk to pack"));
    }
    return static_cast<uint64_t>(bytes);
  }

  static uint64_t largest_block(const PackedPlan& plan) {
    uint64_t bytes = 0;
    for (const PackedTensor& tensor : plan.tensors)
      bytes = std::max(bytes, tensor.blocks.front().bytes);
    return static_cast<uint64_t>(round_up(static_cast<int64_t>(bytes), kIoAlignment));
  }

  void pack_block(const PackSource& source, const PackedTensor& tensor, PackedBlock& block) {
    AlignedBlock& buffer = blocks_[turn_];
    if (writes_[turn_] != nullptr) io_.wait(std::exchange(writes_[turn_], nullptr));
    const int64_t step = chunk_rows(tensor);
    for (int64_t begin = block.row_begin; begin < block.row_end; begin += step) {
      pack_chunk(source, block, begin, std::min(block.row_end, begin + step));
    }
    block.crc = crc32c(0, buffer.data(), block.bytes);
    const auto padded =
        static_cast<uint64_t>(round_up(static_cast<int64_t>(block.bytes), kIoAlignment));
    std::memset(buffer.data() + block.bytes, 0, padded - block.bytes);
    const Transfer transfer{.file = &file_,
                            .data = buffer.data(),
                            .bytes = padded,
                            .offset = block.offset,
                            .needed = 0,
                            .write = true};
    writes_[turn_] = io_.start({&transfer, 1});
    turn_ = 1 - turn_;
    report(padded);
  }

  void report(uint64_t bytes) {
    done_bytes_ += bytes;
    if (options_.progress) options_.progress(done_bytes_, plan_.file_bytes - plan_.data_begin);
  }

  void pack_chunk(const PackSource& source, const PackedBlock& block, int64_t begin, int64_t end) {
    const QuantFormat& row = format(source.format);
    const int64_t k = source.k, tile_bytes = packed_layout(row, k).tile_bytes;
    const auto* rows = reinterpret_cast<const float*>(chunk_.data());
    source.read_rows(begin, end, reinterpret_cast<float*>(chunk_.data()));
    std::byte* tiles = blocks_[turn_].data() + (begin - block.row_begin) / kTileRows * tile_bytes;
    pool_.parallel().for_each(ceil_div(end - begin, kTileRows), [&](int64_t tile, int) {
      const int64_t first = tile * kTileRows;
      const int64_t count = std::min<int64_t>(kTileRows, end - begin - first);
      pack_tile(row, {rows + first * k, count, k}, k, tiles + tile * tile_bytes);
    });
  }

  const File& file_;
  const PackOptions& options_;
  PackedPlan& plan_;
  const uint64_t chunk_bytes_, block_bytes_;
  Reservation charged_;
  AlignedBlock chunk_;
  AlignedBlock blocks_[2];
  AsyncIo::Handle writes_[2];
  int turn_ = 0;
  uint64_t done_bytes_ = 0;
  ThreadPool pool_;
  AsyncIo io_;  // last: its destructor ends the writes before their blocks go
};

}  // namespace

void pack_to(const std::string& path, const PackOptions& options,
             const std::vector<PackSource>& sources, Budget& host, PackedPlan& plan) {
  TempFile temp(options.folder + "/" + options.key, options.seam);
  temp.file().allocate(plan.file_bytes);
  Packer(temp.file(), options, plan, host).pack(sources);
  temp.file().sync();
  temp.rename_to(path, options.seam);
}

void remove_stale_temps(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string path = entry.path().string();
    struct stat info;
    if (!is_temp_name(entry.path().filename().string()) || ::lstat(path.c_str(), &info) != 0)
      continue;
    if (!S_ISREG(info.st_mode) || info.st_uid != ::geteuid()) continue;
    try {
      const File file = File::open_read(path, false);
      if (file.try_lock() && is_at(file, path)) ::unlink(path.c_str());
    } catch (const Error&) {
      continue;  // gone or not ours to lock
    }
  }
}

}  // namespace penstock

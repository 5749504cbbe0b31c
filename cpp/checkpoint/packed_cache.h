// Quantised weights on disk, in the layout the kernels read. One file per (source fingerprint,
// format); written layer by layer in bounded memory to a temp name, fsynced and renamed, so that it
// is there whole or not at all. Every transfer block has a CRC32C. Any doubt (magic, version, key,
// table, size, owner, checksum) means: say why and pack again.
//
// A packed tensor is cut in blocks of packed_block_rows() rows, as the planner cuts its panels;
// each block begins at a multiple of 4096 bytes in the file and is padded to one. A block is the
// unit of transfer and of checking.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.h"
#include "memory/budget.h"
#include "tensor/format.h"

namespace penstock {

struct PackedBlock {
  uint64_t offset = 0;  // in the file, multiple of 4096
  uint64_t bytes = 0;   // stored bytes without padding
  uint32_t crc = 0;     // over those bytes
  int64_t row_begin = 0, row_end = 0;
};

struct PackedTensor {
  std::string name;
  FormatId format = 0;
  int64_t rows = 0, k = 0;
  std::vector<PackedBlock> blocks;
};

// One tensor to pack: read_rows fills out[(end-begin) * k] with fp32 values of rows [begin, end).
struct PackSource {
  std::string name;
  FormatId format = 0;
  int64_t rows = 0, k = 0;
  std::function<void(int64_t begin, int64_t end, float* out)> read_rows;
};

struct PackOptions {
  std::string folder;  // cache folder, created with mode 0700
  std::string key;     // file name stem: fingerprint and formats, [A-Za-z0-9._-]
  int threads = 1;
  // From 0 bytes on, after every block; what it throws ends the packing and leaves no file behind.
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress;
  const FaultSeam* seam = nullptr;
};

class PackedCache {
 public:
  // Opens the file of `key` if it is whole and fits `sources`, else packs it (memory charged to
  // `host`).
  static PackedCache open_or_pack(const PackOptions& options,
                                  const std::vector<PackSource>& sources, Budget& host);
  PackedCache(PackedCache&&) noexcept;
  PackedCache& operator=(PackedCache&&) noexcept;
  ~PackedCache();

  const File& file() const;
  const PackedTensor& find(std::string_view name) const;  // throws Error(internal)
  const std::vector<std::string>& notes() const;          // why an older file was thrown away
  bool packed_now() const;

 private:
  PackedCache();
  struct State;
  std::unique_ptr<State> state_;
};

// Throws Error(corrupt) naming file, tensor, block, stored and computed checksum, and removes the
// file's name, so that the next start packs again.
void verify_block(const PackedCache& cache, const PackedTensor& tensor, const PackedBlock& block,
                  const void* data);

}  // namespace penstock

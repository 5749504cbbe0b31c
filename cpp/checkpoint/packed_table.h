// What a packed-weight file looks like: a 64-byte prefix (magic, version, byte order, sizes,
// checksums), the header (JSON: engine version, key, one row per tensor with the checksums of its
// blocks), then the blocks at multiples of 4096 bytes. The table follows from the sources alone; a
// file whose table differs in anything but the checksums is not ours.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/packed_cache.h"

namespace penstock {

inline constexpr size_t kPackedPrefixBytes = 64;

struct PackedPlan {
  std::string key;
  std::vector<PackedTensor> tensors;  // crc of a block is 0 until it is packed or read
  uint64_t header_bytes = 0;          // of the JSON
  uint64_t data_begin = 0;            // where the first block begins, multiple of 4096
  uint64_t file_bytes = 0;
};

// Throws Error(invalid_argument) for a bad key, Error(internal) for sources that cannot be packed.
PackedPlan plan_packed_file(const std::string& key, const std::vector<PackSource>& sources);

// Bytes [0, data_begin) of the file, into `out` of that size.
void write_packed_head(const PackedPlan& plan, std::span<std::byte> out);

// Checks prefix and header of `file` against the plan and fills in the checksums. Returns why the
// file cannot be used, or "". Read errors come as Error.
std::string read_packed_head(const File& file, PackedPlan& plan);

}  // namespace penstock

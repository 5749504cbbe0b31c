// model.safetensors.index.json: which tensor is in which shard. Read as a stream: at most 64 MiB of
// text, 10,000 shards and 1,000,000 tensors. Refuses with Error(malformed); shard names are plain
// base names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

inline constexpr std::string_view kIndexName = "model.safetensors.index.json";
inline constexpr uint64_t kMaxIndexBytes = uint64_t{64} << 20;
inline constexpr uint64_t kMaxShards = 10'000;

struct ShardIndex {
  struct Entry {
    std::string tensor;
    uint32_t shard = 0;  // index into shards
  };
  std::vector<std::string> shards;  // in the order of first mention
  std::vector<Entry> entries;
  std::string
      total_size;  // metadata.total_size as text for comparison and warnings; empty: not given
};

ShardIndex parse_shard_index(std::string_view text, const std::string& file);

}  // namespace penstock

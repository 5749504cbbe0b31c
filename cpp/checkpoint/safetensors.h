// Reader of the safetensors header (8-byte little-endian length, JSON, data). Every rule has its
// own typed error; the data is never touched here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/file.h"

namespace penstock {

struct TensorEntry {
  std::string name;
  std::string dtype;  // as written: "F32", "BF16", ...
  std::vector<int64_t> shape;
  uint64_t offset = 0;  // absolute, in the file
  uint64_t bytes = 0;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // in file order
  std::map<std::string, std::string> metadata;
  std::string digest;  // of the header's bytes, 32 hex digits
};

// Refuses with Error(malformed) and offset or JSON pointer; names a Git LFS pointer, an HTML page,
// a pickle as such. At most 100,000,000 header bytes, 1,000,000 tensors, names of 1024 bytes, rank
// 8, dimensions of 2^48. Offsets in messages of the JSON parser count from the start of the header
// text (byte 8 of the file).
SafetensorsHeader read_safetensors_header(const File& file);

}  // namespace penstock

// Reader of the safetensors header (8-byte little-endian length, JSON, data). Every rule has its own typed error; the data is
// never touched here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/file.h"

namespace penstock {

struct TensorEntry {
  std::string name;
  std::string dtype;               // as written: "F32", "BF16", ...
  std::vector<int64_t> shape;
  uint64_t offset = 0;             // absolute, in the file
  uint64_t bytes = 0;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;              // in file order
  std::map<std::string, std::string> metadata;
};

SafetensorsHeader read_safetensors_header(const File& file);

}  // namespace penstock

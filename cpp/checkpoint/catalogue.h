// All tensors of a model folder: which file, where, shape and dtype. Opens every shard once and
// keeps it open.
//
// model.safetensors.index.json comes before model.safetensors when both are there; tensors and
// files that the index does not name are ignored with a warning. Files may be links only inside the
// folder, or into the blobs of its hub cache. Pickle files are not loaded.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.h"
#include "tensor/dtype.h"

namespace penstock {

// A raw tensor on disk.
struct TensorLocation {
  const File* file = nullptr;
  uint64_t offset = 0, bytes = 0;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
};

class Catalogue {
 public:
  // Index or single file, every rule of the format; names all missing shards in one error. Tensors
  // whose dtype we do not read are listed but refused when asked for. Warnings are collected, never
  // printed.
  static Catalogue open(const std::string& folder, bool direct, const FaultSeam* seam = nullptr);

  Catalogue(Catalogue&&) noexcept;
  Catalogue& operator=(Catalogue&&) noexcept;
  ~Catalogue();

  bool contains(std::string_view name) const;
  // Throws Error(not_found) naming the folder and the tensor; Error(unsupported) for a dtype we do
  // not read.
  const TensorLocation& find(std::string_view name) const;
  std::vector<std::string> names() const;
  const std::vector<std::string>& warnings() const;
  // Changes when a shard's header, size, inode or mtime changes: the key of everything derived from
  // the folder.
  std::string fingerprint() const;
  uint64_t total_bytes() const;

 private:
  Catalogue();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock

// Products of bf16 weights by bf16 inputs, and of fp16 by fp16, by cuBLASLt. A row's bits are its
// own (kernels/params.h) if three things hold: the algorithm with all its configuration follows
// from the type, k and the input's stride alone, so that neither the input rows nor the panels have
// a say; it sums in one sequence over k (no split of K, no reduction, no workspace to reduce
// through); and the library computes a sum alike wherever it stands in a tile, which it does not
// promise and tests on a GPU check.
#pragma once

#include <compare>
#include <map>
#include <optional>

#include "kernels/cublaslt/descriptors.h"

namespace penstock::cublaslt {

struct DenseInput {
  int64_t k = 0, stride_bytes = 0;
  DType type = DType::bf16;  // of the weights too

  auto operator<=>(const DenseInput&) const = default;
};

struct DenseProduct {
  const std::byte* weights = nullptr;  // [rows][k], aligned to kAlignment like all else
  int64_t rows = 0;
  const std::byte* inputs = nullptr;  // [m], rows input.stride_bytes apart
  int64_t m = 0;
  DenseInput input;
  float* sums = nullptr;  // [m][sums_stride]; no two operands overlap
  int64_t sums_stride = 0;
};

// Of one GPU; not thread safe.
class DenseProducts {
 public:
  // On the GPU that the calling thread uses. Throws Error(device).
  explicit DenseProducts(std::shared_ptr<const Library> library);

  // Whether weights of this type and k are multiplied here, always or never. Throws Error(device).
  bool takes(DenseInput input) { return algorithm(input).has_value(); }
  // Of an input that takes() accepts, on a stream of the GPU. Throws Error(device); no other
  // algorithm stands in for one that fails.
  void multiply(const DenseProduct& product, void* stream);

 private:
  const std::optional<Algorithm>& algorithm(DenseInput input);
  std::optional<Algorithm> choose(DenseInput input) const;
  bool suits(const Algorithm& algorithm, DenseInput input) const;
  bool takes_shape(const Algorithm& algorithm, const Shape& shape) const;
  template <class Value>
  Value config(const Algorithm& algorithm, int attribute) const;

  std::shared_ptr<const Library> library_;
  Owned handle_;
  std::map<DenseInput, std::optional<Algorithm>> chosen_;
};

}  // namespace penstock::cublaslt

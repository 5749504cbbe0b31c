// Descriptors of one product as cuBLASLt takes them. Its matrices are column-major, so weights
// [rows][k] are a k x rows matrix there, which is transposed, inputs [m][stride] a k x m matrix,
// and sums [m][stride] a rows x m matrix: sums = weights^T inputs.
#pragma once

#include <memory>

#include "kernels/cublaslt/library.h"
#include "tensor/dtype.h"

namespace penstock::cublaslt {

struct Shape {
  int64_t rows = 0;  // of the weight
  int64_t m = 0;     // input rows
  int64_t k = 0;
  int64_t input_stride = 0, sums_stride = 0;  // elements
  DType type = DType::bf16;                   // of weights and inputs, 16 bits
};

using Owned = std::unique_ptr<void, Status (*)(void*)>;

// The sums are fp32, of any type. Throws Error(device).
class Descriptors {
 public:
  Descriptors(const Functions& call, const Shape& shape);

  void* product() const { return product_.get(); }
  void* weights() const { return weights_.get(); }
  void* inputs() const { return inputs_.get(); }
  void* sums() const { return sums_.get(); }

 private:
  Owned product_, weights_, inputs_, sums_;
};

// What algorithms are asked for: without workspace, every sum in one sequence over k, operands that
// are aligned to kAlignment bytes. Throws Error(device).
inline constexpr uint32_t kAlignment = 16;
Owned make_preference(const Functions& call);

}  // namespace penstock::cublaslt

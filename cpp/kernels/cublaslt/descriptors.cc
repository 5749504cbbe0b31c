#include "kernels/cublaslt/descriptors.h"

namespace penstock::cublaslt {
namespace {

struct Matrix {
  int type;
  int64_t rows, columns, stride;
};

Owned make_layout(const Functions& call, const Matrix& matrix) {
  void* made = nullptr;
  check_status(call.layout_create(&made, matrix.type, static_cast<uint64_t>(matrix.rows),
                                  static_cast<uint64_t>(matrix.columns), matrix.stride),
               "cublasLtMatrixLayoutCreate");
  return {made, call.layout_destroy};
}

Owned make_product(const Functions& call) {
  void* made = nullptr;
  check_status(call.desc_create(&made, kCompute32F, kReal32F), "cublasLtMatmulDescCreate");
  Owned product{made, call.desc_destroy};
  check_status(call.desc_set(made, kTransposeFirst, &kTransposed, sizeof(kTransposed)),
               "cublasLtMatmulDescSetAttribute");
  return product;
}

int number_of(DType type) { return type == DType::f16 ? kReal16F : kRealBf16; }

}  // namespace

Descriptors::Descriptors(const Functions& call, const Shape& shape)
    : product_(make_product(call)),
      weights_(make_layout(call, {number_of(shape.type), shape.k, shape.rows, shape.k})),
      inputs_(make_layout(call, {number_of(shape.type), shape.k, shape.m, shape.input_stride})),
      sums_(make_layout(call, {kReal32F, shape.rows, shape.m, shape.sums_stride})) {}

Owned make_preference(const Functions& call) {
  void* made = nullptr;
  check_status(call.preference_create(&made), "cublasLtMatmulPreferenceCreate");
  Owned preference{made, call.preference_destroy};
  const auto set = [&](int attribute, const auto& value) {
    check_status(call.preference_set(made, attribute, &value, sizeof(value)),
                 "cublasLtMatmulPreferenceSetAttribute");
  };
  set(kMaxWorkspaceBytes, uint64_t{0});
  set(kReductionSchemeMask, kNoReduction);
  for (const int matrix : {kMinAlignmentA, kMinAlignmentB, kMinAlignmentC, kMinAlignmentD}) {
    set(matrix, kAlignment);
  }
  return preference;
}

}  // namespace penstock::cublaslt

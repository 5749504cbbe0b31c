// Stands in for libcublasLt in tests: the functions that Penstock uses, on host memory, with
// matrices as the public interface describes them. It checks what cuBLASLt is asked for, not
// cuBLASLt. Like it, it ranks algorithms by the shape it is asked for, and they differ in how they
// sum: some split K, some want workspace or certain shapes, and those that are left have tiles of K
// of their own.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cublaslt/api.h"
#include "support/cublaslt/control.h"
#include "tensor/dtype.h"

using namespace penstock::cublaslt;

namespace {

struct Matrix {
  int type = -1;
  int64_t rows = 0, columns = 0, stride = 0;
  int64_t bytes() const { return type == kReal32F ? 4 : 2; }
  bool sound() const { return rows > 0 && columns > 0 && stride >= rows; }
};
struct Desc {
  int32_t transpose_first = 0;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t reduction = 7, alignment[4] = {256, 256, 256, 256};
};

// What is inside an Algorithm.
enum Field { kId, kSplits, kReduces, kTile, kWorkspace, kRowsOf };

penstock::test::StandinControl& control() {
  static penstock::test::StandinControl control;
  return control;
}

template <class T>
Status make(void** made, T value) {
  *made = new T(value);
  ++control().objects;
  return kSuccess;
}
template <class T>
Status drop(void* made) {
  delete static_cast<T*>(made);
  --control().objects;
  return kSuccess;
}

bool fails(const char* name) { return std::strcmp(control().fails, name) == 0; }

template <class T>
Status take(T& field, const void* value, size_t bytes) {
  if (value == nullptr || bytes != sizeof(T)) return kInvalidValue;
  std::memcpy(&field, value, bytes);
  return kSuccess;
}

struct Product {
  Matrix a, b, d;
  bool transposed = false;

  Product(const void* desc, const void* a_layout, const void* b_layout, const void* d_layout)
      : a(*static_cast<const Matrix*>(a_layout)),
        b(*static_cast<const Matrix*>(b_layout)),
        d(*static_cast<const Matrix*>(d_layout)),
        transposed(static_cast<const Desc*>(desc)->transpose_first == kTransposed) {}
  int64_t k() const { return transposed ? a.rows : a.columns; }
  int64_t m() const { return transposed ? a.columns : a.rows; }
  bool sound() const {
    return a.sound() && b.sound() && d.sound() && (a.type == kRealBf16 || a.type == kReal16F) &&
           a.type == b.type && d.type == kReal32F && k() == b.rows && m() == d.rows &&
           b.columns == d.columns;
  }
  bool supported() const {
    for (const Matrix* matrix : {&a, &b, &d}) {
      if (matrix->stride * matrix->bytes() % 16 != 0) return false;
    }
    return transposed;
  }
};

Status judge(const Product& product, const Algorithm& algorithm) {
  if (!product.sound()) return kInvalidValue;
  if (!product.supported() || control().refuses_all) return kNotSupported;
  return product.m() % static_cast<int64_t>(algorithm.data[kRowsOf]) == 0 ? kSuccess
                                                                          : kNotSupported;
}

float widened(int type, const void* at, int64_t index) {
  uint16_t half;
  std::memcpy(&half, static_cast<const char*>(at) + index * 2, 2);
  return type == kReal16F ? penstock::float_from_f16(half) : penstock::float_from_bf16(half);
}

// Tiles of K one after the other, each summed by itself; splits are added from the last to the
// first.
float sum_of(const Product& p, const Algorithm& algorithm, const float* terms) {
  const auto tile = static_cast<int64_t>(algorithm.data[kTile]);
  const auto splits = static_cast<int64_t>(algorithm.data[kSplits]);
  const int64_t part = (p.k() + splits - 1) / splits;
  float sum = 0;
  for (int64_t split = splits - 1; split >= 0; --split) {
    for (int64_t begin = split * part; begin < std::min((split + 1) * part, p.k()); begin += tile) {
      float of_tile = 0;
      const int64_t end = std::min({begin + tile, (split + 1) * part, p.k()});
      for (int64_t k = begin; k < end; ++k) of_tile += terms[k];
      sum += of_tile;
    }
  }
  return sum;
}

}  // namespace

extern "C" {

penstock::test::StandinControl* standin_control() { return &control(); }

size_t cublasLtGetVersion() { return STANDIN_VERSION; }
Status cublasLtCreate(void** handle) {
  return fails("cublasLtCreate") ? control().status : make(handle, 0);
}
Status cublasLtDestroy(void* handle) { return drop<int>(handle); }

Status cublasLtMatmulDescCreate(void** desc, int compute, int scale) {
  if (fails("cublasLtMatmulDescCreate")) return control().status;
  if (compute != kCompute32F || scale != kReal32F) return kInvalidValue;
  return make(desc, Desc{});
}
Status cublasLtMatmulDescSetAttribute(void* desc, int attribute, const void* value, size_t bytes) {
  if (fails("cublasLtMatmulDescSetAttribute")) return control().status;
  if (attribute != 3) return kInvalidValue;
  return take(static_cast<Desc*>(desc)->transpose_first, value, bytes);
}
Status cublasLtMatmulDescDestroy(void* desc) { return drop<Desc>(desc); }

Status cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns,
                                  int64_t stride) {
  if (fails("cublasLtMatrixLayoutCreate")) return control().status;
  return make(layout,
              Matrix{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), stride});
}
Status cublasLtMatrixLayoutDestroy(void* layout) { return drop<Matrix>(layout); }

Status cublasLtMatmulPreferenceCreate(void** preference) {
  if (fails("cublasLtMatmulPreferenceCreate")) return control().status;
  return make(preference, Preference{});
}
Status cublasLtMatmulPreferenceSetAttribute(void* made, int attribute, const void* value,
                                            size_t bytes) {
  if (fails("cublasLtMatmulPreferenceSetAttribute")) return control().status;
  auto& preference = *static_cast<Preference*>(made);
  if (attribute == 1) return take(preference.workspace, value, bytes);
  if (attribute == 3) return take(preference.reduction, value, bytes);
  if (attribute < 5 || attribute > 8) return kInvalidValue;
  return take(preference.alignment[attribute - 5], value, bytes);
}
Status cublasLtMatmulPreferenceDestroy(void* preference) { return drop<Preference>(preference); }

Status cublasLtMatmulAlgoGetHeuristic(void*, void* desc, void* a, void* b, void* c, void* d,
                                      void* made, int wanted, Heuristic* found, int* count) {
  if (fails("cublasLtMatmulAlgoGetHeuristic")) return control().status;
  const Product product(desc, a, b, d);
  const auto& preference = *static_cast<const Preference*>(made);
  const uint32_t least[] = {16, 16, 16, 16};
  if (std::memcmp(preference.alignment, least, sizeof(least)) < 0 || c != d) return kNotSupported;
  if (control().refuses_all) return kNotSupported;
  // The tile suits the shape and the type, as those of a GPU do: who asks anew for each shape is
  // found out.
  const int64_t shape = product.m() / 16 + product.b.columns + product.a.type;
  const auto tile = static_cast<uint64_t>(16 + 16 * (shape % 7));
  const uint64_t only = control().ties_rows ? 8 : 1;
  const Algorithm all[] = {{{1, 4, 0, tile, 0, 1}},
                           {{2, 1, 1, tile, 0, 1}},
                           {{3, 1, 0, tile, 4096, 1}},
                           {{4, 1, 0, tile, 0, 8}},
                           {{5, 1, 0, tile, 0, only}}};
  *count = 0;
  for (const Algorithm& algorithm : all) {
    if (*count == wanted) break;
    found[(*count)++] = {algorithm, 0, kSuccess, 1.0f, {}};
  }
  return kSuccess;
}

Status cublasLtMatmulAlgoConfigGetAttribute(const Algorithm* algorithm, int attribute, void* value,
                                            size_t bytes, size_t* written) {
  if (fails("cublasLtMatmulAlgoConfigGetAttribute")) return control().status;
  if (bytes != 4 || (attribute != 2 && attribute != 3)) return kInvalidValue;
  const auto setting = static_cast<uint32_t>(algorithm->data[attribute == 2 ? kSplits : kReduces]);
  std::memcpy(value, &setting, 4);
  *written = 4;
  return kSuccess;
}

Status cublasLtMatmulAlgoCheck(void*, void* desc, void* a, void* b, void* c, void* d,
                               const Algorithm* algorithm, Heuristic* result) {
  if (fails("cublasLtMatmulAlgoCheck")) return control().status;
  if (c != d) return kInvalidValue;
  result->workspace_bytes = algorithm->data[kWorkspace];
  return judge(Product(desc, a, b, d), *algorithm);
}

Status cublasLtMatmul(void*, void* desc, const void* alpha, const void* a, void* a_layout,
                      const void* b, void* b_layout, const void* beta, const void* c,
                      void* c_layout, void* d, void* d_layout, const Algorithm* algorithm,
                      void* workspace, size_t workspace_bytes, void*) {
  if (fails("cublasLtMatmul")) return control().status;
  const Product p(desc, a_layout, b_layout, d_layout);
  if (const Status status = judge(p, *algorithm); status != kSuccess) return status;
  if (workspace_bytes < algorithm->data[kWorkspace]) return kInvalidValue;
  if ((workspace == nullptr) != (workspace_bytes == 0)) return kInvalidValue;
  if (c != d || c_layout != d_layout) return kInvalidValue;  // beta 0 is all that is known here
  if (*static_cast<const float*>(alpha) != 1 || *static_cast<const float*>(beta) != 0)
    return kInvalidValue;
  for (const void* operand : {a, b, static_cast<const void*>(d)}) {
    if (reinterpret_cast<uintptr_t>(operand) % 16 != 0) return kNotSupported;
  }
  std::vector<float> terms(static_cast<size_t>(p.k()));
  for (int64_t i = 0; i < p.m(); ++i) {
    for (int64_t j = 0; j < p.d.columns; ++j) {
      for (int64_t k = 0; k < p.k(); ++k) {
        terms[static_cast<size_t>(k)] =
            widened(p.a.type, a, i * p.a.stride + k) * widened(p.b.type, b, j * p.b.stride + k);
      }
      static_cast<float*>(d)[j * p.d.stride + i] = sum_of(p, *algorithm, terms.data());
    }
  }
  ++control().products;
  control().algorithm = static_cast<int64_t>(algorithm->data[kId]);
  control().tile = static_cast<int64_t>(algorithm->data[kTile]);
  return kSuccess;
}

}  // extern "C"

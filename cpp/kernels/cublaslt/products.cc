#include "kernels/cublaslt/products.h"

#include "base/error.h"

namespace penstock::cublaslt {
namespace {

constexpr int64_t kElement = 2;
// The product that algorithms are ranked for: about a panel, by a batch between decoding rows and
// prompts. Reckoned, not measured.
constexpr int64_t kNominalRows = 1024, kNominalInputs = 512;
constexpr int kCandidates = 32;

Shape shape_of(int64_t rows, int64_t m, DenseInput input) {
  return {rows, m, input.k, input.stride_bytes / kElement, (rows + 63) / 64 * 64, input.type};
}

bool aligned(const void* at) { return reinterpret_cast<uintptr_t>(at) % kAlignment == 0; }

Owned make_handle(const Functions& call) {
  void* made = nullptr;
  check_status(call.create(&made), "cublasLtCreate");
  return {made, call.destroy};
}

// Statuses by which the library says that something is beyond an algorithm.
bool refuses(Status status) {
  return status == kNotSupported || status == kInvalidValue || status == kArchMismatch;
}

}  // namespace

DenseProducts::DenseProducts(std::shared_ptr<const Library> library)
    : library_(std::move(library)), handle_(make_handle(library_->call)) {}

const std::optional<Algorithm>& DenseProducts::algorithm(DenseInput input) {
  auto found = chosen_.find(input);
  if (found == chosen_.end()) found = chosen_.emplace(input, choose(input)).first;
  return found->second;
}

std::optional<Algorithm> DenseProducts::choose(DenseInput input) const {
  if (input.k * kElement % kAlignment != 0 || input.stride_bytes % kAlignment != 0) return {};
  const Functions& call = library_->call;
  const Descriptors of(call, shape_of(kNominalRows, kNominalInputs, input));
  const Owned preference = make_preference(call);
  Heuristic found[kCandidates];
  int count = 0;
  const Status status =
      call.get_heuristic(handle_.get(), of.product(), of.weights(), of.inputs(), of.sums(),
                         of.sums(), preference.get(), kCandidates, found, &count);
  if (refuses(status)) return {};
  check_status(status, "cublasLtMatmulAlgoGetHeuristic");
  for (int i = 0; i < count; ++i) {
    if (found[i].state == kSuccess && suits(found[i].algorithm, input)) return found[i].algorithm;
  }
  return {};
}

template <class Value>
Value DenseProducts::config(const Algorithm& algorithm, int attribute) const {
  Value value{};
  size_t written = 0;
  check_status(library_->call.config_get(&algorithm, attribute, &value, sizeof(value), &written),
               "cublasLtMatmulAlgoConfigGetAttribute");
  check(written == sizeof(value), "a configuration value has its documented size");
  return value;
}

// One sequence over k, and no shape for which another algorithm would have to stand in.
bool DenseProducts::suits(const Algorithm& algorithm, DenseInput input) const {
  const auto splits = config<int32_t>(algorithm, kSplitKNum);
  if (splits != 0 && splits != 1) return false;
  if (config<uint32_t>(algorithm, kReductionScheme) != kNoReduction) return false;
  for (const int64_t rows : {1, 7, 16, 500, 8192}) {
    for (const int64_t m : {1, 3, 16, 100, 8192}) {
      if (!takes_shape(algorithm, shape_of(rows, m, input))) return false;
    }
  }
  return true;
}

bool DenseProducts::takes_shape(const Algorithm& algorithm, const Shape& shape) const {
  const Descriptors of(library_->call, shape);
  Heuristic result;
  const Status status =
      library_->call.algo_check(handle_.get(), of.product(), of.weights(), of.inputs(), of.sums(),
                                of.sums(), &algorithm, &result);
  if (refuses(status)) return false;
  check_status(status, "cublasLtMatmulAlgoCheck");
  return result.workspace_bytes == 0;
}

void DenseProducts::multiply(const DenseProduct& p, void* stream) {
  const std::optional<Algorithm>& chosen = algorithm(p.input);
  check(chosen.has_value(), "cuBLASLt is given what it takes");
  check(aligned(p.weights) && aligned(p.inputs) && aligned(p.sums), "operands are aligned");
  const Descriptors of(library_->call, {p.rows, p.m, p.input.k, p.input.stride_bytes / kElement,
                                        p.sums_stride, p.input.type});
  const float one = 1, zero = 0;
  check_status(library_->call.matmul(handle_.get(), of.product(), &one, p.weights, of.weights(),
                                     p.inputs, of.inputs(), &zero, p.sums, of.sums(), p.sums,
                                     of.sums(), &*chosen, nullptr, 0, stream),
               "cublasLtMatmul");
}

}  // namespace penstock::cublaslt

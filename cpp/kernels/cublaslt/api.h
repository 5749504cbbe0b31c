// What is used of cuBLASLt 13, declared by the names and values of its public C interface, so that
// no build needs its headers. Matrices are column-major there, sizes are in elements.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock::cublaslt {

using Status = int;  // cublasStatus_t
inline constexpr Status kSuccess = 0, kNotInitialized = 1, kAllocFailed = 3, kInvalidValue = 7,
                        kArchMismatch = 8, kMappingError = 11, kExecutionFailed = 13,
                        kInternalError = 14, kNotSupported = 15, kLicenseError = 16;

inline constexpr int kCompute32F = 68;                            // cublasComputeType_t
inline constexpr int kReal32F = 0, kReal16F = 2, kRealBf16 = 14;  // cudaDataType_t
inline constexpr int32_t kTransposed = 1;                         // CUBLAS_OP_T

// cublasLtMatmulDescAttributes_t: int32_t
inline constexpr int kTransposeFirst = 3;  // ..._TRANSA
// cublasLtMatmulPreferenceAttributes_t: uint64_t bytes; uint32_t; uint32_t bytes each
inline constexpr int kMaxWorkspaceBytes = 1, kReductionSchemeMask = 3;
inline constexpr int kMinAlignmentA = 5, kMinAlignmentB = 6, kMinAlignmentC = 7, kMinAlignmentD = 8;
// cublasLtMatmulAlgoConfigAttributes_t: int32_t; uint32_t
inline constexpr int kSplitKNum = 2, kReductionScheme = 3;
inline constexpr uint32_t kNoReduction = 0;  // CUBLASLT_REDUCTION_SCHEME_NONE

// cublasLtMatmulAlgo_t: one algorithm with its tile, stages and all else that is configured.
struct Algorithm {
  uint64_t data[8] = {};
};
// cublasLtMatmulHeuristicResult_t
struct Heuristic {
  Algorithm algorithm;
  size_t workspace_bytes = 0;
  Status state = kSuccess;
  float waves = 0;
  int reserved[4] = {};
};
static_assert(sizeof(Algorithm) == 64 && sizeof(Heuristic) == 96);

// Handles and descriptors are pointers to what only the library knows.
struct Functions {
  size_t (*get_version)() = nullptr;
  Status (*create)(void** handle) = nullptr;
  Status (*destroy)(void* handle) = nullptr;
  Status (*desc_create)(void** desc, int compute, int scale_type) = nullptr;
  Status (*desc_set)(void* desc, int attribute, const void* value, size_t bytes) = nullptr;
  Status (*desc_destroy)(void* desc) = nullptr;
  Status (*layout_create)(void** layout, int type, uint64_t rows, uint64_t columns,
                          int64_t stride) = nullptr;
  Status (*layout_destroy)(void* layout) = nullptr;
  Status (*preference_create)(void** preference) = nullptr;
  Status (*preference_set)(void* preference, int attribute, const void* value,
                           size_t bytes) = nullptr;
  Status (*preference_destroy)(void* preference) = nullptr;
  Status (*get_heuristic)(void* handle, void* desc, void* a, void* b, void* c, void* d,
                          void* preference, int wanted, Heuristic* found, int* count) = nullptr;
  Status (*config_get)(const Algorithm* algorithm, int attribute, void* value, size_t bytes,
                       size_t* written) = nullptr;
  Status (*algo_check)(void* handle, void* desc, void* a, void* b, void* c, void* d,
                       const Algorithm* algorithm, Heuristic* result) = nullptr;
  Status (*matmul)(void* handle, void* desc, const void* alpha, const void* a, void* a_layout,
                   const void* b, void* b_layout, const void* beta, const void* c, void* c_layout,
                   void* d, void* d_layout, const Algorithm* algorithm, void* workspace,
                   size_t workspace_bytes, void* stream) = nullptr;
};

}  // namespace penstock::cublaslt

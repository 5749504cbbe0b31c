"""What a rule lets pass, each with its reason. Keys name a file, or "file:function"."""

# Files over 500 lines (800 never).
LONG_FILES: dict[str, str] = {}

# Functions over 80 lines (kernel bodies: over 150).
LONG_FUNCTIONS: dict[str, str] = {}

# Functions with more than 5 parameters.
WIDE_FUNCTIONS: dict[str, str] = {
    f"tests/cpp/support/cublaslt/standin.cc:{name}": "a function of cuBLASLt's public interface"
    for name in ("cublasLtMatmul", "cublasLtMatmulAlgoCheck", "cublasLtMatmulAlgoGetHeuristic")
}
WIDE_FUNCTIONS["python/penstock/llm.py:LLM.chat"] = "keyword arguments that users of vLLM know"

# "file:NAME" of preprocessor definitions.
MACROS: dict[str, str] = {
    "cpp/kernels/cuda/simt.h:PENSTOCK_DEVICE": "says `__device__` to nvcc and nothing to the host",
    "cpp/kernels/cuda/simt.h:PENSTOCK_UNROLL": "a pragma that only nvcc knows",
    "cpp/kernels/cuda/simt.h:PENSTOCK_UNROLL_BY": "the same with a number",
    "cpp/kernels/cuda/simt.h:PENSTOCK_TEXT": "makes the text of that pragma",
}

# "file:declaration start" of mutable variables with static storage.
MUTABLE_GLOBALS: dict[str, str] = {}

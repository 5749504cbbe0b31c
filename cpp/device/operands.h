// Which memory an op touches: one row per matrix, vector, weight panel or KV page, as (pointer,
// rows, bytes, read or write). Descriptors that an op only points to (span and page tables, panel
// tables, positions, row lists, targets) are not operands: they are host memory on every device,
// like the arguments of a kernel. Reads those descriptors, nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/op.h"

namespace penstock {

enum class Access : uint8_t { read, write, update };

// `rows` equally spaced rows; the bytes between two rows belong to somebody else.
struct Operand {
  const char* name = "";
  const std::byte* data = nullptr;
  size_t row_bytes = 0;
  size_t rows = 1;
  size_t stride_bytes = 0;
  Access access = Access::read;

  // From the first to the last byte touched.
  size_t bytes() const {
    return rows == 0 || row_bytes == 0 ? 0 : (rows - 1) * stride_bytes + row_bytes;
  }
};

std::vector<Operand> operands(const Op& op);

// Multiply-adds of matrix products and attention, two flops each; what the modelled compute rate
// counts. Other ops are 0.
double op_flops(const Op& op);

// The part of it that is attention of single rows, and the keys and values which that reads.
struct DecodeAttention {
  double flops = 0, bytes = 0;
};
DecodeAttention decode_attention(const Op& op);

// "embed", "norm", ...: the name of the kernel, for the trace and messages.
const char* op_name(const Op& op);

}  // namespace penstock

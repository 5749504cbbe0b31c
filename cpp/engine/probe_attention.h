// Attention as the probe measures it, on the device or on the processor beside it: decoding rows
// over long caches, and a prompt over itself.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "device/op.h"
#include "memory/buffer.h"

namespace penstock {

class AttentionProbe {
 public:
  // Who attends, and where its memory is.
  struct Place {
    std::function<Buffer(size_t bytes)> allocate;
    std::function<void(std::byte* to, const std::byte* from, size_t bytes)> fill;  // from the host
    std::function<void(const Op& op)> run;                                         // and waits
  };
  // Fills the caches by `rows`, kRows random ones in host memory.
  AttentionProbe(FormatId kv, const Place& place, const std::byte* rows);

  static constexpr int kHeads = 32, kHeadDim = 128, kRows = 1024;
  static constexpr size_t kRowsBytes = sizeof(float) * kRows * kHeads * kHeadDim;

  void decode();  // one new token of each sequence
  double decode_bytes() const { return static_cast<double>(pages_.bytes()); }
  void prompt();                 // one chunk of a prompt over itself
  static double prompt_flops();  // as count_work counts them

 private:
  std::byte* const* table(int sequence) const;

  const Place& place_;
  Buffer pages_, rows_, out_;
  std::vector<std::byte*> table_;
  std::vector<SpanView> decoding_;
  AttentionParams params_;
};

}  // namespace penstock

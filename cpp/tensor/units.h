// Sizes that kernels, files, devices and plans must agree on. They stand here once, so that a plan
// can reckon with them and needs no header of a kernel.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

// Vectors, rows and parts of buffers begin at multiples of a line.
inline constexpr int64_t kLineBytes = 64;
// Host memory is mapped, and files are read and written directly, in multiples of a page.
inline constexpr int64_t kPageBytes = 4096;

// Keys of one attention state, counted from absolute position 0. Sums over keys are folded at its
// multiples, so only there can attention go on in another place.
inline constexpr int kAttentionSegment = 256;
inline constexpr int64_t kAttentionStateBytes = 8;  // of one token row and head
// Columns of the vocabulary that are folded together when prompts are scored: chunks of the head
// begin at its multiples.
inline constexpr int kScoreBlock = 256;
inline constexpr int64_t kScoreStateBytes = 20;  // of one token row

// Workers that move files: enough to keep one NVMe disk busy. Each has a bounce block, through
// which transfers go that are not aligned.
inline constexpr int kFileWorkers = 16;
inline constexpr int64_t kFileBounceBytes = int64_t{20} << 10;

// What a worker of a thread pool has for itself while a kernel runs.
inline constexpr size_t kScratchBytesPerWorker = size_t{2} << 20;

}  // namespace penstock

// Weights where the plan wants them: vectors and the resident share in memory, the rest described
// as reads into staging slots. Everything resident is charged and loaded when the store is made;
// afterwards the store only hands out addresses, so it may be used from any lane. It decides
// nothing: which panel is read into which slot, and when, is the schedule's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "checkpoint/packed_cache.h"
#include "device/device.h"
#include "io/async_io.h"
#include "model/program.h"
#include "plan/device_split.h"
#include "plan/placement.h"
#include "store/row_source.h"

namespace penstock {

struct WeightStoreInput {
  const WeightList* list = nullptr;
  const WeightPlan* plan = nullptr;
  const RowSource* source = nullptr;
  const PackedCache* packed = nullptr;  // null when no weight is quantised, or for random weights
  DeviceSplit split;
  std::vector<DeviceMemory> devices;  // where the model computes
  Budget* host = nullptr;
  int threads = 1;  // that make random weights
};

class WeightStore {
 public:
  // Allocates and loads. Throws Error(budget | io | corrupt | not_found).
  explicit WeightStore(const WeightStoreInput& input);
  WeightStore(const WeightStore&) = delete;
  WeightStore& operator=(const WeightStore&) = delete;

  // fp32 vector in compute memory; nullptr when the model has none (id -1).
  const float* vector(int id) const;
  FormatId format(int weight) const { return plan_.formats.at(weight); }

  // A panel that lives in compute memory.
  WeightPanel resident(const Panel& panel) const;
  // A panel of the disk: what to read into a host slot (kIoAlignment-aligned), what to check when
  // it has arrived, and how the kernels see it there. finish_read throws Error(corrupt).
  Transfer read_transfer(const Panel& panel, std::byte* slot) const;
  void finish_read(const Panel& panel, std::byte* slot) const;
  WeightPanel staged(const Panel& panel, const std::byte* slot) const;
  // A panel that travels to an accelerator: from its host slot (disk panels) or from resident host
  // memory.
  CopyParams upload(const Panel& panel, const std::byte* host_slot, std::byte* device_slot) const;
  WeightPanel uploaded(const Panel& panel, const std::byte* device_slot) const;

  // Copies the rows of a table that is wholly in host memory to out[i * row_bytes], and appends
  // transfers for those of any other: which rows are asked for changes no byte count.
  void gather(int table, std::span<const int32_t> ids, std::byte* out,
              std::vector<Transfer>& transfers) const;
  int64_t row_bytes(int weight) const;  // raw rows as stored

 private:
  // Resident rows [begin, end) of one weight on one tier; a packed segment begins at a tile.
  struct Resident {
    int64_t begin = 0, end = 0;
    std::byte* data = nullptr;
  };
  struct Located {  // where a disk panel lies in its file
    const File* file = nullptr;
    uint64_t offset = 0, bytes = 0;
    uint64_t skip = 0;  // bytes of the read before the first row of the panel
  };

  bool quantised(int weight) const;
  const Resident* find_resident(int weight, Tier tier, int64_t row) const;
  int64_t bytes_before(int weight, int64_t first_row, int64_t row) const;
  Located locate(const Panel& panel) const;
  uint64_t data_offset(const Panel& panel) const;

  void load_vectors();
  void allocate_resident(Place place);
  bool belongs(const WeightInfo& info, int device) const;
  void load_vectors_of(int device);
  void load_weight(int weight);
  void load_segment(int weight, const Resident& resident, Tier tier);
  void fill_rows(int weight, int64_t begin, int64_t end, std::byte* out) const;
  void make_rows(int weight, int64_t begin, int64_t end, std::byte* out) const;
  void fill_packed(int weight, int64_t begin, int64_t end, std::byte* out) const;

  const WeightList& list_;
  const WeightPlan& plan_;
  const RowSource& source_;
  const PackedCache* packed_;
  DeviceSplit split_;
  std::vector<DeviceMemory> devices_;
  Budget& host_;
  Tier compute_;
  const Parallel* makers_ = nullptr;           // while random weights are made
  std::vector<Buffer> memory_;                 // vectors and resident shares
  std::vector<const float*> vector_of_;        // by weight id
  std::vector<Resident> resident_of_[kTiers];  // by weight id
  std::vector<int> owner_of_;                  // a tied head names the table it shares
};

}  // namespace penstock

// Policy -> where the rows of each matrix live, and the panels in which the rest is streamed. Exact
// to one row for raw formats, to one tile of kTileRows rows for packed ones. Pure values: nothing
// here opens a file or allocates device memory.
//
// Tables (embeddings) are read row by row and are no panels. They live on the host: wholly when
// nothing is on disk, not at all (every row on disk) otherwise. One exception: the token table of a
// tied head with the same raw format is the head; it has the head's placement and costs nothing
// (`alias`). Unless all of it is in host memory, its rows are read from disk when they are looked
// up.
#pragma once

#include <cstdint>
#include <vector>

#include "model/program.h"
#include "plan/policy.h"
#include "tensor/format.h"
#include "tensor/tier.h"

namespace penstock {

struct Segment {
  Place place;
  int64_t begin = 0, end = 0;  // rows
};

struct Placement {
  std::vector<Segment> segments;  // ascending, covering all rows: device, host, disk
};

// A run of rows of one matrix that travels (or stays) as one piece.
struct Panel {
  int weight = -1;
  int64_t row_begin = 0, row_end = 0;
  Tier home = Tier::host;
  uint64_t bytes = 0;         // payload as stored: rows * row bytes, or whole packed tiles/blocks
  uint64_t upload_bytes = 0;  // to an accelerator: the panel's own rows or tiles, never more
};

// One visit of the sweep: a module, or for the head a chunk of the vocabulary.
struct Visit {
  int module = -1;
  int device = 0;                      // among several accelerators
  std::vector<Panel> panels;           // in the order of use; resident ones included
  int64_t row_begin = 0, row_end = 0;  // head: vocabulary rows of this chunk
  bool first_chunk = true, last_chunk = true;
};

struct WeightPlan {
  std::vector<Placement> placements;  // by weight id; empty for vectors
  std::vector<FormatId> formats;      // by weight id
  std::vector<int>
      alias;  // by weight id: the weight whose resident bytes this one uses, -1: its own
  std::vector<Visit> visits;  // the sweep, in order
  uint64_t resident_bytes[kTiers] =
      {};                       // payload by home; tables included, aliases once, vectors not
  uint64_t streamed_bytes = 0;  // per sweep, from disk
  uint64_t uploaded_bytes =
      0;  // per sweep, to an accelerator: all panels that are not at home there
  uint64_t max_panel_bytes = 0;  // of the panels that need a staging slot
  int64_t head_columns = 0;      // widest chunk of the vocabulary
};

struct PlacementOptions {
  Tier compute = Tier::host;  // where operands must be for the device
  Shares shares;
  std::vector<int> device_layers;            // as DeviceSplit takes them
  uint64_t panel_bytes = uint64_t{2} << 20;  // raw panels aim at this
  // No chunk of the head is wider, unless its smallest piece is; nor does one stream more bytes
  // than the largest other visit.
  int64_t head_chunk_columns = 8192;
  // No matrix is cut: the way FlexGen places weights, to compare with. The values of a module in
  // the order of FlexGen's lists (matrices, each followed by its bias; the norm after them, in the
  // head before) are laid beside the shares in the order disk, host, device; a matrix goes where
  // its middle falls. So only a few shares can be had: of an OPT layer, 20% asked of the device
  // are 8.3%. Tables are placed as always.
  bool whole_tensors = false;
};

// Panel boundaries of packed weights are block boundaries (packed_block_rows); a share boundary
// inside a block cuts the rows that stay resident, the block still travels whole. Chunks of the
// head begin at multiples of 256 rows and of blocks. Throws Error(invalid_argument) for a device
// share where the device computes in host memory.
WeightPlan place_weights(const Program& program, const WeightList& weights,
                         const std::vector<FormatId>& formats, const PlacementOptions& options);

// Bytes of rows [begin, end) as they are stored: rows, or the packed tiles that hold them.
uint64_t stored_bytes(const WeightInfo& weight, FormatId format, int64_t begin, int64_t end);

// Whether a panel must be brought to the device before use, given where that computes.
constexpr bool is_streamed(const Panel& panel, Tier compute) {
  return panel.home != compute && panel.home != Tier::device;
}

}  // namespace penstock

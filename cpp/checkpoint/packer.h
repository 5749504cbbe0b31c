// Writes a packed-weight file: rows are read in chunks of a few MiB, packed tile by tile,
// checksummed and written while the next block is packed. The memory is charged to the budget
// before it exists.
#pragma once

#include "checkpoint/packed_table.h"
#include "memory/budget.h"

namespace penstock {

// Packs into options.folder under a temporary name, then renames to `path`. Fills in the checksums
// of `plan`. On any error the temporary file is gone: Error(disk_full), Error(budget), or what
// read_rows threw.
void pack_to(const std::string& path, const PackOptions& options,
             const std::vector<PackSource>& sources, Budget& host, PackedPlan& plan);

// Temporary files in `folder` whose writer died; those of living writers are locked and stay.
void remove_stale_temps(const std::string& folder);

}  // namespace penstock

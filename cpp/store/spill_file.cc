#include "store/spill_file.h"

#include "base/crc32c.h"
#include "base/error.h"

namespace penstock {

SpillFile::SpillFile(const std::string& folder, const SpillUnits& units, Budget& disk,
                     const std::string& what, const FaultSeam* seam)
    : paid_(disk.reserve(units.unit_bytes * units.count, what)),
      what_(what),
      unit_bytes_(units.unit_bytes),
      crc_(units.count) {
  check(unit_bytes_ % kIoAlignment == 0, "spill units are aligned");
  if (units.count > 0) file_ = File::anonymous(folder, unit_bytes_ * units.count, true, seam);
}

void SpillFile::seal(uint64_t unit, const std::byte* data) {
  crc_.at(unit) = {crc32c(static_cast<uint32_t>(unit), data, unit_bytes_), true};
}

void SpillFile::verify(uint64_t unit, const std::byte* data) const {
  const Seal& seal = crc_.at(unit);
  const uint32_t found = crc32c(static_cast<uint32_t>(unit), data, unit_bytes_);
  if (seal.written && seal.crc == found) return;
  throw Error(ErrorCode::corrupt, "spilled bytes changed on disk",
              {.file = file_.path(),
               .field = what_ + " unit " + std::to_string(unit),
               .found = std::to_string(found),
               .allowed = seal.written ? std::to_string(seal.crc) : "nothing was written here"});
}

void SpillFile::forget(uint64_t unit) { crc_.at(unit) = {}; }

}  // namespace penstock

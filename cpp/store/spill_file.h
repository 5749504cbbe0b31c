// An anonymous file that holds spilled bytes in fixed units, each checked by CRC32C when it comes
// back. Vanishes with the process. Units belong to their users; the table of checksums lives in
// memory only. write and read may run on different lanes as long as the schedule orders uses of one
// unit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "io/file.h"
#include "memory/budget.h"

namespace penstock {

struct SpillUnits {
  uint64_t unit_bytes = 0;  // multiple of kIoAlignment
  uint64_t count = 0;
};

class SpillFile {
 public:
  SpillFile() = default;
  // Charged to `disk` and preallocated: Error(budget), Error(disk_full) now.
  SpillFile(const std::string& folder, const SpillUnits& units, Budget& disk,
            const std::string& what, const FaultSeam* seam = nullptr);

  uint64_t unit_bytes() const { return unit_bytes_; }
  uint64_t units() const { return crc_.size(); }
  const File& file() const { return file_; }
  uint64_t offset(uint64_t unit) const { return unit * unit_bytes_; }

  // Remembers the checksum of what is about to be written to `unit`.
  void seal(uint64_t unit, const std::byte* data);
  // Throws Error(corrupt) naming what, unit, stored and computed checksum; also for a unit never
  // written.
  void verify(uint64_t unit, const std::byte* data) const;
  void forget(uint64_t unit);  // its content is dead

 private:
  Reservation paid_;
  File file_;
  std::string what_;
  uint64_t unit_bytes_ = 0;
  struct Seal {
    uint32_t crc = 0;
    bool written = false;
  };
  std::vector<Seal> crc_;
};

}  // namespace penstock

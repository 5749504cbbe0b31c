// Where the values of a model's tensors come from: the published shards, or seeded random numbers
// for "dummy:" models.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "checkpoint/catalogue.h"
#include "model/weights.h"

namespace penstock {

class RowSource {
 public:
  virtual ~RowSource() = default;
  virtual DType dtype(const WeightInfo& weight) const = 0;
  // Rows [begin, end) as stored, in dtype(weight): (end - begin) * cols elements.
  virtual void read_raw(const WeightInfo& weight, int64_t begin, int64_t end, void* out) const = 0;
  // Position of the raw tensor on disk; nullptr when it exists in no file.
  virtual const TensorLocation* location(const WeightInfo& weight) const = 0;
  // Changes when the weights change: the key of everything derived from them.
  virtual std::string fingerprint() const = 0;

  // Rows [begin, end) as fp32.
  void read_floats(const WeightInfo& weight, int64_t begin, int64_t end, float* out) const;
};

// The catalogue must outlive the source.
std::unique_ptr<RowSource> make_file_source(const Catalogue& catalogue);
// Values spread like trained weights (matrices: standard deviation 0.02), a pure function of (seed,
// tensor, row).
std::unique_ptr<RowSource> make_random_source(DType dtype, uint64_t seed);

}  // namespace penstock

// Turns the JSON events of a safetensors header into entries, checking each as it ends. Refuses
// with Error(malformed) and the JSON pointer. Stops at the first tensor too many, so hostile
// headers cost bounded time and memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/json_events.h"
#include "checkpoint/safetensors.h"

namespace penstock {

inline constexpr uint64_t kMaxTensors = 1'000'000;
inline constexpr uint64_t kMaxTensorNameBytes = 1024;
inline constexpr uint64_t kMaxMetadata = 65'536;
inline constexpr uint64_t kMaxRank = 8;
inline constexpr uint64_t kMaxDimension = uint64_t{1} << 48;

// Why a tensor may not have this name, or "".
std::string tensor_name_fault(std::string_view name);

class HeaderVisitor : public JsonVisitor {
 public:
  // The data section is the bytes [data_begin, data_begin + data_bytes) of `file`.
  HeaderVisitor(const std::string& file, uint64_t data_begin, uint64_t data_bytes);

  void scalar(const JsonPlace& place, const JsonScalar& value) override;
  void key(const JsonPlace& place, const std::string& name) override;
  void begin(const JsonPlace& place, bool object) override;
  void end(const JsonPlace& place, bool object) override;

  SafetensorsHeader take() { return std::move(header_); }  // tensors in the order of the text

 private:
  enum class Field { dtype, shape, data_offsets };
  struct Fault {
    std::string found, allowed;
  };

  [[noreturn]] void refuse(const JsonPlace& place, const std::string& why, Fault fault = {}) const;
  void start_name(const JsonPlace& place, const std::string& name);
  void start_field(const JsonPlace& place, const std::string& name);
  void add_number(const JsonPlace& place, const JsonScalar& value);
  void finish_entry(const JsonPlace& place);
  uint64_t shape_bytes(const JsonPlace& place, int bits) const;
  bool has(Field field) const { return (fields_ >> static_cast<int>(field) & 1) != 0; }

  const std::string& file_;
  uint64_t data_begin_, data_bytes_;
  SafetensorsHeader header_;
  TensorEntry entry_;
  std::string key_;  // of the metadata member at hand
  bool metadata_ = false;
  Field field_ = Field::dtype;
  int fields_ = 0;  // bits of Field
  uint64_t offsets_[2] = {0, 0};
  int offset_count_ = 0;
};

}  // namespace penstock

// Strict JSON as a stream of events, for untrusted text that is too large for a tree. Refused with
// Error(malformed) and the byte offset: everything base/json.h lists. Memory: the keys of the open
// objects, nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"

namespace penstock {

struct JsonLimits {
  int depth = 32;               // arrays and objects inside each other
  int64_t values = 32'000'000;  // values and keys in all: bounds the memory of the parsed tree
};

// Non-negative integers are uint64_t, negative ones int64_t; a double was written with a point or
// an exponent.
using JsonScalar = std::variant<std::nullptr_t, bool, int64_t, uint64_t, double, std::string_view>;
std::string_view json_kind(const JsonScalar& scalar);  // "null", "a boolean", "an integer", ...
std::string json_text(const JsonScalar& scalar);       // for messages: short and escaped
// A float as JSON writes it: it reads back the same, and never looks like an integer. NaN and
// infinities are "null".
std::string json_number(double value);

// Where the parser is. Owned by it; valid during an event.
class JsonPlace {
 public:
  virtual ~JsonPlace() = default;
  virtual std::string pointer()
      const = 0;                      // JSON pointer of the value at hand, escaped for messages
  virtual size_t offset() const = 0;  // bytes read
  virtual int depth()
      const = 0;  // open arrays and objects, without the one that begins or has just ended
};

// Receives the events in the order of the text. May throw to stop at once.
class JsonVisitor {
 public:
  virtual ~JsonVisitor() = default;
  virtual void scalar(const JsonPlace& place, const JsonScalar& value) = 0;
  virtual void key(const JsonPlace& place, const std::string& name) = 0;
  virtual void begin(const JsonPlace& place, bool object) = 0;
  virtual void end(const JsonPlace& place, bool object) = 0;
};

void visit_strict_json(std::string_view text, const std::string& file, JsonVisitor& visitor,
                       const JsonLimits& limits = {});

}  // namespace penstock

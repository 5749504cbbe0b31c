// A JSON value, and strict reading of untrusted files into one. Refused on reading: nesting deeper
// than the limit, duplicate keys at any level, NaN, infinities, comments, trailing commas, a byte
// order mark, anything after the value, raw or escaped NUL, invalid UTF-8 and lone surrogates,
// `-0`, and integers beyond 64 bits (they would silently become floats). An integer is a number
// written without point and exponent: is_number_integer() tells it from a float.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/json_events.h"

namespace penstock {

// The members are out of line, so that a unit that includes this compiles quickly. A read of a
// value as what it is not throws Error(internal): the type is to be checked before.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;  // written in the order of the keys
  struct Member;

  Json(std::nullptr_t = nullptr);
  template <std::integral T>
  Json(T value) {
    if constexpr (std::is_same_v<T, bool>) {
      value_ = value;
    } else if constexpr (std::is_signed_v<T>) {
      value_ = static_cast<int64_t>(value);
    } else {
      value_ = static_cast<uint64_t>(value);
    }
  }
  Json(double value);
  Json(const char* text);
  Json(std::string_view text);
  Json(std::string text);
  template <class T>
  Json(const std::vector<T>& elements) : Json(array()) {
    for (const T& element : elements) push_back(element);
  }
  // An object: {{"name", value}, ...}. A key that comes again is left out.
  Json(std::initializer_list<Member> members);
  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(const Json& other);
  Json& operator=(Json&& other) noexcept;
  ~Json();

  static Json array(Array elements = {});
  static Json object();

  bool is_null() const { return holds<std::nullptr_t>(); }
  bool is_boolean() const { return holds<bool>(); }
  bool is_number_unsigned() const { return holds<uint64_t>(); }
  bool is_number_integer() const { return holds<int64_t>() || is_number_unsigned(); }
  bool is_number() const { return holds<double>() || is_number_integer(); }
  bool is_string() const { return holds<std::string>(); }
  bool is_array() const { return holds<Array>(); }
  bool is_object() const { return holds<Object>(); }

  // bool, a string, or a number. Throws as well when an integer does not fit `T`.
  template <class T>
  T get() const {
    if constexpr (std::is_same_v<T, bool>) {
      return boolean();
    } else if constexpr (std::is_integral_v<T>) {
      const int64_t value = integer(std::is_signed_v<T>);
      check(std::is_same_v<T, uint64_t> || std::in_range<T>(value), "a JSON integer is too large");
      return static_cast<T>(value);
    } else if constexpr (std::is_floating_point_v<T>) {
      return static_cast<T>(number());
    } else {
      return text();
    }
  }

  size_t size() const;            // elements or members; 0 for null, 1 for any other value
  const Array& elements() const;  // of an array
  const Object& items() const;    // of an object
  const Json* find(std::string_view key) const;  // nullptr when absent, or when this is no object
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  const Json& operator[](std::string_view key) const;  // must be there
  const Json& operator[](size_t index) const;          // must be there
  Json& operator[](std::string_view key);  // added as null when absent; makes an object of null
  void push_back(Json value);              // makes an array of null
  Json& back();                            // of an array that is not empty
  void erase(std::string_view key);
  void update(const Json& other);  // takes over all members of an object

  // Integers and floats of the same value are equal.
  friend bool operator==(const Json& a, const Json& b);

  // As text, on one line or indented by so many spaces. NaN and infinities become null. Throws
  // Error(invalid_argument) when a string is not UTF-8.
  std::string dump(int indent = -1) const;

 private:
  template <class T>
  bool holds() const {
    return std::holds_alternative<T>(value_);
  }
  template <class T>
  const T& as(std::string_view kind) const;
  bool boolean() const;
  int64_t integer(bool is_signed) const;  // an unsigned one beyond int64_t keeps its bits
  double number() const;
  const std::string& text() const;

  std::variant<std::nullptr_t, bool, int64_t, uint64_t, double, std::string, Array, Object> value_;
};

struct Json::Member {
  Member(std::string its_key, Json its_value)
      : key(std::move(its_key)), value(std::move(its_value)) {}

  std::string key;
  mutable Json value;  // an initialiser list is const; the object takes the value out of it
};

// Throws Error(malformed) with the file and, as field, "offset N" (bytes).
Json parse_strict_json(std::string_view text, const std::string& file,
                       const JsonLimits& limits = {});

}  // namespace penstock

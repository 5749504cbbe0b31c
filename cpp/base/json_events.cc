#include "base/json_events.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/name_set.h"

namespace penstock {
namespace {

// Walks the text and leaves its place where the sink sees it: the callbacks have no offsets of
// their own.
class Cursor {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Cursor(const char* at, const char** seen) : at_(at), seen_(seen) {}
  reference operator*() const { return *at_; }
  Cursor& operator++() {
    *seen_ = ++at_;
    return *this;
  }
  Cursor operator++(int) {
    Cursor before = *this;
    ++*this;
    return before;
  }
  bool operator==(const Cursor& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** seen_;
};

// An open array or object. Frames are kept and used again, so that small objects cost no
// allocation.
struct Frame {
  bool object = false;
  int64_t elements = 0;  // of an array: begun
  NameSet keys;

  void open(bool is_object) {
    object = is_object;
    elements = 0;
    keys.clear();
  }
  bool started() const { return object ? keys.size() > 0 : elements > 0; }
  std::string token() const;  // of the member at hand in a JSON pointer
};

std::string pointer_token(std::string_view key) {
  std::string token;
  for (const char c : key) {
    if (c == '~') {
      token += "~0";
    } else if (c == '/') {
      token += "~1";
    } else {
      token += c;
    }
  }
  return escape_for_message(token);
}

std::string Frame::token() const {
  return object ? pointer_token(keys.last()) : std::to_string(elements - 1);
}

// The parser's sink: checks what plain JSON would let pass, then forwards.
class Sink final : public JsonPlace {
 public:
  Sink(std::string_view text, const std::string& file, JsonVisitor& visitor, JsonLimits limits)
      : text_(text), file_(file), visitor_(visitor), limits_(limits), seen_(text.data()) {}

  const char** seen() { return &seen_; }

  std::string pointer() const override {
    std::string text;
    for (int i = 0; i < depth_; ++i) {
      if (!frames_[i].started()) continue;
      text += '/';
      text += frames_[i].token();
    }
    return text;
  }
  size_t offset() const override { return static_cast<size_t>(seen_ - text_.data()); }
  int depth() const override { return depth_; }

  bool null() { return scalar(nullptr); }
  bool boolean(bool value) { return scalar(value); }
  bool number_integer(int64_t value) {
    if (value == 0) fail("-0 is not an integer", offset());
    return scalar(value);
  }
  bool number_unsigned(uint64_t value) { return scalar(value); }
  bool number_float(double value, const std::string& written) {
    if (written.find_first_of(".eE") == std::string::npos) fail("integer beyond 64 bits", offset());
    return scalar(value);
  }
  bool string(std::string& value) {
    refuse_nul(value);
    return scalar(std::string_view(value));
  }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool start_object(size_t) { return open(true); }
  bool end_object() { return close(); }
  bool start_array(size_t) { return open(false); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    refuse_nul(name);
    count();
    if (!frames_[depth_ - 1].keys.insert(name)) {
      fail("the key '" + escape_for_message(name) + "' appears twice in one object", offset());
    }
    visitor_.key(*this, name);
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    std::string why = error.what();
    if (const size_t cut = why.find("; last read"); cut != std::string::npos) why.resize(cut);
    if (const size_t dash = why.rfind(" - "); dash != std::string::npos) why.erase(0, dash + 3);
    if (const size_t end = why.find("] "); end != std::string::npos) why.erase(0, end + 2);
    fail("not valid JSON: " + escape_for_message(why), position > 0 ? position - 1 : offset());
  }

 private:
  [[noreturn]] void fail(const std::string& why, size_t offset) const {
    const size_t from = std::min(offset, text_.size());
    const size_t lead = std::min<size_t>(from, 16);
    throw Error(ErrorCode::malformed, why,
                {.file = file_,
                 .field = "offset " + std::to_string(offset),
                 .found = quote_for_message(text_.substr(from - lead, 32)),
                 .allowed = ""});
  }

  void refuse_nul(const std::string& text) const {
    if (text.find('\0') != std::string::npos) fail("a string contains NUL", offset());
  }

  void count() {
    if (++values_ <= limits_.values) return;
    fail("more than " + std::to_string(limits_.values) + " values", offset());
  }

  void enter_value() {
    count();
    if (depth_ > 0) ++frames_[depth_ - 1].elements;
  }

  bool scalar(const JsonScalar& value) {
    enter_value();
    visitor_.scalar(*this, value);
    return true;
  }

  bool open(bool object) {
    enter_value();
    if (depth_ >= limits_.depth)
      fail("nested deeper than " + std::to_string(limits_.depth), offset());
    visitor_.begin(*this, object);
    if (depth_ == static_cast<int>(frames_.size())) frames_.emplace_back();
    frames_[depth_++].open(object);
    return true;
  }

  bool close() {
    --depth_;
    visitor_.end(*this, frames_[depth_].object);
    return true;
  }

  std::string_view text_;
  const std::string& file_;
  JsonVisitor& visitor_;
  JsonLimits limits_;
  const char* seen_;
  std::vector<Frame> frames_;
  int depth_ = 0;
  int64_t values_ = 0;
};

// The parser would skip a byte order mark and take a NUL for the end of the text.
void refuse_bytes(std::string_view text, const std::string& file) {
  const auto refuse = [&](const char* why, size_t offset) {
    throw Error(
        ErrorCode::malformed, why,
        {.file = file, .field = "offset " + std::to_string(offset), .found = "", .allowed = ""});
  };
  if (text.starts_with("\xef\xbb\xbf")) refuse("a byte order mark is not JSON", 0);
  const size_t nul = text.find('\0');
  if (nul != std::string_view::npos) refuse("a NUL byte is not JSON", nul);
}

}  // namespace

std::string_view json_kind(const JsonScalar& scalar) {
  constexpr std::string_view kNames[] = {"null",       "a boolean", "an integer",
                                         "an integer", "a float",   "a string"};
  return kNames[scalar.index()];
}

std::string json_text(const JsonScalar& scalar) {
  struct Writer {
    std::string operator()(std::nullptr_t) const { return "null"; }
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(int64_t value) const { return std::to_string(value); }
    std::string operator()(uint64_t value) const { return std::to_string(value); }
    std::string operator()(double value) const {
      char digits[32];
      const auto end =
          std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general);
      return "the float " + std::string(digits, end.ptr);
    }
    std::string operator()(std::string_view text) const { return quote_for_message(text); }
  };
  return std::visit(Writer{}, scalar);
}

std::string json_number(double value) { return nlohmann::json(value).dump(); }

void visit_strict_json(std::string_view text, const std::string& file, JsonVisitor& visitor,
                       const JsonLimits& limits) {
  refuse_bytes(text, file);
  Sink sink(text, file, visitor, limits);
  const char* begin = text.data();
  const char* end = begin + text.size();
  nlohmann::json::sax_parse(Cursor(begin, sink.seen()), Cursor(end, sink.seen()), &sink);
}

}  // namespace penstock

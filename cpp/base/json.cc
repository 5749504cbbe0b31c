#include "base/json.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "base/error.h"

namespace penstock {
namespace {

// Walks the text and leaves its place where the builder sees it: the callbacks have no offsets of
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

// Builds the tree from the parser's events and refuses what plain JSON would let pass.
class Builder {
 public:
  Builder(std::string_view text, const std::string& file, const JsonLimits& limits)
      : text_(text), file_(file), limits_(limits), seen_(text.data()) {}

  const char** seen() { return &seen_; }
  Json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(int64_t value) {
    if (value == 0) fail("-0 is not an integer", 0);
    return put(value);
  }
  bool number_unsigned(uint64_t value) { return put(value); }
  bool number_float(double value, const std::string& written) {
    if (written.find_first_of(".eE") == std::string::npos) fail("integer beyond 64 bits", 0);
    return put(value);
  }
  bool string(std::string& value) {
    refuse_nul(value);
    return put(std::move(value));
  }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(size_t) { return open(Json::object()); }
  bool end_object() { return close(); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    refuse_nul(name);
    count();
    auto [at, is_new] = stack_.back()->emplace(name, nullptr);
    if (!is_new) fail("the key '" + escape_for_message(name) + "' appears twice in one object", 0);
    member_ = &*at;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    std::string why = error.what();
    if (const size_t cut = why.find("; last read"); cut != std::string::npos) why.resize(cut);
    if (const size_t dash = why.rfind(" - "); dash != std::string::npos) why.erase(0, dash + 3);
    if (const size_t bracket = why.find("] "); bracket != std::string::npos)
      why.erase(0, bracket + 2);
    fail("not valid JSON: " + escape_for_message(why), position);
  }

 private:
  [[noreturn]] void fail(const std::string& why, size_t position) const {
    const size_t offset = position > 0 ? position - 1 : static_cast<size_t>(seen_ - text_.data());
    const size_t from = std::min(offset, text_.size());
    const std::string near =
        escape_for_message(text_.substr(from - std::min<size_t>(from, 16), 32));
    throw Error(ErrorCode::malformed, why,
                {file_, "offset " + std::to_string(offset), "'" + near + "'", ""});
  }

  void refuse_nul(const std::string& text) const {
    if (text.find('\0') != std::string::npos) fail("a string contains NUL", 0);
  }

  void count() {
    if (++values_ > limits_.values)
      fail("more than " + std::to_string(limits_.values) + " values", 0);
  }

  Json* place(Json&& value) {
    count();
    if (stack_.empty()) return &(root_ = std::move(value));
    if (member_ != nullptr) return &(*std::exchange(member_, nullptr) = std::move(value));
    stack_.back()->push_back(std::move(value));
    return &stack_.back()->back();
  }

  bool put(Json&& value) {
    place(std::move(value));
    return true;
  }

  bool open(Json&& value) {
    if (static_cast<int>(stack_.size()) >= limits_.depth) {
      fail("nested deeper than " + std::to_string(limits_.depth), 0);
    }
    stack_.push_back(place(std::move(value)));
    return true;
  }

  bool close() {
    stack_.pop_back();
    return true;
  }

  std::string_view text_;
  const std::string& file_;
  JsonLimits limits_;
  const char* seen_;
  Json root_;
  std::vector<Json*> stack_;
  Json* member_ = nullptr;  // where the value of the last key goes
  int64_t values_ = 0;
};

void refuse_bytes(std::string_view text, const std::string& file) {
  if (text.starts_with("\xef\xbb\xbf")) {
    throw Error(ErrorCode::malformed, "a byte order mark is not JSON", {file, "offset 0", "", ""});
  }
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    throw Error(ErrorCode::malformed, "a NUL byte is not JSON",
                {file, "offset " + std::to_string(nul), "", ""});
  }
}

}  // namespace

Json parse_strict_json(std::string_view text, const std::string& file, const JsonLimits& limits) {
  refuse_bytes(text, file);
  Builder builder(text, file, limits);
  const char* begin = text.data();
  Json::sax_parse(Cursor(begin, builder.seen()), Cursor(begin + text.size(), builder.seen()),
                  &builder);
  return builder.take();
}

}  // namespace penstock

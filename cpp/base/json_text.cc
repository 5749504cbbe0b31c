// The text of a JSON value.
#include "base/json.h"
#include "base/utf8.h"

namespace penstock {
namespace {

void append_escaped(std::string* out, unsigned char control) {
  constexpr char kDigits[] = "0123456789abcdef";
  *out += "\\u00";
  *out += kDigits[control >> 4];
  *out += kDigits[control & 15];
}

void append_string(std::string* out, std::string_view text) {
  if (!is_utf8(text)) {
    throw Error(ErrorCode::invalid_argument, "a string is not UTF-8 and cannot be written as JSON",
                {.file = {}, .field = {}, .found = quote_for_message(text), .allowed = "UTF-8"});
  }
  constexpr std::string_view kControls = "\b\t\n\f\r\"\\", kLetters = "btnfr\"\\";
  *out += '"';
  for (const char c : text) {
    const size_t at = kControls.find(c);
    if (at != std::string_view::npos) {
      (*out += '\\') += kLetters[at];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      append_escaped(out, static_cast<unsigned char>(c));
    } else {
      *out += c;
    }
  }
  *out += '"';
}

class Writer {
 public:
  explicit Writer(int indent) : indent_(indent) {}

  void write(const Json& value) {
    if (value.is_array()) {
      write_array(value.elements());
    } else if (value.is_object()) {
      write_object(value.items());
    } else {
      write_scalar(value);
    }
  }
  std::string take() { return std::move(out_); }

 private:
  void write_scalar(const Json& value) {
    if (value.is_null()) {
      out_ += "null";
    } else if (value.is_boolean()) {
      out_ += value.get<bool>() ? "true" : "false";
    } else if (value.is_string()) {
      append_string(&out_, value.get<std::string>());
    } else if (value.is_number_unsigned()) {
      out_ += std::to_string(value.get<uint64_t>());
    } else if (value.is_number_integer()) {
      out_ += std::to_string(value.get<int64_t>());
    } else {
      out_ += json_number(value.get<double>());
    }
  }

  void write_array(const Json::Array& elements) {
    if (elements.empty()) {
      out_ += "[]";
      return;
    }
    char before = '[';
    ++depth_;
    for (const Json& element : elements) {
      next(std::exchange(before, ','));
      write(element);
    }
    close(']');
  }

  void write_object(const Json::Object& members) {
    if (members.empty()) {
      out_ += "{}";
      return;
    }
    char before = '{';
    ++depth_;
    for (const auto& [key, value] : members) {
      next(std::exchange(before, ','));
      append_string(&out_, key);
      out_ += indent_ < 0 ? ":" : ": ";
      write(value);
    }
    close('}');
  }

  void next(char before) {
    out_ += before;
    break_line();
  }

  void close(char bracket) {
    --depth_;
    break_line();
    out_ += bracket;
  }

  void break_line() {
    if (indent_ < 0) return;
    out_ += '\n';
    out_.append(static_cast<size_t>(depth_) * static_cast<size_t>(indent_), ' ');
  }

  int indent_;
  int depth_ = 0;
  std::string out_;
};

}  // namespace

std::string Json::dump(int indent) const {
  Writer writer(indent);
  writer.write(*this);
  return writer.take();
}

}  // namespace penstock

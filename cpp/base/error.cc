#include "base/error.h"

#include <cstdint>
#include <utility>

#include "base/utf8.h"

namespace penstock {
namespace {

std::string compose(const std::string& message, const ErrorDetail& detail) {
  std::string text;
  if (!detail.file.empty()) text += escape_for_message(detail.file, 4096) + ": ";
  if (!detail.field.empty()) text += detail.field + ": ";
  text += message;
  std::string tail;
  if (!detail.found.empty()) tail = "found " + detail.found;
  if (!detail.allowed.empty()) tail += (tail.empty() ? "allowed " : ", allowed ") + detail.allowed;
  if (!tail.empty()) text += " (" + tail + ")";
  return text;
}

// Control characters: C0, C1, line and paragraph separators, direction overrides.
bool must_escape(uint32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || (point >= 0x2028 && point <= 0x202e) ||
         (point >= 0x2066 && point <= 0x2069);
}

std::string hex_escape(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

}  // namespace

std::string_view error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::malformed:
      return "malformed";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::budget:
      return "budget";
    case ErrorCode::io:
      return "io";
    case ErrorCode::disk_full:
      return "disk_full";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::device:
      return "device";
    case ErrorCode::internal:
      return "internal";
  }
  return "internal";
}

Error::Error(ErrorCode code, std::string message) : Error(code, std::move(message), {}) {}

Error::Error(ErrorCode code, std::string message, ErrorDetail detail)
    : std::runtime_error(compose(message, detail)),
      code_(code),
      message_(std::move(message)),
      detail_(std::move(detail)) {}

std::string escape_for_message(std::string_view text, size_t limit) {
  constexpr std::string_view kCut = "...";
  std::string out;
  size_t uncut = 0;  // how much of `out` leaves room for the mark of a cut
  while (!text.empty()) {
    const Utf8Sequence sequence = decode_utf8(text);
    const size_t taken = sequence.length == 0 ? 1 : sequence.length;
    const std::string_view bytes = text.substr(0, taken);
    const bool plain = sequence.length != 0 && !must_escape(sequence.point);
    const std::string piece = plain ? std::string(bytes) : hex_escape(bytes);
    if (out.size() + piece.size() > limit) {
      out.resize(uncut);
      return limit < kCut.size() ? out : out.append(kCut);
    }
    out += piece;
    if (out.size() + kCut.size() <= limit) uncut = out.size();
    text.remove_prefix(taken);
  }
  return out;
}

std::string quote_for_message(std::string_view text, size_t limit) {
  // Text that holds one kind of quote stands between two of the other.
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char mark = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  return mark + escape_for_message(text, limit) + mark;
}

void check(bool condition, std::string_view what) {
  if (!condition) throw Error(ErrorCode::internal, std::string(what));
}

}  // namespace penstock

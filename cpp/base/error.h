// Typed errors. Everything that reaches a caller of Penstock is an Error with a stable code and,
// where it applies, the file, the field (or byte offset), what was found and what is allowed.
// Nothing here aborts.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace penstock {

enum class ErrorCode {
  invalid_argument,  // a value given by the caller is not allowed
  unsupported,       // understood, but not something this build can do
  not_found,         // a file or tensor that must be there is not
  malformed,         // a file breaks the rules of its format
  corrupt,           // bytes changed: a checksum does not match
  budget,            // does not fit into a memory or disk budget
  io,                // the operating system reported a read or write error
  disk_full,         // no space left for a write
  cancelled,         // stopped on request
  device,            // an accelerator failed
  internal,          // a broken invariant of our own
};

// Stable lower-case name of a code ("invalid_argument", ...), used in error records.
std::string_view error_code_name(ErrorCode code);

struct ErrorDetail {
  std::string file{};     // path, or empty
  std::string field{};    // JSON pointer, option name or "offset N", or empty
  std::string found{};    // what was there, escaped (no control characters)
  std::string allowed{};  // what would have been accepted
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string message);
  // what() reads "FILE: FIELD: MESSAGE (found X, allowed Y)" with empty parts left out.
  Error(ErrorCode code, std::string message, ErrorDetail detail);

  ErrorCode code() const { return code_; }
  const ErrorDetail& detail() const { return detail_; }
  const std::string& message() const { return message_; }  // without file, field, found and allowed

 private:
  ErrorCode code_;
  std::string message_;
  ErrorDetail detail_;
};

// Replaces control characters and invalid UTF-8 by \xNN and cuts at `limit` bytes: safe for a
// terminal.
std::string escape_for_message(std::string_view text, size_t limit = 120);

// The escaped text between single quotes, or between double ones where it has single ones alone.
std::string quote_for_message(std::string_view text, size_t limit = 120);

// Invariant check: throws Error(internal) with the text. Never aborts.
void check(bool condition, std::string_view what);

}  // namespace penstock

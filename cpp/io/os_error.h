// Turns errno values into typed errors: no space is Error(disk_full), a missing path
// Error(not_found), all else Error(io).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {

// `error` is a positive errno value; `field` may be empty.
[[noreturn]] void throw_os_error(int error, std::string_view action, const std::string& path,
                                 std::string field = "");
std::string offset_field(uint64_t offset);  // "offset N"

}  // namespace penstock

#include "io/os_error.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace penstock {
namespace {

ErrorCode code_of(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return ErrorCode::disk_full;
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::not_found;
    default:
      return ErrorCode::io;
  }
}

}  // namespace

std::string offset_field(uint64_t offset) { return "offset " + std::to_string(offset); }

void throw_os_error(int error, std::string_view action, const std::string& path,
                    std::string field) {
  const std::string reason = std::generic_category().message(error);
  throw Error(code_of(error), std::string(action) + " failed: " + reason,
              {.file = path,
               .field = std::move(field),
               .found = "errno " + std::to_string(error),
               .allowed = ""});
}

}  // namespace penstock

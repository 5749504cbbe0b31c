// The version of the engine, fixed when it was built.
#pragma once

#include <string_view>

namespace penstock {

// As major.minor.patch; the text lives as long as the program.
std::string_view version();

}  // namespace penstock

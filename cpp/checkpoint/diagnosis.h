// Tells what a file is that should have been safetensors: people download error pages and pointers.
#pragma once

#include <string>

#include "io/file.h"

namespace penstock {

// "a Git LFS pointer, not the file itself", ... or "" when the first bytes say nothing.
std::string diagnose_foreign_file(const File& file);

}  // namespace penstock

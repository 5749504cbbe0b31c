// Which keys of config.json are understood, ignored or refused.
#pragma once

#include <string>
#include <vector>

#include "model/config_object.h"
#include "model/family.h"

namespace penstock {

// The family named by `architectures` and `model_type`, which must agree. Throws Error(unsupported)
// listing the supported ones.
const Family& pick_family(const ConfigObject& root);

// Refuses every key that is neither read nor known to leave the mathematics alone, all in one
// error, and every key that has another value than the one understood.
void refuse_unknown_keys(const ConfigObject& root, const Family& family);

// Keys that ask for code or files of the folder. They are ignored, and said so.
std::vector<std::string> ignored_code(const ConfigObject& root);

}  // namespace penstock

#include "model/families/shared.h"

namespace penstock {
namespace {

constexpr const Family* kFamilies[] = {&kOptFamily, &kLlamaFamily, &kMistralFamily, &kQwen2Family,
                                       &kQwen3Family};

}  // namespace

std::span<const Family* const> families() { return kFamilies; }

}  // namespace penstock

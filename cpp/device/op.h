// What a device can be asked to run: exactly the params structs, so a device that misses one does
// not compile.
#pragma once

#include <variant>

#include "kernels/params.h"

namespace penstock {

using Op =
    std::variant<EmbedParams, NormParams, PrepareParams, GemmParams, GatedParams, RotaryParams,
                 KvAppendParams, AttentionParams, GatherRowsParams, ScoreParams, SampleParams>;

}  // namespace penstock

// Rotary frequencies from config.json, in both spellings (rope_theta + rope_scaling,
// rope_parameters), with the scaling variants default, linear, dynamic, yarn, longrope and llama3.
// fp32 is used where the published implementation uses it.
#pragma once

#include <string>
#include <vector>

#include "model/config_object.h"
#include "model/spec.h"

namespace penstock {

struct RopeContext {
  int head_dim = 0;
  int max_positions = 0;  // max_position_embeddings
  double theta = 10000;   // when the config has none
};

struct Rope {
  RotarySpec rotary;
  int max_positions = 0;  // of the context, or less: see `notes`
  std::vector<std::string> notes;
};

// `dynamic` equals `default` up to max_position_embeddings, and `longrope` uses its short factors
// up to the original context; both would change the frequencies of the whole sequence when it grows
// past that, keys already stored included. So the positions end there. Throws Error(malformed) for
// bad values, Error(unsupported) for unknown types and keys.
Rope read_rope(const ConfigObject& root, const RopeContext& context);

}  // namespace penstock

// A model as plain values: dimensions and small enums. Code tests these traits, never a family's
// name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace penstock {

enum class NormType : uint8_t { layer, rms };
enum class NormPlace : uint8_t { pre, post };
enum class PositionType : uint8_t { learned, rotary };
enum class MaskType : uint8_t { causal, prefix, none };
enum class CacheType : uint8_t { none, full, window };
enum class Activation : uint8_t { relu, gelu, gelu_tanh, silu };

// Rotary frequencies after every scaling variant has been applied: what the kernel needs and
// nothing else.
struct RotarySpec {
  int rotary_dim = 0;
  std::vector<float> inv_freq;    // [rotary_dim / 2]
  float attention_factor = 1.0f;  // multiplies cos and sin
};

struct LayerSpec {
  MaskType mask = MaskType::causal;
  CacheType cache = CacheType::full;
  int32_t window = 0;  // keys a query sees, itself included; 0: all
};

struct AttentionSpec {
  int heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1.0f;  // multiplies q . k
  bool qkv_bias = false, out_bias = false;
  bool qk_norm = false;  // rms norm of each head of q and k before the rotary embedding
};

struct MlpSpec {
  int intermediate = 0;
  Activation act = Activation::relu;
  bool gated = false;
  bool bias = false;
};

struct ModelSpec {
  std::string family;        // for reports only
  DType dtype = DType::f32;  // of the checkpoint
  int hidden = 0, vocab = 0, max_positions = 0;
  int embed_dim = 0;  // width of the token embedding; != hidden: project_in / project_out
  std::vector<LayerSpec> layers;
  AttentionSpec attention;
  MlpSpec mlp;
  NormType norm = NormType::rms;
  NormPlace norm_place = NormPlace::pre;
  bool norm_weight = true;  // false: norms without learnable scale (no tensors at all)
  bool norm_bias = false;   // layer norm with bias
  float norm_eps = 1e-5f;
  bool final_norm = true;
  PositionType positions = PositionType::rotary;
  int position_offset = 0;  // learned: row of position p is p + offset
  RotarySpec rotary;
  bool tied_head = false;
  int32_t bos = -1;
  std::vector<int32_t> eos;  // may be empty
};

}  // namespace penstock

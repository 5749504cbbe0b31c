#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

namespace penstock {
namespace {

constexpr NumberRange kTheta = {1, 1e15};
constexpr NumberRange kFactor = {1 - 1e-12, 1e6};
constexpr NumberRange kPositive = {0, 1e6};
constexpr IntegerRange kContext = {2, 1 << 24};
constexpr std::string_view kOriginal = "original_max_position_embeddings";

// Everything a scaling variant reads.
struct Scaling {
  const ConfigObject& values;
  const ConfigObject& root;
  RopeContext context;

  double factor() const { return values.require("factor", values.number("factor", kFactor)); }
  double positive(std::string_view key) const {
    return values.require(key, values.number(key, kPositive));
  }
  // The context the model was trained with: beside or inside the scaling object, else
  // max_position_embeddings.
  int original() const {
    const auto outside = root.integer(kOriginal, kContext);
    const auto inside = values.integer(kOriginal, kContext);
    if (outside && inside && *outside != *inside) {
      root.refuse(ErrorCode::malformed, kOriginal, "is given twice, with different values",
                  std::to_string(*inside));
    }
    return static_cast<int>(inside.value_or(outside.value_or(context.max_positions)));
  }
};

// theta^(2i / dim)
std::vector<float> powers(const RopeContext& context, double theta) {
  std::vector<float> powers(context.head_dim / 2);
  for (size_t i = 0; i < powers.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(context.head_dim);
    powers[i] =
        static_cast<float>(std::pow(static_cast<float>(theta), static_cast<double>(exponent)));
  }
  return powers;
}

std::vector<float> inverse(std::vector<float> values) {
  for (float& value : values) value = 1.0f / value;
  return values;
}

void plain(const Scaling& scaling, Rope& rope) {
  rope.rotary.inv_freq = inverse(powers(scaling.context, scaling.context.theta));
}

void linear(const Scaling& scaling, Rope& rope) {
  plain(scaling, rope);
  const auto factor = static_cast<float>(scaling.factor());
  for (float& value : rope.rotary.inv_freq) value /= factor;
}

void dynamic(const Scaling& scaling, Rope& rope) {
  scaling.factor();
  plain(scaling, rope);
  rope.notes.push_back(
      "dynamic rope scaling is not applied: positions end at max_position_embeddings");
}

// The share of the unscaled frequency: 1 for fast dimensions, 0 for slow ones, a ramp between.
std::vector<float> yarn_ramp(const Scaling& scaling) {
  const ConfigObject& values = scaling.values;
  const double dim = scaling.context.head_dim;
  const double fast = values.number("beta_fast", kPositive).value_or(32);
  const double slow = values.number("beta_slow", kPositive).value_or(1);
  if (fast < slow) values.refuse(ErrorCode::malformed, "beta_fast", "is below beta_slow", "");
  const auto dimension_of = [&](double rotations) {
    return dim * std::log(scaling.original() / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(scaling.context.theta));
  };
  double low = dimension_of(fast), high = dimension_of(slow);
  if (values.flag("truncate").value_or(true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  std::vector<float> ramp(scaling.context.head_dim / 2);
  for (size_t i = 0; i < ramp.size(); ++i) {
    const float at =
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    ramp[i] = 1.0f - std::clamp(at, 0.0f, 1.0f);
  }
  return ramp;
}

double yarn_scale(double factor, double weight) {
  return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

double yarn_attention(const ConfigObject& values, double factor) {
  const auto own = values.number("attention_factor", kPositive);
  if (own) return *own;
  const auto mscale = values.number("mscale", {-1e-300, 1e6});
  const auto all = values.number("mscale_all_dim", {-1e-300, 1e6});
  if (mscale.value_or(0) == 0 || all.value_or(0) == 0) return yarn_scale(factor, 1);
  return yarn_scale(factor, *mscale) / yarn_scale(factor, *all);
}

void yarn(const Scaling& scaling, Rope& rope) {
  const double factor = scaling.factor();
  const std::vector<float> periods = powers(scaling.context, scaling.context.theta);
  const std::vector<float> unscaled_share = yarn_ramp(scaling);
  for (size_t i = 0; i < periods.size(); ++i) {
    const float scaled = 1.0f / (static_cast<float>(factor) * periods[i]);
    const float unscaled = 1.0f / periods[i];
    rope.rotary.inv_freq.push_back(scaled * (1.0f - unscaled_share[i]) +
                                   unscaled * unscaled_share[i]);
  }
  rope.rotary.attention_factor = static_cast<float>(yarn_attention(scaling.values, factor));
}

std::vector<double> dimension_factors(const Scaling& scaling, std::string_view key) {
  std::vector<double> factors = scaling.values.require(key, scaling.values.numbers(key, kPositive));
  const size_t wanted = scaling.context.head_dim / 2;
  if (factors.size() != wanted) {
    scaling.values.refuse(ErrorCode::malformed, key, "has the wrong length",
                          std::to_string(wanted) + " factors");
  }
  return factors;
}

void longrope(const Scaling& scaling, Rope& rope) {
  const int original = scaling.original();
  const double ratio = static_cast<double>(scaling.context.max_positions) / original;
  const double factor = scaling.values.number("factor", kFactor).value_or(ratio);
  const std::vector<double> factors = dimension_factors(scaling, "short_factor");
  dimension_factors(scaling, "long_factor");
  const std::vector<float> periods = powers(scaling.context, scaling.context.theta);
  for (size_t i = 0; i < periods.size(); ++i) {
    rope.rotary.inv_freq.push_back(1.0f / (static_cast<float>(factors[i]) * periods[i]));
  }
  const double attention = factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original));
  rope.rotary.attention_factor =
      static_cast<float>(scaling.values.number("attention_factor", kPositive).value_or(attention));
  rope.max_positions = std::min(rope.max_positions, original);
  rope.notes.push_back(
      "longrope: positions end at the original context; the long factors are not used");
}

void llama3(const Scaling& scaling, Rope& rope) {
  const auto factor = static_cast<float>(scaling.factor());
  const double low = scaling.positive("low_freq_factor"),
               high = scaling.positive("high_freq_factor");
  if (high <= low) {
    scaling.values.refuse(ErrorCode::malformed, "high_freq_factor", "is not above low_freq_factor",
                          "");
  }
  const double original = scaling.original();
  const auto longest = static_cast<float>(original / low);
  const auto shortest = static_cast<float>(original / high);
  plain(scaling, rope);
  for (float& value : rope.rotary.inv_freq) {
    const float length = static_cast<float>(2 * std::numbers::pi) / value;
    if (length < shortest) continue;
    if (length > longest) {
      value /= factor;
      continue;
    }
    const float smooth = (static_cast<float>(original) / length - static_cast<float>(low)) /
                         static_cast<float>(high - low);
    value = (1.0f - smooth) * value / factor + smooth * value;
  }
}

struct Variant {
  std::string_view name;
  std::span<const std::string_view> keys;  // besides those of every variant
  void (*compute)(const Scaling&, Rope&);
};

constexpr std::string_view kEveryKey[] = {"type", "rope_type", "rope_theta",
                                          "partial_rotary_factor"};
constexpr std::string_view kFactorKeys[] = {"factor", kOriginal};
constexpr std::string_view kYarnKeys[] = {"factor",    kOriginal, "attention_factor", "beta_fast",
                                          "beta_slow", "mscale",  "mscale_all_dim",   "truncate"};
constexpr std::string_view kLongKeys[] = {"factor", kOriginal, "attention_factor", "short_factor",
                                          "long_factor"};
constexpr std::string_view kLlama3Keys[] = {"factor", kOriginal, "low_freq_factor",
                                            "high_freq_factor"};

constexpr Variant kVariants[] = {
    {"default", {}, plain},    {"linear", kFactorKeys, linear},   {"dynamic", kFactorKeys, dynamic},
    {"yarn", kYarnKeys, yarn}, {"longrope", kLongKeys, longrope}, {"llama3", kLlama3Keys, llama3},
};

const Variant& pick_variant(const ConfigObject& values) {
  const auto now = values.text("rope_type"), before = values.text("type");
  if (now && before && *now != *before) {
    values.refuse(ErrorCode::malformed, "type", "disagrees with rope_type", *now);
  }
  if (!now && !before && values.json().size() > (values.json().contains("rope_theta") ? 1 : 0)) {
    values.refuse(ErrorCode::malformed, "rope_type", "is missing", "");
  }
  const std::string name = now ? *now : before.value_or("default");
  std::string allowed;
  for (const Variant& variant : kVariants) {
    if (variant.name == name) return variant;
    allowed += (allowed.empty() ? "" : ", ") + std::string(variant.name);
  }
  values.refuse(ErrorCode::unsupported, now ? "rope_type" : "type",
                "is not a supported rope scaling", allowed);
}

void refuse_unknown(const ConfigObject& values, const Variant& variant) {
  const auto in = [](auto&& range, std::string_view key) {
    return std::find(std::begin(range), std::end(range), key) != std::end(range);
  };
  for (const auto& [key, value] : values.json().items()) {
    if (value.is_null() || in(kEveryKey, key) || in(variant.keys, key)) continue;
    values.refuse(ErrorCode::unsupported, key,
                  "is not understood for rope scaling " + std::string(variant.name), "");
  }
  const auto share = values.number("partial_rotary_factor", {0, 1e6});
  if (share && *share != 1) {
    values.refuse(ErrorCode::unsupported, "partial_rotary_factor", "is not supported", "1");
  }
}

double pick_theta(const ConfigObject& root, const ConfigObject& values, double absent) {
  const auto outside = root.number("rope_theta", kTheta);
  const auto inside = values.number("rope_theta", kTheta);
  if (outside && inside && *outside != *inside) {
    root.refuse(ErrorCode::malformed, "rope_theta", "is given twice, with different values", "");
  }
  return inside.value_or(outside.value_or(absent));
}

}  // namespace

Rope read_rope(const ConfigObject& root, const RopeContext& context) {
  const auto before = root.object("rope_scaling"), now = root.object("rope_parameters");
  if (before && now && before->json() != now->json()) {
    root.refuse(ErrorCode::malformed, "rope_scaling", "disagrees with rope_parameters",
                "one of the two");
  }
  const Json none = Json::object();
  const ConfigObject empty(none, "", "");
  const ConfigObject& values = now ? *now : before ? *before : empty;
  const Variant& variant = pick_variant(values);
  refuse_unknown(values, variant);
  Scaling scaling{values, root, context};
  scaling.context.theta = pick_theta(root, values, context.theta);
  Rope rope;
  rope.rotary.rotary_dim = context.head_dim;
  rope.max_positions = context.max_positions;
  variant.compute(scaling, rope);
  return rope;
}

}  // namespace penstock

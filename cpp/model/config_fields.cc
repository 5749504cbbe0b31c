#include "model/config_fields.h"
#include "tensor/kv_layout.h"

#include <algorithm>
#include <utility>

namespace penstock {
namespace {

// Caps are far above any published model and low enough that products of sizes stay inside 64 bits.
IntegerRange range_of(Field field) {
  switch (field) {
    case Field::layers:
      return {1, 4096};
    case Field::head_dim:
      return {1, kMostHeadDim};
    case Field::heads:
    case Field::kv_heads:
      return {1, 1 << 14};
    case Field::hidden:
    case Field::embed_dim:
      return {1, 1 << 20};
    case Field::intermediate:
      return {1, 1 << 22};
    case Field::window_from_layer:
      return {0, 4096};
    default:
      return {1, 1 << 24};  // vocabulary, positions, window
  }
}

constexpr std::pair<std::string_view, Activation> kActivations[] = {
    {"relu", Activation::relu},          {"gelu", Activation::gelu},
    {"gelu_new", Activation::gelu_tanh}, {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"silu", Activation::silu},          {"swish", Activation::silu},
};

constexpr NumberRange kEpsRange = {0, 0.1};

}  // namespace

const ConfigKey* ConfigFields::row(Field field) const {
  const auto at = std::find_if(family_.keys.rbegin(), family_.keys.rend(),
                               [&](const ConfigKey& key) { return key.field == field; });
  return at == family_.keys.rend() ? nullptr : &*at;
}

std::string_view ConfigFields::key(Field field) const {
  const ConfigKey* found = row(field);
  return found == nullptr ? std::string_view() : found->key;
}

bool ConfigFields::given(Field field) const {
  const ConfigKey* found = row(field);
  return found != nullptr && root_.has(found->key);
}

int ConfigFields::count(Field field) const {
  const ConfigKey* found = row(field);
  if (found == nullptr) return 0;
  const auto value = root_.integer(found->key, range_of(field));
  if (!value && found->absent != Absent::refused) return found->value;
  return static_cast<int>(root_.require(found->key, value));
}

bool ConfigFields::flag(Field field) const {
  const ConfigKey* found = row(field);
  if (found == nullptr) return false;
  const auto value = root_.flag(found->key);
  if (!value && found->absent != Absent::refused) return found->value != 0;
  return root_.require(found->key, value);
}

double ConfigFields::norm_eps() const {
  if (family_.norm_eps > 0) return family_.norm_eps;
  const std::string_view name = key(Field::norm_eps);
  return root_.require(name, root_.number(name, kEpsRange));
}

Activation ConfigFields::activation() const {
  const std::string_view name = key(Field::activation);
  const std::string value = root_.require(name, root_.text(name));
  std::string allowed;
  for (const auto& [spelling, activation] : kActivations) {
    if (spelling == value) return activation;
    allowed += (allowed.empty() ? "" : ", ") + std::string(spelling);
  }
  root_.refuse(ErrorCode::unsupported, name, "is not a supported activation", allowed);
}

std::vector<std::string> ConfigFields::names(Field field) const {
  const std::string_view name = key(field);
  return root_.texts(name).value_or(std::vector<std::string>());
}

void ConfigFields::refuse(ErrorCode code, Field field, std::string_view why,
                          std::string_view allowed) const {
  root_.refuse(code, key(field), why, allowed);
}

}  // namespace penstock

#include "model/weights.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "model/config_cases.h"

namespace penstock {
namespace {

using testing::parsed;
using testing::small_config;

using Tensors = std::map<std::string, std::vector<int64_t>>;

Tensors tensors_of(const WeightList& list) {
  Tensors tensors;
  for (const WeightInfo& info : list.all()) {
    tensors[info.name] = info.kind == WeightKind::vector
                             ? std::vector<int64_t>{info.cols}
                             : std::vector<int64_t>{info.rows, info.cols};
  }
  return tensors;
}

std::string trouble(const WeightList& list, const Tensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, shape] : tensors) names.push_back(name);
  try {
    check_weights(list, names, [&](const std::string& name) { return tensors.at(name); }, "folder");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::malformed);
    EXPECT_EQ(error.detail().file, "folder");
    return error.what();
  }
  return "";
}

TEST(Weights, OptWithProjection) {
  Json json = small_config("opt");
  json.update({{"word_embed_proj_dim", 40}, {"do_layer_norm_before", false}});
  const ModelConfig config = parsed(json);
  const WeightList list(config.spec, *config.family);
  const WeightInfo& positions = list.at(list.find(Role::position_embed));
  EXPECT_EQ(positions.rows, 66);
  EXPECT_EQ(positions.cols, 96);
  EXPECT_EQ(positions.kind, WeightKind::table);
  const WeightInfo& in = list.at(list.find(Role::project_in));
  EXPECT_EQ(in.name, "model.decoder.project_in.weight");
  EXPECT_EQ(in.rows, 96);
  EXPECT_EQ(in.cols, 40);
  const WeightInfo& head = list.at(list.find(Role::head));
  EXPECT_EQ(head.name, "model.decoder.embed_tokens.weight");
  EXPECT_EQ(head.kind, WeightKind::matrix);
  EXPECT_EQ(head.cols, 40);
  EXPECT_EQ(list.tied_twin(), "lm_head.weight");
  EXPECT_EQ(list.find(Role::final_norm), -1);
  EXPECT_EQ(list.find(Role::project_in, -1, true), -1);
  const WeightInfo& bias = list.at(list.find(Role::up, 2, true));
  EXPECT_EQ(bias.name, "model.decoder.layers.2.fc1.bias");
  EXPECT_EQ(bias.kind, WeightKind::vector);
  EXPECT_EQ(bias.cols, 200);
  EXPECT_EQ(list.find(Role::up, 3, true), -1);
}

TEST(Weights, IdsNamesAndFindAgree) {
  for (const char* family : {"opt", "llama", "mistral", "qwen2", "qwen3"}) {
    const ModelConfig config = parsed(small_config(family));
    const WeightList list(config.spec, *config.family);
    std::set<std::string> names;
    for (size_t id = 0; id < list.all().size(); ++id) {
      const WeightInfo& info = list.at(static_cast<int>(id));
      EXPECT_EQ(info.id, static_cast<int>(id));
      EXPECT_EQ(list.find(info.role, info.layer, info.bias), info.id);
      names.insert(info.name);
    }
    EXPECT_EQ(names.size(), list.all().size() - (config.spec.tied_head ? 1 : 0)) << family;
  }
}

TEST(Weights, PrefixIsTheOneTheCheckpointUses) {
  const ModelConfig config = parsed(small_config("llama"));
  const WeightList bare(config.spec, *config.family,
                        [](std::string_view name) { return name == "embed_tokens.weight"; });
  EXPECT_EQ(bare.at(bare.find(Role::q, 1)).name, "layers.1.self_attn.q_proj.weight");
  EXPECT_EQ(bare.at(bare.find(Role::head)).name, "lm_head.weight");
  const WeightList none(config.spec, *config.family, [](std::string_view) { return false; });
  EXPECT_EQ(none.at(none.find(Role::token_embed)).name, "model.embed_tokens.weight");

  const ModelConfig opt = parsed(small_config("opt"));
  const WeightList old(opt.spec, *opt.family,
                       [](std::string_view name) { return name == "decoder.embed_tokens.weight"; });
  EXPECT_EQ(old.at(old.find(Role::head)).name, "decoder.embed_tokens.weight");
}

TEST(Weights, NormsWithoutTensors) {
  Json json = small_config("opt");
  json["layer_norm_elementwise_affine"] = false;
  const ModelConfig config = parsed(json);
  const WeightList list(config.spec, *config.family);
  EXPECT_EQ(list.find(Role::attention_norm, 0), -1);
  EXPECT_EQ(list.find(Role::final_norm), -1);
}

// CF09, and the part of CF08 that needs no data.
TEST(Weights, CheckNamesEveryTrouble) {
  const ModelConfig config = parsed(small_config("llama"));
  const WeightList list(config.spec, *config.family);
  const Tensors good = tensors_of(list);
  EXPECT_EQ(trouble(list, good), "");

  Tensors tensors = good;
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {10};
  EXPECT_EQ(trouble(list, tensors), "");

  tensors = good;
  tensors.erase("lm_head.weight");
  tensors.erase("model.layers.2.mlp.up_proj.weight");
  EXPECT_EQ(trouble(list, tensors),
            "folder: tensors are missing: model.layers.2.mlp.up_proj.weight [200, 96], "
            "lm_head.weight [160, 96]");

  tensors = good;
  tensors["model.embed_tokens.weight"] = {161, 96};
  tensors["model.norm.weight"] = {1, 96};
  const std::string shapes = trouble(list, tensors);
  EXPECT_NE(shapes.find("model.embed_tokens.weight is [161, 96], config.json makes it [160, 96]"),
            std::string::npos);
  EXPECT_NE(shapes.find("model.norm.weight is [1, 96], config.json makes it [96]"),
            std::string::npos);

  tensors = good;
  tensors["model.layers.3.mlp.up_proj.weight"] = {200, 96};
  EXPECT_NE(
      trouble(list, tensors).find("no use for these tensors: model.layers.3.mlp.up_proj.weight"),
      std::string::npos);
  tensors = good;
  tensors["model.layers.1.self_attn.q_proj.bias"] = {120};
  EXPECT_NE(
      trouble(list, tensors).find("no use for these tensors: model.layers.1.self_attn.q_proj.bias"),
      std::string::npos);

  tensors = good;
  for (int i = 0; i < 20; ++i) tensors["extra." + std::to_string(i)] = {1};
  EXPECT_NE(trouble(list, tensors).find("and 12 more"), std::string::npos);
}

TEST(Weights, BiasThatTheConfigPromises) {
  const ModelConfig config = parsed(small_config("qwen2"));
  const WeightList list(config.spec, *config.family);
  Tensors tensors = tensors_of(list);
  tensors.erase("model.layers.1.self_attn.k_proj.bias");
  EXPECT_NE(trouble(list, tensors).find("missing: model.layers.1.self_attn.k_proj.bias [40]"),
            std::string::npos);
}

TEST(Weights, TiedHeadMayBeStoredTwice) {
  const ModelConfig config = parsed(small_config("opt"));
  const WeightList list(config.spec, *config.family);
  Tensors tensors = tensors_of(list);
  EXPECT_FALSE(tensors.contains("lm_head.weight"));
  EXPECT_EQ(trouble(list, tensors), "");
  tensors["lm_head.weight"] = {160, 96};
  EXPECT_EQ(trouble(list, tensors), "");
}

}  // namespace
}  // namespace penstock

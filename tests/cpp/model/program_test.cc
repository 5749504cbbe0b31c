#include "model/program.h"

#include <gtest/gtest.h>

#include "model/config_cases.h"

namespace penstock {
namespace {

using testing::parsed;
using testing::small_config;

struct Built {
  explicit Built(const Json& json)
      : config(parsed(json)),
        weights(config.spec, *config.family),
        program(make_program(config.spec, weights)) {}
  ModelConfig config;
  WeightList weights;
  Program program;
  int64_t width(Reg reg) const { return program.reg_width[static_cast<int>(reg)]; }
};

std::vector<OpKind> kinds(const Module& module) {
  std::vector<OpKind> kinds;
  for (const ProgramOp& op : module.ops) kinds.push_back(op.kind);
  return kinds;
}

TEST(Program, ModulesInOrder) {
  const Built built(small_config("llama"));
  ASSERT_EQ(built.program.modules.size(), 8u);
  EXPECT_EQ(built.program.modules.front().kind, ModuleKind::embed);
  EXPECT_EQ(built.program.modules.back().kind, ModuleKind::head);
  for (int layer = 0; layer < 3; ++layer) {
    EXPECT_EQ(built.program.modules[1 + 2 * layer].kind, ModuleKind::attention);
    EXPECT_EQ(built.program.modules[2 + 2 * layer].kind, ModuleKind::mlp);
    EXPECT_EQ(built.program.modules[2 + 2 * layer].layer, layer);
  }
}

TEST(Program, PreNormRotaryGated) {
  const Built built(small_config("qwen3"));
  const std::vector<OpKind> attention = {OpKind::norm,      OpKind::gemm,      OpKind::gemm,
                                         OpKind::gemm,      OpKind::head_norm, OpKind::head_norm,
                                         OpKind::rotary,    OpKind::rotary,    OpKind::kv_append,
                                         OpKind::attention, OpKind::gemm};
  EXPECT_EQ(kinds(built.program.modules[1]), attention);
  EXPECT_EQ(built.program.modules[1].ops.back().residual, Reg::hidden);
  EXPECT_EQ(
      kinds(built.program.modules[2]),
      (std::vector<OpKind>{OpKind::norm, OpKind::gemm, OpKind::gemm, OpKind::gated, OpKind::gemm}));
  EXPECT_EQ(kinds(built.program.modules.back()),
            (std::vector<OpKind>{OpKind::gather, OpKind::norm, OpKind::gemm}));
  EXPECT_EQ(built.width(Reg::q), 120);
  EXPECT_EQ(built.width(Reg::k), 40);
  EXPECT_EQ(built.width(Reg::gate), 200);
  EXPECT_EQ(built.width(Reg::embedded), 0);
  EXPECT_EQ(built.width(Reg::logits), 160);
}

TEST(Program, PostNormWithProjection) {
  Json json = small_config("opt");
  json.update({{"word_embed_proj_dim", 40}, {"do_layer_norm_before", false}});
  const Built built(json);
  const Module& embed = built.program.modules[0];
  ASSERT_EQ(embed.ops.size(), 3u);
  EXPECT_EQ(embed.ops[0].role, Role::position_embed);
  EXPECT_EQ(embed.ops[0].out, Reg::hidden);
  EXPECT_EQ(embed.ops[1].out, Reg::embedded);
  EXPECT_EQ(embed.ops[2].residual, Reg::hidden);
  EXPECT_EQ(embed.matrices, std::vector<int>{built.weights.find(Role::project_in)});
  const Module& attention = built.program.modules[1];
  EXPECT_EQ(attention.ops.front().kind, OpKind::gemm);
  EXPECT_EQ(attention.ops.front().in, Reg::hidden);
  EXPECT_EQ(attention.ops.back().kind, OpKind::norm);
  EXPECT_EQ(attention.ops.back().out, Reg::hidden);
  EXPECT_EQ(built.width(Reg::normed), 0);
  const Module& head = built.program.modules.back();
  EXPECT_EQ(kinds(head), (std::vector<OpKind>{OpKind::gather, OpKind::gemm, OpKind::gemm}));
  EXPECT_EQ(head.ops[1].out, Reg::projected);
}

// Registers are written before they are read, and widths fit the matrices.
TEST(Program, RegistersFlow) {
  for (const std::string& name : shape_names()) {
    const Built built(parse_strict_json(shape_config(name), "shape"));
    std::vector<bool> live(kRegs, false);
    for (const Module& module : built.program.modules) {
      for (const ProgramOp& op : module.ops) {
        for (const Reg reg : {op.in, op.residual}) {
          if (reg != Reg::none) {
            EXPECT_TRUE(live[static_cast<int>(reg)]) << name;
          }
        }
        if (op.out != Reg::none) live[static_cast<int>(op.out)] = true;
        for (const Reg reg : {op.in, op.out}) {
          if (reg != Reg::none) {
            EXPECT_GT(built.width(reg), 0) << name;
          }
        }
        if (op.kind != OpKind::gemm) continue;
        const WeightInfo& weight = built.weights.at(built.weights.find(op.role, module.layer));
        EXPECT_EQ(weight.cols, built.width(op.in)) << name << " " << weight.name;
        EXPECT_EQ(weight.rows, built.width(op.out)) << name << " " << weight.name;
      }
      for (int reg = 0; reg < kRegs; ++reg)
        live[reg] = live[reg] && reg == static_cast<int>(Reg::hidden);
    }
  }
}

TEST(Program, WorkOfAModelIsTwiceItsMatrices) {
  const Built built(small_config("llama"));
  WorkCount sum;
  const ModuleWork work = {.tokens = 10, .head_rows = 3, .key_positions = 55};
  for (const Module& module : built.program.modules) {
    const WorkCount count = count_work(module, built.config.spec, built.weights, work);
    sum.gemm_flops += count.gemm_flops;
    sum.attention_flops += count.attention_flops;
    sum.kv_read_values += count.kv_read_values;
    sum.kv_write_values += count.kv_write_values;
    sum.other_flops += count.other_flops;
  }
  const double layer = 96 * (120 + 40 + 40 + 120) + 3 * 96 * 200;
  EXPECT_DOUBLE_EQ(sum.gemm_flops, 2 * (10 * 3 * layer + 3 * 96 * 160));
  EXPECT_DOUBLE_EQ(sum.attention_flops, 3 * 4.0 * 55 * 120);
  EXPECT_DOUBLE_EQ(sum.kv_read_values, 3 * 55.0 * 80);
  EXPECT_DOUBLE_EQ(sum.kv_write_values, 3 * 10.0 * 80);
  EXPECT_GT(sum.other_flops, 0);
}

}  // namespace
}  // namespace penstock

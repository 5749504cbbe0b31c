#include "device/operands.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "device/op_chain.h"

namespace penstock {
namespace {

std::multimap<std::string, Operand> by_name(const Op& op) {
  std::multimap<std::string, Operand> found;
  for (const Operand& operand : operands(op)) found.emplace(operand.name, operand);
  return found;
}

TEST(Operands, EveryOpHasItsName) {
  EXPECT_STREQ(op_name(EmbedParams{}), "embed");
  EXPECT_STREQ(op_name(KvAppendParams{}), "kv_append");
  EXPECT_STREQ(op_name(ScoreParams{}), "score");
  EXPECT_STREQ(op_name(SampleParams{}), "sample");
}

TEST(Operands, EmptyOpsTouchNothing) {
  for (const Op& op :
       {Op(EmbedParams{}), Op(NormParams{}), Op(PrepareParams{}), Op(GemmParams{}),
        Op(GatedParams{}), Op(RotaryParams{}), Op(KvAppendParams{}), Op(AttentionParams{}),
        Op(GatherRowsParams{}), Op(ScoreParams{}), Op(SampleParams{})}) {
    EXPECT_TRUE(operands(op).empty()) << op_name(op);
    EXPECT_EQ(op_flops(op), 0) << op_name(op);
  }
}

TEST(Operands, StridedRowsEndWithTheLastRow) {
  float x[100], y[100];
  NormParams norm;
  norm.x = x;
  norm.y = y;
  norm.x_stride = 20;
  norm.y_stride = 8;
  norm.m = 3;
  norm.dim = 8;
  const auto found = by_name(norm);
  ASSERT_EQ(found.size(), 2u);  // no weight, no bias
  EXPECT_EQ(found.find("x")->second.bytes(), (2 * 20 + 8) * sizeof(float));
  EXPECT_EQ(found.find("x")->second.row_bytes, 32u);
  EXPECT_EQ(found.find("y")->second.bytes(), 3 * 8 * sizeof(float));
  EXPECT_EQ(found.find("y")->second.access, Access::write);
}

TEST(Operands, GemmPanelsNameTheirOwnRowsAndColumns) {
  std::byte weight[4096], x[4096];
  float y[4096], bias[100], residual[4096];
  const WeightPanel panels[] = {{weight, 32, 48}, {weight + 2048, 48, 53}};
  GemmParams gemm;
  gemm.panels = panels;
  gemm.panel_count = 2;
  gemm.format = weight_format("bf16");
  gemm.x = x;
  gemm.input = prepared_layout(InputKind::bf16, 20, 0);
  gemm.m = 2;
  gemm.k = 20;
  gemm.bias = bias;
  gemm.residual = residual;
  gemm.residual_stride = 100;
  gemm.y = y;
  gemm.y_stride = 40;
  gemm.column_origin = 32;
  std::vector<Operand> list = operands(gemm);
  ASSERT_EQ(list.size(), 9u);
  EXPECT_EQ(list[0].bytes(), static_cast<size_t>(gemm.input.stride_bytes + gemm.input.row_bytes));
  EXPECT_EQ(list[1].bytes(), 16u * 20 * 2);
  EXPECT_EQ(list[5].data, weight + 2048);
  EXPECT_EQ(list[5].bytes(), 5u * 20 * 2);
  EXPECT_EQ(list[6].data, reinterpret_cast<std::byte*>(bias + 48));
  EXPECT_EQ(list[7].data, reinterpret_cast<std::byte*>(residual + 48));
  EXPECT_EQ(list[8].data, reinterpret_cast<std::byte*>(y + 16));
  EXPECT_EQ(list[8].bytes(), (40 + 5) * sizeof(float));
  EXPECT_EQ(op_flops(gemm), 2.0 * 2 * 20 * 21);
  gemm.format = weight_format("int4-g64");
  list = operands(gemm);
  const size_t tile = packed_layout(format(gemm.format), 20).tile_bytes;
  EXPECT_EQ(list[1].bytes(), tile);
  EXPECT_EQ(list[5].bytes(), tile);
}

TEST(Operands, PreparedRowsEndWithTheirScales) {
  std::byte out[4096];
  float x[200];
  PrepareParams prepare{x, 50, 3, prepared_layout(InputKind::f16, 50, 0), out};
  auto found = by_name(prepare);
  EXPECT_EQ(found.find("x")->second.bytes(), 150 * sizeof(float));
  EXPECT_EQ(found.find("out")->second.access, Access::write);
  EXPECT_EQ(found.find("out")->second.row_bytes,
            static_cast<size_t>(prepare.layout.padded_k * 2) + sizeof(float));
  EXPECT_EQ(found.find("out")->second.stride_bytes,
            static_cast<size_t>(prepare.layout.stride_bytes));
  prepare.layout = prepared_layout(InputKind::int8, 50, 32);
  found = by_name(prepare);
  EXPECT_EQ(found.find("out")->second.row_bytes,
            static_cast<size_t>(prepare.layout.row_bytes) + 2 * (sizeof(float) + sizeof(int32_t)));
}

TEST(Operands, AttentionReadsThePagesOfItsWindow) {
  OpChain chain(1, {});
  std::vector<std::byte> block(chain.content());
  AttentionParams attention = std::get<AttentionParams>(chain.ops(block.data())[4]);
  EXPECT_EQ(by_name(attention).count("page"), 3u);
  EXPECT_EQ(op_flops(attention), 4.0 * 4 * 24 * (31 + 32 + 33 + 1 + 2 + 3 + 4));
  attention.window = 2;
  EXPECT_EQ(op_flops(attention), 4.0 * 4 * 24 * (3 * 2 + 1 + 2 + 2 + 2));
  EXPECT_EQ(by_name(attention).count("page"), 3u);  // key 29 is still on the first page
  SpanView late{0, 34, 1, attention.spans[0].pages};
  attention.spans = &late;
  attention.span_count = 1;
  const auto found = by_name(attention);
  ASSERT_EQ(found.count("page"), 1u);
  EXPECT_EQ(found.find("page")->second.data, late.pages[1]);
  EXPECT_EQ(found.find("page")->second.bytes(), static_cast<size_t>(attention.layout.page_bytes()));
}

TEST(Operands, DecodeAttentionIsThatOfSingleRows) {
  OpChain chain(1, {});
  std::vector<std::byte> block(chain.content());
  AttentionParams attention = std::get<AttentionParams>(chain.ops(block.data())[4]);
  EXPECT_EQ(decode_attention(attention).flops, 0);
  SpanView spans[] = {{0, 30, 3, attention.spans[0].pages}, {3, 34, 1, attention.spans[0].pages}};
  attention.spans = spans;
  attention.span_count = 2;
  EXPECT_EQ(decode_attention(attention).flops, 4.0 * 4 * 24 * 35);
  const double page = static_cast<double>(attention.layout.page_bytes());
  EXPECT_EQ(decode_attention(attention).bytes, page / attention.layout.page_tokens * 35);
  EXPECT_EQ(decode_attention(GemmParams{}).bytes, 0);
}

TEST(Operands, AppendWritesOnlyThePagesOfItsTokens) {
  OpChain chain(1, {});
  std::vector<std::byte> block(chain.content());
  KvAppendParams append = std::get<KvAppendParams>(chain.ops(block.data())[3]);
  EXPECT_EQ(by_name(append).count("page"), 3u);
  SpanView late{0, 32, 2, append.spans[0].pages};
  append.spans = &late;
  append.span_count = 1;
  const auto found = by_name(append);
  ASSERT_EQ(found.count("page"), 1u);
  EXPECT_EQ(found.find("page")->second.data, late.pages[1]);
  EXPECT_EQ(found.find("page")->second.access, Access::update);
}

TEST(Operands, AttentionReadsThePagesOfItsKeyRange) {
  OpChain chain(1, {});
  std::vector<std::byte> block(chain.content());
  AttentionParams attention = std::get<AttentionParams>(chain.ops(block.data())[4]);
  std::byte* const* all = attention.spans[0].pages;
  std::byte* pages[] = {nullptr, all[1], nullptr};
  SpanView part{0, 30, 60, pages, 32, 64};
  attention.spans = &part;
  attention.span_count = 1;
  EXPECT_EQ(op_flops(attention), 4.0 * 4 * 24 * (32 * 33 / 2 + 26 * 32));
  auto found = by_name(attention);
  ASSERT_EQ(found.count("page"), 1u);
  EXPECT_EQ(found.find("page")->second.data, all[1]);
  attention.window = 10;
  EXPECT_EQ(op_flops(attention), 4.0 * 4 * 24 * (9 * 10 / 2 + 23 * 10 + 9 * 10 / 2));
  part.key_begin = 96;  // all rows come before
  part.key_end = 128;
  EXPECT_EQ(op_flops(attention), 0);
  EXPECT_EQ(by_name(attention).count("page"), 0u);
  part = {0, 60, 1, pages, 0, 32};  // the window comes after
  EXPECT_EQ(op_flops(attention), 0);
  found = by_name(attention);
  EXPECT_EQ(found.count("page"), 0u);
  EXPECT_EQ(found.count("out"), 1u);
}

TEST(Operands, AttentionInPartsTouchesTheStatesOfItsRows) {
  OpChain chain(1, {});
  std::vector<std::byte> block(chain.content());
  AttentionParams attention = std::get<AttentionParams>(chain.ops(block.data())[4]);
  AttentionState states[OpChain::kRows * OpChain::kHeads];
  attention.states = states;
  EXPECT_EQ(by_name(attention).count("states"), 0u);
  SpanView spans[] = {attention.spans[0], attention.spans[1]};
  attention.spans = spans;
  const auto expect_access = [&](bool resume, bool partial, Access state, Access out) {
    spans[1].resume = resume;
    spans[1].partial = partial;
    const auto found = by_name(attention);
    ASSERT_EQ(found.count("states"), 1u);
    const Operand& operand = found.find("states")->second;
    EXPECT_EQ(operand.data, reinterpret_cast<std::byte*>(states + 3 * OpChain::kHeads));
    EXPECT_EQ(operand.bytes(), 4 * OpChain::kHeads * sizeof(AttentionState));
    EXPECT_EQ(operand.access, state);
    EXPECT_EQ(operands(attention).end()[-2].access, out);
  };
  expect_access(false, true, Access::write, Access::write);
  expect_access(true, true, Access::update, Access::update);
  expect_access(true, false, Access::read, Access::update);
}

TEST(Operands, AppendReadsAndWritesItsKeyRangeOnly) {
  OpChain chain(1, {});
  std::vector<std::byte> block(chain.content());
  KvAppendParams append = std::get<KvAppendParams>(chain.ops(block.data())[3]);
  std::byte* pages[] = {append.spans[0].pages[0], nullptr};
  SpanView part{2, 30, 3, pages, 0, 32};
  append.spans = &part;
  append.span_count = 1;
  auto found = by_name(append);
  ASSERT_EQ(found.count("page"), 1u);
  EXPECT_EQ(found.find("page")->second.data, pages[0]);
  EXPECT_EQ(found.find("k")->second.data,
            reinterpret_cast<const std::byte*>(append.k + 2 * append.k_stride));
  EXPECT_EQ(found.find("k")->second.rows, 2u);
  std::byte* other[] = {nullptr, append.spans[0].pages[0]};
  part = {2, 30, 3, other, 32, INT32_MAX};
  found = by_name(append);
  ASSERT_EQ(found.count("page"), 1u);
  EXPECT_EQ(found.find("v")->second.data,
            reinterpret_cast<const std::byte*>(append.v + 4 * append.v_stride));
  EXPECT_EQ(found.find("v")->second.rows, 1u);
  part.key_begin = 64;
  EXPECT_TRUE(operands(append).empty());
}

TEST(Operands, GatherReadsTheRowsItIsToldTo) {
  float x[100], out[20];
  const int32_t rows[] = {7, 3};
  const Op gather = GatherRowsParams{x, 10, rows, 2, 10, out, 10};
  const std::vector<Operand> list = operands(gather);
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].data, reinterpret_cast<std::byte*>(x + 70));
  EXPECT_EQ(list[1].data, reinterpret_cast<std::byte*>(x + 30));
  EXPECT_EQ(list[2].access, Access::write);
}

TEST(Operands, AllOfTheChainLieInItsBlock) {
  for (const std::string_view weight : {"fp32", "bf16", "int8", "int4-g64"}) {
    OpChain chain(2, {weight, "int4", 5});
    std::vector<std::byte> block(chain.content());
    for (const Op& op : chain.ops(block.data())) {
      for (const Operand& operand : operands(op)) {
        EXPECT_GE(operand.data, block.data()) << op_name(op) << " " << operand.name;
        EXPECT_LE(operand.data + operand.bytes(), block.data() + block.size())
            << op_name(op) << " " << operand.name;
      }
    }
  }
}

}  // namespace
}  // namespace penstock

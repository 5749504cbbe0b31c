// The operands of an op are all it reads and all it writes: shown by running the kernels with
// everything else poisoned.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "device/device.h"
#include "device/op_chain.h"
#include "device/operands.h"
#include "kernels/cpu/table.h"

namespace penstock {
namespace {

using Bytes = std::vector<std::byte>;

// 1 for every byte of the block at `base` that belongs to an operand of the wanted kind.
std::vector<char> mask_of(const Op& op, const std::byte* base, size_t bytes, Access unwanted) {
  std::vector<char> mask(bytes, 0);
  for (const Operand& operand : operands(op)) {
    if (operand.access == unwanted) continue;
    for (size_t row = 0; row < operand.rows; ++row) {
      const size_t begin = operand.data - base + row * operand.stride_bytes;
      std::fill_n(mask.begin() + begin, operand.row_bytes, 1);
    }
  }
  return mask;
}

class OperandsComplete : public testing::TestWithParam<ChainFormats> {
 protected:
  void open(std::string_view isa, size_t bytes) {
    lanes_ = std::make_unique<LaneSet>();
    DeviceOptions options;
    options.spec = "cpu:" + std::string(isa);
    device_ = open_device(options, *lanes_, host_);
    block_ = device_->allocate(bytes, host_, "block");
  }

  // The block after `op` has run on `before`.
  Bytes run(const Op& op, const Bytes& before) {
    std::memcpy(block_.data(), before.data(), before.size());
    device_->wait(device_->run(op, {}));
    return {block_.data(), block_.data() + before.size()};
  }

  Bytes expect_complete(const Op& op, const Bytes& before) {
    const std::vector<char> read = mask_of(op, block_.data(), before.size(), Access::write);
    const std::vector<char> written = mask_of(op, block_.data(), before.size(), Access::read);
    Bytes poisoned(before);
    for (size_t i = 0; i < poisoned.size(); ++i) {
      if (!read[i]) poisoned[i] = std::byte{0xff};
    }
    const Bytes after = run(op, before), after_poison = run(op, poisoned);
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_EQ(after_poison[i], written[i] ? after[i] : poisoned[i]) << op_name(op) << " at " << i;
      EXPECT_EQ(after[i], written[i] ? after[i] : before[i]) << op_name(op) << " wrote at " << i;
      if (HasFailure()) return after;
    }
    EXPECT_NE(after, before) << op_name(op) << " did nothing";
    return after;
  }

  Budget host_{{Tier::host, 0}, 1 << 28};
  std::unique_ptr<LaneSet> lanes_;
  std::unique_ptr<Device> device_;
  Buffer block_;
};

TEST_P(OperandsComplete, NothingElseIsReadOrWritten) {
  for (const std::string_view isa : supported_isas()) {
    OpChain chain(31, GetParam());
    open(isa, chain.content().size());
    Bytes state = chain.content();
    for (const Op& op : chain.ops(block_.data())) {
      state = expect_complete(op, state);
      ASSERT_FALSE(HasFailure()) << isa;
    }
    device_.reset();
  }
}

// The rows 254 to 258 of a sequence: their keys up to 256 are in one place, the rest in another.
TEST_P(OperandsComplete, PartsOfASequence) {
  for (const std::string_view isa : supported_isas()) {
    OpChain chain(32, GetParam());
    const size_t end = chain.content().size();
    Bytes state = chain.content();
    state.resize(end + 5 * OpChain::kHeads * sizeof(AttentionState), std::byte{0x3c});
    open(isa, state.size());
    const std::vector<Op> ops = chain.ops(block_.data());
    KvAppendParams append = std::get<KvAppendParams>(ops[3]);
    AttentionParams attention = std::get<AttentionParams>(ops[4]);
    attention.window = 20;
    attention.states = reinterpret_cast<AttentionState*>(block_.data() + end);
    std::byte* low[9] = {};
    std::byte* high[9] = {};
    low[7] = append.spans[0].pages[0];
    high[8] = append.spans[0].pages[1];
    SpanView spans[] = {{0, 254, 5, low, 0, 256}, {0, 254, 5, high, 256}};
    for (SpanView& span : spans) {
      (&span == spans ? span.partial : span.resume) = true;
      append.spans = attention.spans = &span;
      append.span_count = attention.span_count = 1;
      state = expect_complete(append, state);
      state = expect_complete(attention, state);
      ASSERT_FALSE(HasFailure()) << isa;
    }
    device_.reset();
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, OperandsComplete, testing::ValuesIn(kChainFormats));

}  // namespace
}  // namespace penstock

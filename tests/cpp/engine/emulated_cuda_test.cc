// Whole engines over the emulated CUDA kernels, on the virtual accelerator: the ops as the engine
// makes them, with its strides, page tables and cuts. Among themselves results do not depend on the
// policy in any bit. Tokens of raw formats are those of the CPU device; quantised activations and
// caches round to other codes for the least difference before them, so that those of the CPU's own
// instruction sets are as far apart (0.45 in the last int8 case), and logits are held to that.
// Weight-only products are compared with the CPU's fp32 activations; int8 ones are four times as
// far from those.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "kernels/cpu/table.h"
#include "penstock/engine.h"
#include "support/outcome.h"
#include "support/policy_maker.h"
#include "support/simt_emulator.h"
#include "support/tiny_engine.h"

namespace penstock {
namespace {

using testing::Outcome;

struct Format {
  bool llama;
  const char *weights, *kv, *compute;
  double most_apart;  // of logits, to the CPU's
  bool same_tokens;
  const char* isa = "cuda";
};

class EmulatedCuda : public ::testing::TestWithParam<Format> {
 protected:
  static void SetUpTestSuite() {
    static const bool added = [] {
      add_kernel_table(test::emulated_cuda_table());
      add_kernel_table(test::emulated_turing_table());
      return true;
    }();
    ASSERT_TRUE(added);
  }

  EmulatedCuda() {
    options_.weights = GetParam().weights;
    options_.kv = GetParam().kv;
    options_.expected_rows = 3;
    options_.max_prompt = 40;
    options_.max_new = 4;
  }

  static std::string config() {
    const std::string kv = GetParam().kv;
    const std::string dtype = kv == "bf16" ? "bfloat16" : (kv == "fp16" ? "float16" : "float32");
    return GetParam().llama ? testing::tiny_llama_config(dtype) : testing::tiny_opt_config(dtype);
  }

  static std::vector<Request> requests(int vocab) {
    std::mt19937 random(11);
    std::vector<Request> made;
    for (const int length : {3, 38, 17}) {
      Request& request = made.emplace_back(testing::greedy_request(4));
      for (int i = 0; i < length; ++i) {
        request.tokens.push_back(static_cast<int>(random() % static_cast<unsigned>(vocab)));
      }
      request.score = length == 17;
    }
    return made;
  }

  static Outcome run(const EngineOptions& options) {
    Engine engine(options);
    const std::vector<Request> all = requests(engine.vocab());
    Outcome outcome;
    testing::collect(engine, testing::submit(engine, all), outcome);
    outcome.logits = engine.logits(all.front().tokens);
    testing::expect_honest(engine.stats());
    return outcome;
  }

  testing::TinyEngine tiny_{config()};
  EngineOptions options_ = tiny_.options;
};

TEST_P(EmulatedCuda, TokensAreThoseOfTheCpuUnderAnyPolicy) {
  EngineOptions exact = options_;
  options_.compute = GetParam().compute;
  if (options_.compute == "weight_only") exact.compute = "exact";  // the CPU has no such products
  const Outcome cpu = run(exact);
  testing::PolicyMaker maker(5);
  EngineOptions cuda = options_;
  cuda.device = std::string("virtual:") + GetParam().isa;
  const Outcome plain = run(cuda);
  ASSERT_EQ(plain.logits.size(), cpu.logits.size());
  double apart = 0;
  for (size_t i = 0; i < cpu.logits.size(); ++i) {
    apart = std::max(apart, std::abs(double{plain.logits[i]} - double{cpu.logits[i]}));
  }
  EXPECT_LE(apart, GetParam().most_apart);
  if (GetParam().same_tokens) {
    EXPECT_EQ(plain.tokens, cpu.tokens);
  }
  for (int i = 0; i < 3; ++i) {
    EngineOptions options = maker.options(options_, cuda.device);
    options.invariant = i != 1;  // nothing here goes another way
    if (i == 2) options.device = cuda.device + "," + cuda.device;
    ASSERT_TRUE(run(options).same(plain)) << options.policy;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Formats, EmulatedCuda,
    ::testing::Values(Format{true, "auto", "fp32", "fast", 1e-4, true},
                      Format{true, "int4", "int8", "fast", 0.2, false},
                      Format{true, "auto", "bf16", "fast", 6e-2, true},
                      Format{true, "auto", "bf16", "fast", 6e-2, true, "cuda75"},
                      Format{true, "auto", "fp16", "fast", 1e-2, true},
                      Format{false, "auto", "fp16", "fast", 2e-2, true},
                      Format{false, "int8", "int4", "fast", 0.8, false},
                      Format{true, "int4", "fp32", "weight_only", 6e-2, true},
                      Format{false, "int8", "fp32", "weight_only", 0.15, true}));

std::set<bool> noted_invariant;
void note_gemm(const GemmParams& params, const KernelContext& context) {
  noted_invariant.insert(params.invariant);
  test::emulated_cuda_table().gemm(params, context);
}

TEST(Engine, ProductsKnowWhetherTheyAreInvariant) {
  static KernelTable noting = test::emulated_cuda_table();
  noting.isa = "noting";
  noting.gemm = note_gemm;
  add_kernel_table(noting);
  const testing::TinyEngine tiny(testing::tiny_llama_config("float32"));
  EngineOptions options;
  options.model = tiny.options.model;
  options.weights = "int4";
  options.device = "virtual:noting";
  options.host_memory = options.device_memory.emplace_back(uint64_t{64} << 20);
  for (const bool invariant : {true, false}) {
    options.invariant = invariant;
    noted_invariant.clear();
    Engine engine(options);
    engine.logits({1, 2, 3});
    EXPECT_EQ(noted_invariant, std::set<bool>{invariant});
    const std::string part = invariant ? "\"invariant\":true" : "\"invariant\":false";
    EXPECT_NE(engine.describe().find(part), std::string::npos) << engine.describe();
  }
}

// Before weights are read.
TEST(Engine, WeightOnlyProductsAreOfDevicesThatHaveThem) {
  for (const char* device : {"cpu", "virtual", "cpu:portable"}) {
    EngineOptions options;
    options.model = "dummy:llama-2-7b";
    options.weights = "int4";
    options.host_memory = uint64_t{8} << 30;
    options.compute = "weight_only";
    options.device = device;
    try {
      Engine engine(options);
      FAIL() << device;
    } catch (const ApiError& error) {
      EXPECT_NE(std::string(error.what()).find("compute"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("fast, exact"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace penstock

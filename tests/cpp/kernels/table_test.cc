#include "kernels/cpu/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/error.h"

namespace penstock {
namespace {

TEST(KernelTable, PortableIsAlwaysThereAndComesLast) {
  const auto isas = supported_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.back(), "portable");
  EXPECT_EQ(kernel_table("portable").isa, "portable");
  std::string all;
  for (const std::string_view isa : isas) all += std::string(isa) + " ";
  RecordProperty("isas", all);  // read by tests/aarch64/run.sh
}

TEST(KernelTable, AutoIsTheFirst) {
  EXPECT_EQ(&kernel_table(""), &kernel_table(supported_isas().front()));
  EXPECT_EQ(&kernel_table("auto"), &kernel_table(""));
}

TEST(KernelTable, EveryEntryOfEverySupportedIsaIsFilled) {
  for (const std::string_view isa : supported_isas()) {
    const KernelTable& table = kernel_table(isa);
    EXPECT_EQ(table.isa, isa);
    EXPECT_TRUE(table.embed && table.norm && table.prepare && table.gemm && table.gated);
    EXPECT_TRUE(table.rotary && table.kv_append && table.attention && table.gather_rows);
    EXPECT_TRUE(table.score);
  }
}

TEST(KernelTable, AnUnknownNameIsRefusedWithTheAllowedOnes) {
  try {
    kernel_table("sse9");
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("portable"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("sse9"), std::string::npos);
  }
}

}  // namespace
}  // namespace penstock

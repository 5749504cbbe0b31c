#include "base/name_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace penstock {
namespace {

TEST(NameSet, AgreesWithTheStandardSet) {
  std::mt19937_64 random(71);
  NameSet names;
  for (const int range : {5, 20, 30'000}) {
    std::set<std::string> expected;
    names.clear();
    for (int i = 0; i < 40'000; ++i) {
      const uint64_t number = random() % range;
      const std::string name = (number % 3 == 0 ? "layer." : "") + std::to_string(number);
      const bool is_new = expected.insert(name).second;
      ASSERT_EQ(names.insert(name), is_new);
      if (is_new) {
        ASSERT_EQ(names.last(), name);
      }
    }
    ASSERT_EQ(names.size(), expected.size());
  }
}

TEST(NameSet, EmptyNamesAndNamesThatJoinAlike) {
  NameSet names;
  EXPECT_TRUE(names.insert(""));
  EXPECT_FALSE(names.insert(""));
  EXPECT_TRUE(names.insert("ab"));
  EXPECT_TRUE(names.insert("a"));
  EXPECT_TRUE(names.insert("b"));
  EXPECT_FALSE(names.insert("ab"));
  EXPECT_EQ(names.size(), 4u);
}

}  // namespace
}  // namespace penstock

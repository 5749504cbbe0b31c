#include "base/json.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace penstock {
namespace {

std::string refusal(const std::string& text, const JsonLimits& limits = {}) {
  try {
    parse_strict_json(text, "some.json", limits);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::malformed) << text;
    EXPECT_EQ(error.detail().file, "some.json");
    EXPECT_TRUE(error.detail().field.starts_with("offset ")) << error.what();
    return error.what();
  }
  return "accepted";
}

TEST(StrictJson, BuildsTheTree) {
  const Json json = parse_strict_json(
      " {\"a\": [1, -2, 2.0, true, null, {\"b\": \"\\u00e4\"}], \"c\": {}} \n", "f");
  EXPECT_EQ(json.dump(), "{\"a\":[1,-2,2.0,true,null,{\"b\":\"\xc3\xa4\"}],\"c\":{}}");
  EXPECT_TRUE(json["a"][0].is_number_integer());
  EXPECT_FALSE(json["a"][2].is_number_integer());
  EXPECT_EQ(parse_strict_json("18446744073709551615", "f").get<uint64_t>(), ~uint64_t{0});
  EXPECT_EQ(parse_strict_json("-9223372036854775808", "f").get<int64_t>(), INT64_MIN);
  EXPECT_DOUBLE_EQ(parse_strict_json("-0.0", "f").get<double>(), 0.0);
}

TEST(StrictJson, RefusesWithReasonAndOffset) {
  struct Case {
    std::string text, part;
  };
  const std::string nul(1, '\0');
  const Case cases[] = {
      {"", "not valid JSON"},
      {"{", "not valid JSON"},
      {"{\"a\": 1,}", "offset 8"},
      {"[1 2]", "offset 3"},
      {"{\"a\": NaN}", "not valid JSON"},
      {"[Infinity]", "not valid JSON"},
      {"[1] // no", "not valid JSON"},
      {"{} {}", "offset 3"},
      {"\xef\xbb\xbf{}", "byte order mark"},
      {"{}" + nul, "offset 2: a NUL"},
      {"[\"\\u0000\"]", "contains NUL"},
      {"{\"a\\u0000\": 1}", "contains NUL"},
      {"{\"a\": 1, \"a\": 2}", "the key 'a' appears twice"},
      {"{\"a\": 1, \"\\u0061\": 2}", "the key 'a' appears twice"},
      {"{\"x\": [{\"a\": 1, \"b\": 0, \"a\": 2}]}", "offset 27"},
      {"[-0]", "-0 is not an integer"},
      {"[01]", "not valid JSON"},
      {"[+1]", "not valid JSON"},
      {"[18446744073709551616]", "beyond 64 bits"},
      {"[-9223372036854775809]", "beyond 64 bits"},
      {"[1e999]", "not valid JSON"},
      {"[\"\xc0\xaf\"]", "not valid JSON"},
      {"[\"\xed\xa0\x80\"]", "not valid JSON"},
      {"[\"\x80\"]", "not valid JSON"},
      {"[\"\xf0\x9f\"]", "not valid JSON"},
      {"[\"\\ud800\"]", "not valid JSON"},
      {"[\"\\udc00x\"]", "not valid JSON"},
      {"[\"a\tb\"]", "not valid JSON"},
      {std::string(100'000, '['), "nested deeper than 32"},
      {std::string(33, '[') + std::string(33, ']'), "nested deeper than 32"},
  };
  for (const Case& bad : cases) {
    const std::string text = refusal(bad.text);
    EXPECT_NE(text.find(bad.part), std::string::npos)
        << escape_for_message(bad.text) << " -> " << text;
    EXPECT_LT(text.size(), 300u);
  }
  EXPECT_EQ(refusal(std::string(32, '[') + std::string(32, ']')), "accepted");
}

TEST(StrictJson, MessagesAreSafeForATerminal) {
  const std::string text = refusal("{\"\x1b[2J\x07\xff\": tru\x1b[0m}");
  for (const char c : text) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << text;
}

TEST(StrictJson, CountsValues) {
  EXPECT_EQ(refusal("[1,2,3]", {.depth = 32, .values = 4}), "accepted");
  EXPECT_NE(refusal("[1,2,3,4]", {.depth = 32, .values = 4}).find("more than 4 values"),
            std::string::npos);
  EXPECT_NE(refusal("{\"a\":1,\"b\":2}", {.depth = 32, .values = 4}).find("more than 4"),
            std::string::npos);
}

}  // namespace
}  // namespace penstock

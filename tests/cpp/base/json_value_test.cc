#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace penstock {
namespace {

ErrorCode code_of(const auto& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was refused";
  return ErrorCode::io;
}

TEST(JsonValue, IsMadeAndRead) {
  Json json = {{"b", true}, {"a", -1}, {"list", std::vector<int>{1, 2}}, {"none", nullptr}};
  json["in"]["deep"] = {{"x", 0.5}};
  json["more"].push_back("text");
  json["list"].push_back(uint64_t{3});
  EXPECT_EQ(json.dump(),
            "{\"a\":-1,\"b\":true,\"in\":{\"deep\":{\"x\":0.5}},\"list\":[1,2,3],"
            "\"more\":[\"text\"],\"none\":null}");
  EXPECT_EQ(json.size(), 6u);
  EXPECT_EQ(json["a"].get<int>(), -1);
  EXPECT_EQ(json["a"].get<double>(), -1);
  EXPECT_TRUE(json["b"].get<bool>());
  EXPECT_EQ(json["list"][2].get<uint64_t>(), 3u);
  EXPECT_EQ(json["more"].back().get<std::string>(), "text");
  EXPECT_TRUE(json["none"].is_null());
  EXPECT_EQ(json.find("c"), nullptr);
  EXPECT_EQ(Json(1).find("c"), nullptr);
  json.erase("in");
  json.update({{"a", 5}, {"c", Json::array()}});
  EXPECT_FALSE(json.contains("in"));
  EXPECT_EQ(json["a"].get<int>(), 5);
  EXPECT_TRUE(json["c"].is_array());
}

TEST(JsonValue, ReadsOfAnotherTypeAreRefused) {
  const Json json = {{"n", 300}, {"minus", -1}, {"text", "x"}, {"huge", ~uint64_t{0}}};
  EXPECT_EQ(code_of([&] { json["text"].get<int>(); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { json["n"].get<std::string>(); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { json["n"].get<bool>(); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { json["n"].get<uint8_t>(); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { json["minus"].get<uint64_t>(); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { json["huge"].get<int64_t>(); }), ErrorCode::internal);
  EXPECT_EQ(json["huge"].get<uint64_t>(), ~uint64_t{0});
  EXPECT_EQ(code_of([&] { json["absent"].size(); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { json["text"].elements(); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { Json(1).push_back(2); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { Json("\xff").dump(); }), ErrorCode::invalid_argument);
}

TEST(JsonValue, ComparesNumbersByValue) {
  EXPECT_EQ(Json(1), Json(1u));
  EXPECT_EQ(Json(1), Json(1.0));
  EXPECT_EQ(Json(1u), Json(1.0));
  EXPECT_NE(Json(-1), Json(~uint64_t{0}));
  EXPECT_NE(Json(1), Json(true));
  EXPECT_NE(Json(0), Json(nullptr));
  EXPECT_EQ((Json{{"a", 1}, {"b", "x"}}), (Json{{"b", "x"}, {"a", 1.0}}));
  EXPECT_NE((Json{{"a", 1}}), (Json{{"a", 2}}));
}

// nlohmann_json is the independent writer: the text is the same, byte by byte.
TEST(JsonValue, WritesDoublesLikeAnotherWriter) {
  std::mt19937_64 random(17);
  const auto same = [](double value) {
    ASSERT_EQ(Json(value).dump(), nlohmann::json(value).dump());
    if (std::isfinite(value)) {
      ASSERT_EQ(parse_strict_json(Json(value).dump(), "f").get<double>(), value);
    }
  };
  for (const double value : {0.0, -0.0, 1.0, -1.0, 0.1, 1e-5, 1e15, 1e16, 1e22, 5e-324, 1e300,
                             std::numeric_limits<double>::max(),
                             std::numeric_limits<double>::infinity(), std::nan("")}) {
    same(value);
  }
  for (int i = 0; i < 200'000; ++i) same(std::bit_cast<double>(random()));
  for (int i = 0; i < 100'000; ++i) same(static_cast<double>(random() % 1'000'000) / 1000);
}

struct Both {
  Json ours;
  nlohmann::json theirs;
};

Both random_value(std::mt19937_64& random, int depth) {
  const auto text = [&] {
    const std::string pieces[] = {"a",    "\"", "\\",       "\n",           "\t",
                                  "\b",   "\f", "\r",       "\x01",         "\x1f",
                                  "\x7f", "/",  "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    std::string made;
    for (uint64_t i = random() % 6; i > 0; --i) made += pieces[random() % std::size(pieces)];
    return made;
  };
  const auto same = [](const auto& value) { return Both{value, value}; };
  switch (random() % (depth > 0 ? 8 : 6)) {
    case 0:
      return same(nullptr);
    case 1:
      return same(random() % 2 == 0);
    case 2:
      return same(static_cast<int64_t>(random()));
    case 3:
      return same(random());
    case 4:
      return same(static_cast<double>(random() % 1000) / 8);
    case 5:
      return same(text());
    case 6: {
      Both array{Json::array(), nlohmann::json::array()};
      for (uint64_t i = random() % 4; i > 0; --i) {
        const Both element = random_value(random, depth - 1);
        array.ours.push_back(element.ours);
        array.theirs.push_back(element.theirs);
      }
      return array;
    }
    default: {
      Both object{Json::object(), nlohmann::json::object()};
      for (uint64_t i = random() % 4; i > 0; --i) {
        const std::string key = text();
        const Both member = random_value(random, depth - 1);
        object.ours[key] = member.ours;
        object.theirs[key] = member.theirs;
      }
      return object;
    }
  }
}

TEST(JsonValue, WritesTreesLikeAnotherWriter) {
  std::mt19937_64 random(18);
  for (int i = 0; i < 5000; ++i) {
    const Both value = random_value(random, 4);
    for (const int indent : {-1, 0, 2}) {
      ASSERT_EQ(value.ours.dump(indent), value.theirs.dump(indent));
    }
    ASSERT_EQ(parse_strict_json(value.ours.dump(2), "f"), value.ours);
  }
}

}  // namespace
}  // namespace penstock

#include "base/error.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace penstock {
namespace {

TEST(Error, WhatHasAllPartsInOrder) {
  const Error error(
      ErrorCode::malformed, "bad shape",
      {.file = "a.safetensors", .field = "/x/shape", .found = "-1", .allowed = ">= 0"});
  EXPECT_STREQ(error.what(), "a.safetensors: /x/shape: bad shape (found -1, allowed >= 0)");
  EXPECT_EQ(error.message(), "bad shape");
  EXPECT_EQ(error.code(), ErrorCode::malformed);
  EXPECT_EQ(error.detail().field, "/x/shape");
}

TEST(Error, EmptyPartsAreLeftOut) {
  EXPECT_STREQ(Error(ErrorCode::io, "read failed").what(), "read failed");
  EXPECT_STREQ(
      Error(ErrorCode::io, "m", {.file = "f", .field = "", .found = "", .allowed = "2"}).what(),
      "f: m (allowed 2)");
  EXPECT_STREQ(
      Error(ErrorCode::io, "m", {.file = "", .field = "p", .found = "1", .allowed = ""}).what(),
      "p: m (found 1)");
}

TEST(Error, FileNameIsSafeForATerminal) {
  const Error error(ErrorCode::io, "m",
                    {.file = "a\x1b[2Jb", .field = "", .found = "", .allowed = ""});
  EXPECT_STREQ(error.what(), "a\\x1B[2Jb: m");
  EXPECT_EQ(error.detail().file, "a\x1b[2Jb");
}

TEST(Error, CodeNamesAreDistinct) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(ErrorCode::internal); ++code) {
    names.insert(error_code_name(static_cast<ErrorCode>(code)));
  }
  EXPECT_EQ(names.size(), 11u);
  EXPECT_EQ(error_code_name(ErrorCode::disk_full), "disk_full");
  EXPECT_EQ(error_code_name(ErrorCode::invalid_argument), "invalid_argument");
}

TEST(EscapeForMessage, ControlsAndBadUtf8BecomeHex) {
  EXPECT_EQ(escape_for_message("plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
            "plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ(escape_for_message(std::string_view("a\0\n\x7f", 4)), "a\\x00\\x0A\\x7F");
  EXPECT_EQ(escape_for_message("{\"a\": 'b'}"), "{\"a\": 'b'}");
  EXPECT_EQ(escape_for_message("\x80"), "\\x80");                    // stray continuation
  EXPECT_EQ(escape_for_message("\xc0\xaf"), "\\xC0\\xAF");           // overlong
  EXPECT_EQ(escape_for_message("\xe0\x80\xaf"), "\\xE0\\x80\\xAF");  // overlong
  EXPECT_EQ(escape_for_message("\xed\xa0\x80"), "\\xED\\xA0\\x80");  // surrogate
  EXPECT_EQ(escape_for_message("\xf4\x90\x80\x80"), "\\xF4\\x90\\x80\\x80");
  EXPECT_EQ(escape_for_message("\xe2\x82"), "\\xE2\\x82");           // cut sequence
  EXPECT_EQ(escape_for_message("\xc2\x9b"), "\\xC2\\x9B");           // C1 control
  EXPECT_EQ(escape_for_message("\xe2\x80\xae"), "\\xE2\\x80\\xAE");  // direction override
}

TEST(QuoteForMessage, StandsBetweenQuotesThatTheTextLacks) {
  EXPECT_EQ(quote_for_message("a"), "'a'");
  EXPECT_EQ(quote_for_message("a\"b"), "'a\"b'");
  EXPECT_EQ(quote_for_message("a'b"), "\"a'b\"");
  EXPECT_EQ(quote_for_message("a\n"), "'a\\x0A'");
}

TEST(EscapeForMessage, CutsAtTheLimitWithoutSplitting) {
  EXPECT_EQ(escape_for_message("abcdefghij", 10), "abcdefghij");
  EXPECT_EQ(escape_for_message("abcdefghijk", 10), "abcdefg...");
  EXPECT_EQ(escape_for_message("abcde\xc3\xa4\xc3\xa4\xc3\xa4", 9), "abcde...");
  EXPECT_EQ(escape_for_message("\n\n\n", 11), "\\x0A\\x0A...");
  EXPECT_EQ(escape_for_message("abc", 2), "");
}

TEST(EscapeForMessage, RandomBytesNeverExceedTheLimitNorKeepControls) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string text(random() % 64, '\0');
    for (char& c : text) c = static_cast<char>(random());
    const size_t limit = random() % 100;
    const std::string out = escape_for_message(text, limit);
    ASSERT_LE(out.size(), limit);
    ASSERT_EQ(out, escape_for_message(out, limit));
    for (const char c : out) ASSERT_TRUE(static_cast<unsigned char>(c) >= 0x20);
  }
}

TEST(Check, ThrowsInternal) {
  EXPECT_NO_THROW(check(true, "never"));
  try {
    check(false, "one lane per kind");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
    EXPECT_STREQ(error.what(), "one lane per kind");
  }
}

}  // namespace
}  // namespace penstock

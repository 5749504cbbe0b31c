// The rules of the safetensors format; the ids are those of the list of hostile inputs (ST01 to
// ST25).
#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "checkpoint/header_visitor.h"
#include "checkpoint/safetensors_builder.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace penstock {
namespace {

SafetensorsHeader parse(const std::string& content, bool direct = true,
                        const std::string& name = "x.safetensors") {
  const TempFolder folder;
  const File file = File::open_read(folder.write(name, content), direct);
  return read_safetensors_header(file);
}

// Malformed, with file, a field and the given part in its text.
void refuse(const std::string& content, const std::string& part, const std::string& field = "") {
  const Error error = caught([&] { parse(content); });
  const std::string text = error.what();
  EXPECT_EQ(error_code_name(error.code()), "malformed") << text;
  EXPECT_NE(text.find(part), std::string::npos) << text << " lacks " << part;
  EXPECT_NE(error.detail().file.find("x.safetensors"), std::string::npos) << text;
  EXPECT_FALSE(error.detail().field.empty()) << text;
  if (!field.empty()) {
    EXPECT_EQ(error.detail().field, field) << text;
  }
  for (const char c : text)
    ASSERT_GE(static_cast<unsigned char>(c), 0x20) << "unsafe for a terminal";
}

void refuse_header(const std::string& header, size_t data, const std::string& part,
                   const std::string& field = "") {
  refuse(safetensors_file(header, data), part, field);
}

void refuse_entry(const std::string& body, size_t data, const std::string& part,
                  const std::string& field = "") {
  refuse_header("{\"a\":{" + body + "}}", data, part, field);
}

std::string shape_entry(const std::string& shape) {
  return "\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":[0,4]";
}

std::string offsets_entry(const std::string& offsets) {
  return "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" + offsets;
}

TEST(Safetensors, ReadsEveryField) {
  const std::string header = "{\"__metadata__\":{\"format\":\"pt\",\"k\":\"\\u00e4\"}," +
                             entry("w", "BF16", "[2,3]", 0, 12) + "," +
                             entry("b", "F32", "[2]", 12, 20) + "}";
  const SafetensorsHeader read = parse(safetensors_file(header, 20));
  ASSERT_EQ(read.tensors.size(), 2u);
  EXPECT_EQ(read.tensors[0].name, "w");
  EXPECT_EQ(read.tensors[0].dtype, "BF16");
  EXPECT_EQ(read.tensors[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(read.tensors[0].offset, 8 + header.size());
  EXPECT_EQ(read.tensors[0].bytes, 12u);
  EXPECT_EQ(read.tensors[1].offset, 8 + header.size() + 12);
  EXPECT_EQ(read.metadata.at("format"), "pt");
  EXPECT_EQ(read.metadata.at("k"), "\xc3\xa4");
  EXPECT_EQ(read.digest.size(), 32u);
  EXPECT_NE(read.digest, parse(simple_file({"w"})).digest);
}

TEST(Safetensors, ST01_TooSmall) {
  for (size_t bytes = 1; bytes < 8; ++bytes) {
    refuse(std::string(bytes, '\x01'), "too small", "offset 0");
  }
  refuse("", "an empty file", "offset 0");
}

TEST(Safetensors, ST02_NoObject) {
  refuse(length_prefix(0), "not an object", "offset 8");
  refuse_header("{", 0, "not valid JSON", "offset 1");
  refuse_header("}", 0, "not an object", "offset 8");
}

TEST(Safetensors, ST03_HeaderTooLong) {
  for (const uint64_t length : {uint64_t{100'000'001}, uint64_t{1} << 63, ~uint64_t{0}}) {
    refuse(length_prefix(length) + "{}", "header is too long", "offset 0");
  }
}

TEST(Safetensors, ST04_HeaderPassesTheEnd) {
  refuse(length_prefix(3) + "{}", "passes the end", "offset 0");
  refuse(length_prefix(100'000'000) + "{}", "passes the end", "offset 0");
  refuse(length_prefix(~uint64_t{0} - 7) + "{}", "too long", "offset 0");
}

TEST(Safetensors, ST05_InvalidUtf8) {
  for (const char* bad : {"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\x80", "\xe2\x82",
                          "\xf4\x90\x80\x80", "\xff"}) {
    refuse_header("{" + entry(std::string("a") + bad, "F32", "[1]", 0, 4) + "}", 4,
                  "not valid JSON");
  }
}

TEST(Safetensors, ST06_BadJson) {
  refuse_header("{\"a\":" + std::string(100'000, '[') + "}", 0, "not an object", "/a");
  refuse_header("{\"a\":{\"shape\":" + std::string(100'000, '[') + "}}", 0, "not a flat list",
                "/a/shape/0");
  refuse_header("{" + entry("a", "F32", "[1]", 0, 4) + "}" + std::string(5, '\0'), 4, "NUL byte");
  refuse_header("{}{}", 0, "not valid JSON", "offset 2");
  refuse_header("{" + entry("a", "F32", "[1]", 0, 4) + ",}", 4, "not valid JSON");
  refuse_header("{} // x", 0, "not valid JSON");
  refuse_header("{'a':1}", 0, "not valid JSON");
}

TEST(Safetensors, ST07_WhitespaceAroundIsAccepted) {
  const std::string object = "{" + entry("a", "F32", "[1]", 0, 4) + "}";
  EXPECT_EQ(parse(safetensors_file(" \t\r\n" + object, 4)).tensors.size(), 1u);
  EXPECT_EQ(parse(safetensors_file(object + "  \t\r\n   ", 4)).tensors.size(), 1u);
  refuse_header("\xef\xbb\xbf" + object, 4, "not an object");
}

TEST(Safetensors, ST08_WrongKinds) {
  for (const char* header : {"[]", "\"x\"", "null", "1", "true"})
    refuse_header(header, 0, "not an object");
  for (const char* value : {"1", "null", "[]", "\"x\"", "true", "1.5"}) {
    refuse_header(std::string("{\"a\":") + value + "}", 0, "the entry is not an object", "/a");
  }
  refuse_entry("\"dtype\":\"F32\",\"shape\":[1]", 4, "missing field data_offsets", "/a");
  refuse_entry("\"dtype\":\"F32\",\"data_offsets\":[0,4]", 4, "missing field shape", "/a");
  refuse_entry("\"shape\":[1],\"data_offsets\":[0,4]", 4, "missing field dtype", "/a");
  refuse_entry("", 0, "missing field dtype", "/a");
  refuse_entry(offsets_entry("[0,4]") + ",\"strides\":[1]", 4, "unknown field", "/a/strides");
  refuse_entry("\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,4]", 4, "not a list",
               "/a/shape");
  refuse_entry("\"dtype\":\"F32\",\"shape\":null,\"data_offsets\":[0,4]", 4, "not a list",
               "/a/shape");
}

TEST(Safetensors, ST09_Duplicates) {
  const std::string a = entry("a", "F32", "[1]", 0, 4), b = entry("a", "F32", "[1]", 4, 8);
  refuse_header("{" + a + "," + b + "}", 8, "appears twice");
  refuse_header("{" + a + "," + entry("\\u0061", "F32", "[1]", 4, 8) + "}", 8, "appears twice");
  refuse_entry(offsets_entry("[0,4]") + ",\"shape\":[1]", 4, "appears twice");
  refuse_header("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "appears twice");
  refuse_header("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "appears twice");
  std::string many = "{";
  for (int i = 0; i < 40; ++i) many += entry("n" + std::to_string(i), "F32", "[0]", 0, 0) + ",";
  refuse_header(many + entry("n3", "F32", "[0]", 0, 0) + "}", 0, "the key 'n3' appears twice");
}

TEST(Safetensors, ST10_MetadataIsText) {
  for (const char* value : {"1", "null", "true", "[]", "{}", "{\"x\":\"y\"}", "1.0"}) {
    refuse_header(std::string("{\"__metadata__\":{\"k\":") + value + "}}", 0,
                  "metadata is not text", "/__metadata__/k");
  }
  refuse_header("{\"__metadata__\":\"x\"}", 0, "not an object", "/__metadata__");
  refuse_header("{\"__metadata__\":[\"x\"]}", 0, "not an object", "/__metadata__");
}

TEST(Safetensors, ST11_DTypes) {
  for (const char* dtype : {"F31", "f32", "float32", "", "F32 ", "BF16\\u0000"}) {
    refuse_entry(std::string("\"dtype\":\"") + dtype + "\",\"shape\":[1],\"data_offsets\":[0,4]", 4,
                 std::string(dtype).find("u0000") == std::string::npos ? "unknown dtype" : "NUL");
  }
  for (const char* dtype : {"1", "null", "[\"F32\"]", "{}"}) {
    refuse_entry(std::string("\"dtype\":") + dtype + ",\"shape\":[1],\"data_offsets\":[0,4]", 4,
                 "dtype is not text", "/a/dtype");
  }
  struct Known {
    const char* name;
    size_t bytes;  // of 8 elements
  };
  for (const Known known : {Known{"F64", 64},
                            {"I64", 64},
                            {"C64", 64},
                            {"I32", 32},
                            {"U16", 16},
                            {"BOOL", 8},
                            {"F8_E4M3", 8},
                            {"F8_E5M2", 8},
                            {"I8", 8},
                            {"F4", 4},
                            {"F6_E2M3", 6}}) {
    const auto read = parse(
        safetensors_file("{" + entry("a", known.name, "[8]", 0, known.bytes) + "}", known.bytes));
    EXPECT_EQ(read.tensors.at(0).dtype, known.name);
  }
}

TEST(Safetensors, ST12_BadShapes) {
  refuse_entry(shape_entry("[-1]"), 4, "not a non-negative integer (found -1", "/a/shape/0");
  refuse_entry(shape_entry("[1.0]"), 4, "not a non-negative integer", "/a/shape/0");
  refuse_entry(shape_entry("[1e0]"), 4, "not a non-negative integer");
  refuse_entry(shape_entry("[-0]"), 4, "-0");
  refuse_entry(shape_entry("[1,\"1\"]"), 4, "not a non-negative integer", "/a/shape/1");
  refuse_entry(shape_entry("[true]"), 4, "not a non-negative integer");
  refuse_entry(shape_entry("[[1]]"), 4, "not a flat list", "/a/shape/0");
  refuse_entry(shape_entry("[1,1,1,1,1,1,1,1,1]"), 4, "rank too high", "/a/shape/8");
  refuse_entry(shape_entry("[281474976710657]"), 4, "dimension too large", "/a/shape/0");
  refuse_entry(shape_entry("[18446744073709551616]"), 4, "beyond 64 bits");
  EXPECT_EQ(parse(safetensors_file("{\"a\":{" + shape_entry("[1,1,1,1,1,1,1,1]") + "}}", 4))
                .tensors.size(),
            1u);
}

TEST(Safetensors, ST13_ProductOverflow) {
  const std::string huge = "281474976710656";  // 2^48
  for (const std::string& shape : std::initializer_list<std::string>{
           "[" + huge + "," + huge + "]", "[" + huge + "," + huge + ",0]",
           "[0," + huge + "," + huge + "]", "[" + huge + ",2048,1]"}) {
    refuse_entry(shape_entry(shape), 4, "overflows", "/a");
  }
}

TEST(Safetensors, ST14_PartOfAByte) {
  refuse_header("{" + entry("a", "F4", "[3]", 0, 1) + "}", 1, "no whole number of bytes", "/a");
  refuse_header("{" + entry("a", "F6_E3M2", "[2]", 0, 1) + "}", 1, "no whole number of bytes",
                "/a");
}

TEST(Safetensors, ST15_BadOffsets) {
  refuse_entry(offsets_entry("[]"), 4, "needs two numbers", "/a/data_offsets");
  refuse_entry(offsets_entry("[0]"), 4, "needs two numbers", "/a/data_offsets");
  refuse_entry(offsets_entry("[0,4,4]"), 4, "needs two numbers", "/a/data_offsets/2");
  refuse_entry(offsets_entry("[-4,0]"), 4, "not a non-negative integer");
  refuse_entry(offsets_entry("[0,4.0]"), 4, "not a non-negative integer");
  refuse_entry(offsets_entry("4"), 4, "not a list", "/a/data_offsets");
  refuse_entry(offsets_entry("[4,0]"), 4, "end before they begin", "/a");
  refuse_entry(offsets_entry("[0,8]"), 4, "offset beyond the data (found 8, allowed at most 4)");
  refuse_entry(offsets_entry("[18446744073709551608,18446744073709551612]"), 4,
               "offset beyond the data");
}

TEST(Safetensors, ST16_OverlapsAndGaps) {
  const auto two = [](uint64_t b1, uint64_t e1, uint64_t b2, uint64_t e2) {
    return "{" + entry("a", "U8", "[" + std::to_string(e1 - b1) + "]", b1, e1) + "," +
           entry("b", "U8", "[" + std::to_string(e2 - b2) + "]", b2, e2) + "}";
  };
  refuse_header(two(0, 8, 0, 8), 8, "overlap");
  refuse_header(two(0, 8, 4, 12), 12, "tensors overlap", "/b/data_offsets");
  refuse_header(two(0, 12, 4, 8), 12, "overlap");
  refuse_header(two(2, 6, 6, 12), 12, "a gap", "/a/data_offsets");
  refuse_header(two(0, 4, 8, 12), 12, "a gap in the data before this tensor", "/b/data_offsets");
  refuse_header(two(0, 4, 4, 8), 12, "bytes after the last tensor");
  EXPECT_EQ(parse(safetensors_file(two(0, 4, 4, 12), 12)).tensors.size(), 2u);
}

TEST(Safetensors, ST17_SizeAgainstShape) {
  refuse_header("{" + entry("a", "F32", "[2]", 0, 4) + "}", 4,
                "do not fit data_offsets (found 4 bytes, allowed 8 bytes)", "/a");
  refuse_header("{" + entry("a", "F32", "[1]", 0, 8) + "}", 8, "do not fit data_offsets", "/a");
  refuse_header("{" + entry("a", "F32", "[0]", 0, 8) + "}", 8, "do not fit data_offsets", "/a");
}

TEST(Safetensors, ST18_TrailingOrMissingBytes) {
  refuse(simple_file({"a", "b"}) + "x", "bytes after the last tensor");
  std::string cut = simple_file({"a", "b"});
  cut.pop_back();
  refuse(cut, "offset beyond the data", "/b/data_offsets/1");
  refuse_header("{}", 1, "bytes after the last tensor");
}

TEST(Safetensors, ST19_EmptyTensorsScalarsAndEmptyFilesAreAccepted) {
  EXPECT_TRUE(parse(safetensors_file("{}", 0)).tensors.empty());
  EXPECT_TRUE(parse(safetensors_file("{\"__metadata__\":{}}", 0)).tensors.empty());
  const auto read = parse(safetensors_file("{" + entry("e", "F32", "[0,7]", 4, 4) + "," +
                                               entry("s", "F32", "[]", 0, 4) + "," +
                                               entry("f", "F16", "[3,0]", 0, 0) + "}",
                                           4));
  ASSERT_EQ(read.tensors.size(), 3u);
  EXPECT_EQ(read.tensors[0].name, "f");
  EXPECT_EQ(read.tensors[1].name, "s");
  EXPECT_TRUE(read.tensors[1].shape.empty());
  EXPECT_EQ(read.tensors[2].bytes, 0u);
}

TEST(Safetensors, ST20_AnyOrderOfTheTextIsAccepted) {
  const std::string header = "{" + entry("c", "F32", "[2]", 8, 16) + "," +
                             entry("a", "F32", "[1]", 0, 4) + "," +
                             "\"b\":{\"data_offsets\":[4,8],\"shape\":[1],\"dtype\":\"F32\"}}";
  const auto read = parse(safetensors_file(header, 16));
  EXPECT_EQ(read.tensors[0].name + read.tensors[1].name + read.tensors[2].name, "abc");
}

TEST(Safetensors, ST21_AnyAlignmentOfTheDataIsAccepted) {
  for (int pad = 0; pad < 9; ++pad) {
    const std::string header = "{" + entry("a", "U8", "[3]", 0, 3) + "," +
                               entry("b", "F32", "[1]", 3, 7) + "}" + std::string(pad, ' ');
    for (const bool direct : {false, true}) {
      EXPECT_EQ(parse(safetensors_file(header, 7), direct).tensors[1].offset,
                8 + header.size() + 3);
    }
  }
}

TEST(Safetensors, ST22_BadNames) {
  refuse_header("{" + entry("", "F32", "[1]", 0, 4) + "}", 4, "empty tensor name");
  refuse_header("{" + entry("a\\u0000b", "F32", "[1]", 0, 4) + "}", 4, "NUL");
  refuse_header("{" + entry("a\\u001b[2J", "F32", "[1]", 0, 4) + "}", 4, "control character",
                "/a\\x1B[2J");
  refuse_header("{" + entry("a\\u007f", "F32", "[1]", 0, 4) + "}", 4, "control character");
  refuse_header("{" + entry(std::string(1025, 'n'), "F32", "[1]", 0, 4) + "}", 4,
                "name too long: 1025 bytes");
  EXPECT_EQ(
      parse(safetensors_file("{" + entry(std::string(1024, 'n'), "F32", "[1]", 0, 4) + "}", 4))
          .tensors.size(),
      1u);
}

TEST(Safetensors, ST22_ST23_MillionsOfNamesStopAtTheCap) {
  std::string header = "{";
  for (uint64_t i = 0; header.size() < 99'000'000; ++i) {
    header +=
        "\"" + std::to_string(i) + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},";
  }
  header.back() = '}';
  refuse_header(header, 0, "too many tensors (found more, allowed 1000000)", "/1000000");
}

TEST(Safetensors, ST23_OneHugeString) {
  refuse_header("{\"" + std::string(20'000'000, 'n') + "\":{}}", 0,
                "name too long: 20000000 bytes");
  refuse_header("{\"" + std::string(20'000'000, 'n'), 0, "not valid JSON");
  std::string metadata = "{\"__metadata__\":{\"0\":\"\"";
  for (int i = 1; i < 70'000; ++i) metadata += ",\"" + std::to_string(i) + "\":\"\"";
  refuse_header(metadata + "}}", 0, "too much metadata");
}

TEST(Safetensors, ST24_OtherFilesAreNamed) {
  refuse("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
         "a Git LFS pointer");
  refuse("<!DOCTYPE html>\n<html><body>404</body></html>", "an HTML page");
  refuse("\n <HTML><body>403</body></html>", "an HTML page");
  refuse(std::string("PK\x03\x04\x14\x00\x08\x00", 8) + random_data(500, 1),
         "pickle files are not loaded");
  refuse("\x80\x02}q\x01(X\x05" + random_data(500, 2), "a Python pickle");
  refuse(std::string("GGUF\x03\x00\x00\x00", 8) + random_data(500, 3), "a GGUF file");
  const Error error = caught([] { parse(simple_file({"a"}), true, "x.safetensors.incomplete"); });
  EXPECT_EQ(error.code(), ErrorCode::malformed);
  EXPECT_NE(std::string(error.what()).find("an unfinished download"), std::string::npos);
}

// A read error in the header is an io error, not a statement about the file.
TEST(Safetensors, ReadErrorsKeepTheirCode) {
  const TempFolder folder;
  FaultSeam seam;
  seam.pread = [](int, void*, size_t, uint64_t) -> int64_t { return -5; };
  const File file =
      File::open_read(folder.write("x.safetensors", simple_file({"a"})), false, &seam);
  expect_error(ErrorCode::io, "read failed", [&] { read_safetensors_header(file); });
}

}  // namespace
}  // namespace penstock

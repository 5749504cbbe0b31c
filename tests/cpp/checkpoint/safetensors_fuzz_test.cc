// Random valid files come back as written; damaged ones give a header or a typed error, nothing
// else.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "base/json.h"
#include "checkpoint/index.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_builder.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace penstock {
namespace {

struct Expected {
  std::string name, dtype;
  std::vector<int64_t> shape;
  uint64_t begin, bytes;
};

struct RandomFile {
  std::string content, header;
  std::vector<Expected> tensors;  // in file order
};

RandomFile make_random_file(std::mt19937_64& random) {
  constexpr std::pair<const char*, int> kDTypes[] = {
      {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"U8", 1}};
  RandomFile file;
  uint64_t at = 0;
  const int count = static_cast<int>(random() % 12);
  for (int i = 0; i < count; ++i) {
    const auto& [dtype, width] = kDTypes[random() % 5];
    Expected tensor{
        "t" + std::to_string(i) + (random() % 2 ? ".weight" : "\xc3\xa4"), dtype, {}, at, 0};
    for (uint64_t rank = random() % 4; rank > 0; --rank)
      tensor.shape.push_back(static_cast<int64_t>(random() % 7));
    tensor.bytes = width * std::accumulate(tensor.shape.begin(), tensor.shape.end(), uint64_t{1},
                                           std::multiplies<>());
    at += tensor.bytes;
    file.tensors.push_back(tensor);
  }
  std::vector<Expected> shuffled = file.tensors;
  std::shuffle(shuffled.begin(), shuffled.end(), random);
  Json header = Json::object();
  for (const Expected& tensor : shuffled) {
    header[tensor.name] = {
        {"dtype", tensor.dtype},
        {"shape", tensor.shape},
        {"data_offsets", Json::array({tensor.begin, tensor.begin + tensor.bytes})}};
  }
  if (random() % 2) header["__metadata__"] = {{"format", "pt"}};
  file.header = std::string(random() % 3, ' ') + header.dump(random() % 2 ? 1 : -1);
  file.content = safetensors_file(file.header, at);
  return file;
}

TEST(SafetensorsFuzz, RandomValidFilesRoundTrip) {
  std::mt19937_64 random(51);
  const TempFolder folder;
  for (int round = 0; round < 300; ++round) {
    const RandomFile made = make_random_file(random);
    const File file = File::open_read(folder.write("x.safetensors", made.content), round % 2 == 0);
    SafetensorsHeader read = read_safetensors_header(file);
    ASSERT_EQ(read.tensors.size(), made.tensors.size());
    for (const Expected& tensor : made.tensors) {
      const auto at =
          std::find_if(read.tensors.begin(), read.tensors.end(),
                       [&](const TensorEntry& entry) { return entry.name == tensor.name; });
      ASSERT_NE(at, read.tensors.end());
      ASSERT_EQ(at->dtype, tensor.dtype);
      ASSERT_EQ(at->shape, tensor.shape);
      ASSERT_EQ(at->bytes, tensor.bytes);
      ASSERT_EQ(at->offset, 8 + made.header.size() + tensor.begin);
    }
  }
}

void mutate(std::string& text, std::mt19937_64& random) {
  constexpr std::string_view kPieces[] = {"[",
                                          "]",
                                          "{",
                                          "}",
                                          "\"",
                                          ",",
                                          ":",
                                          "-",
                                          "0",
                                          "9",
                                          "e",
                                          ".",
                                          "null",
                                          "\\u0000",
                                          "\\ud800",
                                          "\xff",
                                          "18446744073709551615",
                                          " "};
  for (uint64_t edits = 1 + random() % 4; edits > 0 && !text.empty(); --edits) {
    const size_t at = random() % text.size();
    switch (random() % 5) {
      case 0:
        text[at] = static_cast<char>(text[at] ^ (1 << random() % 8));
        break;
      case 1:
        text.resize(at);
        break;
      case 2:
        text.insert(at, kPieces[random() % std::size(kPieces)]);
        break;
      case 3:
        text.erase(at, 1 + random() % 8);
        break;
      default:
        text.insert(at, text.substr(random() % text.size(), random() % 40));
        break;
    }
  }
}

// Counts how the damaged inputs ended; anything but success or a penstock::Error fails the test.
struct Tally {
  int accepted = 0, refused = 0;

  template <class F>
  void run(F f) {
    try {
      f();
      ++accepted;
    } catch (const Error& error) {
      ++refused;
      ASSERT_NE(error.code(), ErrorCode::internal) << error.what();
      ASSERT_LT(std::string(error.what()).size(), 8000u);
    }
  }
};

TEST(SafetensorsFuzz, DamagedFilesGiveTypedErrors) {
  std::mt19937_64 random(52);
  const TempFolder folder;
  Tally tally;
  for (int round = 0; round < 4000; ++round) {
    RandomFile made = make_random_file(random);
    if (round % 2 == 0) {
      mutate(made.content, random);
    } else {  // the length and the data stay right, so that the damage gets deep
      const size_t data = made.content.size() - 8 - made.header.size();
      mutate(made.header, random);
      made.content = safetensors_file(made.header, data);
    }
    const File file = File::open_read(folder.write("x.safetensors", made.content), false);
    tally.run([&] { read_safetensors_header(file); });
  }
  EXPECT_GT(tally.accepted, 50);
  EXPECT_GT(tally.refused, 2000);
}

TEST(SafetensorsFuzz, DamagedIndexesGiveTypedErrors) {
  std::mt19937_64 random(53);
  Tally tally;
  for (int round = 0; round < 4000; ++round) {
    Json index = {{"metadata", {{"total_size", random() % 1000}}}, {"weight_map", Json::object()}};
    for (int i = 0; i < 6; ++i) {
      index["weight_map"]["t" + std::to_string(i)] =
          "s" + std::to_string(random() % 3) + ".safetensors";
    }
    std::string text = index.dump();
    mutate(text, random);
    tally.run([&] { parse_shard_index(text, "index.json"); });
  }
  EXPECT_GT(tally.accepted, 50);
  EXPECT_GT(tally.refused, 2000);
}

}  // namespace
}  // namespace penstock

// Model folders: the index, the shards and what people leave in them (IX01 to IX10).
#include "checkpoint/catalogue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/json.h"
#include "checkpoint/safetensors_builder.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace penstock {
namespace {

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kOne = "model-00001-of-00002.safetensors";
constexpr const char* kTwo = "model-00002-of-00002.safetensors";

std::string index_text(const std::vector<std::pair<std::string, std::string>>& map,
                       uint64_t total = 0) {
  Json index = {{"weight_map", Json::object()}};
  if (total != 0) index["metadata"] = {{"total_size", total}};
  for (const auto& [tensor, shard] : map) index["weight_map"][tensor] = shard;
  return index.dump();
}

// Two good shards with tensors a, b and c.
void write_two_shards(const TempFolder& folder) {
  folder.write(kOne, simple_file({"a", "b"}));
  folder.write(kTwo, simple_file({"c"}));
}

void refuse_index(const std::string& text, const std::string& part, const std::string& field = "") {
  const TempFolder folder;
  write_two_shards(folder);
  folder.write(kIndex, text);
  const Error error = caught([&] { Catalogue::open(folder.path(), false); });
  EXPECT_EQ(error.code(), ErrorCode::malformed) << error.what();
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  EXPECT_NE(error.detail().file.find(kIndex), std::string::npos) << error.what();
  if (!field.empty()) {
    EXPECT_EQ(error.detail().field, field) << error.what();
  }
}

TEST(Catalogue, SingleFile) {
  const TempFolder folder;
  const std::string content = simple_file({"a", "b"});
  folder.write("model.safetensors", content);
  const Catalogue catalogue = Catalogue::open(folder.path(), true);
  EXPECT_EQ(catalogue.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(catalogue.contains("a"));
  EXPECT_FALSE(catalogue.contains("c"));
  EXPECT_EQ(catalogue.total_bytes(), 32u);
  EXPECT_TRUE(catalogue.warnings().empty());
  const TensorLocation& b = catalogue.find("b");
  EXPECT_EQ(b.dtype, DType::f32);
  EXPECT_EQ(b.shape, std::vector<int64_t>{4});
  std::string bytes(16, '\0');
  b.file->read_unaligned(bytes.data(), b.bytes, b.offset);
  EXPECT_EQ(bytes, content.substr(content.size() - 16));
  const Error error = caught([&] { catalogue.find("c"); });
  EXPECT_EQ(error.code(), ErrorCode::not_found);
  EXPECT_EQ(error.detail().file, folder.path());
  EXPECT_EQ(error.detail().field, "'c'");
}

TEST(Catalogue, Shards) {
  const TempFolder folder;
  write_two_shards(folder);
  folder.write(kIndex, index_text({{"a", kOne}, {"b", kOne}, {"c", kTwo}}, 48));
  Catalogue catalogue = Catalogue::open(folder.path(), true);
  EXPECT_EQ(catalogue.names().size(), 3u);
  EXPECT_TRUE(catalogue.warnings().empty()) << catalogue.warnings()[0];
  EXPECT_NE(catalogue.find("a").file, catalogue.find("c").file);
  const Catalogue moved = std::move(catalogue);
  EXPECT_EQ(moved.find("c").file->path(), folder / kTwo);
}

TEST(Catalogue, ST11_KnownButUnreadDTypesAreListedAndRefusedWhenAsked) {
  const TempFolder folder;
  folder.write("model.safetensors",
               safetensors_file("{" + entry("q", "F8_E4M3", "[8]", 0, 8) + "," +
                                    entry("w", "F16", "[2]", 8, 12) + "}",
                                12));
  const Catalogue catalogue = Catalogue::open(folder.path(), false);
  EXPECT_TRUE(catalogue.contains("q"));
  EXPECT_EQ(catalogue.find("w").dtype, DType::f16);
  const Error error = caught([&] { catalogue.find("q"); });
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  EXPECT_EQ(error.detail().field, "/q/dtype");
  EXPECT_EQ(error.detail().found, "F8_E4M3");
  EXPECT_EQ(error.detail().allowed, "F32, F16, BF16");
}

TEST(Catalogue, FingerprintFollowsHeaderSizeAndTime) {
  const TempFolder folder;
  folder.write("model.safetensors", simple_file({"a", "b"}));
  const auto fingerprint = [&] { return Catalogue::open(folder.path(), false).fingerprint(); };
  const std::string before = fingerprint();
  EXPECT_EQ(before.size(), 32u);
  EXPECT_EQ(before, fingerprint());
  const timespec times[2] = {{0, UTIME_OMIT}, {1'700'000'000, 5}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (folder / "model.safetensors").c_str(), times, 0), 0);
  const std::string touched = fingerprint();
  EXPECT_NE(before, touched);
  folder.write("model.safetensors", simple_file({"a", "c"}));
  ASSERT_EQ(::utimensat(AT_FDCWD, (folder / "model.safetensors").c_str(), times, 0), 0);
  const std::string renamed = fingerprint();
  EXPECT_NE(touched, renamed);
  folder.write("other", simple_file({"a", "c"}));
  ASSERT_EQ(::rename((folder / "other").c_str(), (folder / "model.safetensors").c_str()), 0);
  ASSERT_EQ(::utimensat(AT_FDCWD, (folder / "model.safetensors").c_str(), times, 0), 0);
  EXPECT_NE(renamed, fingerprint());  // another inode
}

TEST(Catalogue, IX01_BadWeightMaps) {
  refuse_index("{}", "weight_map is missing");
  refuse_index("{\"metadata\":{}}", "weight_map is missing");
  refuse_index("[]", "the index is not an object");
  refuse_index("null", "the index is not an object");
  refuse_index("{\"weight_map\":[]}", "weight_map is not an object", "/weight_map");
  refuse_index("{\"weight_map\":\"x\"}", "weight_map is not an object", "/weight_map");
  refuse_index("{\"weight_map\":{}}", "weight_map is empty");
  refuse_index("{\"weight_map\":{\"a\":1}}", "the shard name is not text", "/weight_map/a");
  refuse_index("{\"weight_map\":{\"a\":null}}", "the shard name is not text", "/weight_map/a");
  refuse_index("{\"weight_map\":{\"a\":[\"x\"]}}", "the shard name is not text", "/weight_map/a");
  refuse_index("{\"weight_map\":{\"a\":\"x\",\"a\":\"x\"}}", "appears twice");
  refuse_index("{\"weight_map\":{\"\":\"x\"}}", "empty tensor name");
  refuse_index("{\"weight_map\":{\"a\\u0007\":\"x\"}}", "control character");
  refuse_index("{\"weight_map\":", "not valid JSON");
  refuse_index("", "not valid JSON");
}

TEST(Catalogue, IX02_ShardNamesArePlain) {
  for (const char* name : {"/etc/passwd", "../x.safetensors", "sub/x.safetensors", "..\\\\x", "",
                           ".", "..", "%2e%2e%2fx", "a\\u0001"}) {
    refuse_index(std::string("{\"weight_map\":{\"a\":\"") + name + "\"}}", "shard name",
                 "/weight_map/a");
  }
  refuse_index("{\"weight_map\":{\"a\":\"x\\u0000y\"}}", "NUL");
  refuse_index("{\"weight_map\":{\"a\":\"" + std::string(256, 'x') + "\"}}", "too long");
}

TEST(Catalogue, IX03_ShardsAreRegularFiles) {
  const TempFolder folder;
  folder.write(kOne, simple_file({"a", "b"}));
  folder.write(kIndex, index_text({{"a", kOne}, {"b", kOne}, {"c", kTwo}}));
  const std::string path = folder / kTwo;
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  expect_error(ErrorCode::malformed, "found a FIFO", [&] { Catalogue::open(folder.path(), true); });
  ::unlink(path.c_str());
  ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
  expect_error(ErrorCode::malformed, "found a folder",
               [&] { Catalogue::open(folder.path(), true); });
  ::rmdir(path.c_str());
  ASSERT_EQ(::symlink("/dev/zero", path.c_str()), 0);
  expect_error(ErrorCode::malformed, "leaves the model folder",
               [&] { Catalogue::open(folder.path(), true); });
}

TEST(Catalogue, IX04_LinksStayInTheFolderOrTheHubCache) {
  const TempFolder outside, root;
  const std::string secret = outside.write("model.safetensors", simple_file({"a"}));
  const std::string model = root / "models--o--n/snapshots/rev";
  std::filesystem::create_directories(model);
  std::filesystem::create_directories(root / "models--o--n/blobs");
  const auto link_to = [&](const std::string& target) {
    ::unlink((model + "/model.safetensors").c_str());
    ASSERT_EQ(::symlink(target.c_str(), (model + "/model.safetensors").c_str()), 0);
  };
  link_to(secret);
  expect_error(ErrorCode::malformed, "leaves the model folder",
               [&] { Catalogue::open(model, true); });
  root.write("models--o--n/blobs/abc", simple_file({"a"}));
  link_to("../../blobs/abc");
  EXPECT_TRUE(Catalogue::open(model, true).contains("a"));
  const std::string alias = root / "alias";
  ASSERT_EQ(::symlink(model.c_str(), alias.c_str()), 0);
  EXPECT_TRUE(Catalogue::open(alias, true).contains("a"));
  root.write("models--o--n/blobs-evil", simple_file({"a"}));
  link_to("../../blobs-evil");
  expect_error(ErrorCode::malformed, "leaves the model folder",
               [&] { Catalogue::open(model, true); });
  ASSERT_EQ(::symlink(secret.c_str(), (root / "models--o--n/blobs/hop").c_str()), 0);
  link_to("../../blobs/hop");
  expect_error(ErrorCode::malformed, "leaves the model folder",
               [&] { Catalogue::open(model, true); });
  root.write("models--o--n/snapshots/rev/inside", simple_file({"a"}));
  link_to("inside");
  EXPECT_TRUE(Catalogue::open(model, true).contains("a"));
  link_to("../../blobs/none");
  expect_error(ErrorCode::not_found, "missing files: model.safetensors",
               [&] { Catalogue::open(model, true); });
  link_to("model.safetensors");
  expect_error(ErrorCode::io, "unreadable files", [&] { Catalogue::open(model, true); });
}

TEST(Catalogue, IX05_AllMissingShardsAreNamed) {
  const TempFolder folder;
  write_two_shards(folder);
  folder.write(
      kIndex,
      index_text(
          {{"a", kOne}, {"b", "gone-1.safetensors"}, {"c", kTwo}, {"d", "gone-2.safetensors"}}));
  const Error error = caught([&] { Catalogue::open(folder.path(), true); });
  EXPECT_EQ(error.code(), ErrorCode::not_found);
  EXPECT_NE(error.message().find("gone-1.safetensors, gone-2.safetensors"), std::string::npos)
      << error.what();
  EXPECT_EQ(error.detail().found, "2 files");
  EXPECT_EQ(error.detail().allowed, "4 files");
  folder.write("gone-1.safetensors.incomplete", "x");
  expect_error(ErrorCode::not_found, "unfinished download",
               [&] { Catalogue::open(folder.path(), true); });
}

TEST(Catalogue, IX05_UnusedShardFilesAreWarnedAbout) {
  const TempFolder folder;
  write_two_shards(folder);
  folder.write(kIndex, index_text({{"c", kTwo}}));
  const Catalogue catalogue = Catalogue::open(folder.path(), true);
  ASSERT_EQ(catalogue.warnings().size(), 1u);
  EXPECT_NE(catalogue.warnings()[0].find(kOne), std::string::npos);
}

TEST(Catalogue, IX06_IndexAgainstShards) {
  refuse_index(index_text({{"a", kOne}, {"b", kOne}, {"c", kTwo}, {"d", kTwo}}), "not in the shard",
               "/weight_map/d");
  refuse_index(index_text({{"a", kTwo}, {"b", kOne}, {"c", kTwo}}), "not in the shard",
               "/weight_map/a");
  const TempFolder twice;
  twice.write(kOne, simple_file({"a", "b"}));
  twice.write(kTwo, simple_file({"b"}));
  twice.write(kIndex, index_text({{"a", kOne}, {"b", kTwo}}));
  const Error error = caught([&] { Catalogue::open(twice.path(), true); });
  EXPECT_EQ(error.code(), ErrorCode::malformed);
  EXPECT_EQ(error.detail().field, "/b");
  EXPECT_NE(std::string(error.what()).find("in two shards"), std::string::npos);
  const TempFolder more;
  write_two_shards(more);
  more.write(kIndex, index_text({{"a", kOne}, {"c", kTwo}}));
  const Catalogue catalogue = Catalogue::open(more.path(), true);
  EXPECT_FALSE(catalogue.contains("b"));
  EXPECT_EQ(catalogue.total_bytes(), 32u);
  ASSERT_EQ(catalogue.warnings().size(), 1u);
  EXPECT_NE(catalogue.warnings()[0].find("not in the index are ignored: b"), std::string::npos);
}

TEST(Catalogue, IX07_TotalSizeIsOnlyWarnedAbout) {
  for (const char* total : {"47", "18446744073709551615", "-5", "1e300", "\"48\"", "null"}) {
    const TempFolder folder;
    write_two_shards(folder);
    std::string text = index_text({{"a", kOne}, {"b", kOne}, {"c", kTwo}});
    text.insert(1, std::string("\"metadata\":{\"total_size\":") + total + "},");
    folder.write(kIndex, text);
    const Catalogue catalogue = Catalogue::open(folder.path(), true);
    EXPECT_EQ(catalogue.total_bytes(), 48u);
    ASSERT_EQ(catalogue.warnings().size(), 1u) << total;
    EXPECT_NE(catalogue.warnings()[0].find("total_size"), std::string::npos);
  }
}

TEST(Catalogue, IX08_TooManyShardsOrBytes) {
  std::vector<std::pair<std::string, std::string>> map;
  for (int i = 0; i <= 10'000; ++i)
    map.push_back({"t" + std::to_string(i), "s" + std::to_string(i)});
  refuse_index(index_text(map), "too many shards");
  refuse_index(std::string((uint64_t{64} << 20) + 1, ' '), "the index is too large");
}

TEST(Catalogue, IX09_TheIndexComesFirst) {
  const TempFolder folder;
  write_two_shards(folder);
  folder.write("model.safetensors", simple_file({"a", "b", "c", "d"}));
  folder.write(kIndex, index_text({{"a", kOne}, {"b", kOne}, {"c", kTwo}}));
  const Catalogue catalogue = Catalogue::open(folder.path(), true);
  EXPECT_FALSE(catalogue.contains("d"));
  ASSERT_EQ(catalogue.warnings().size(), 1u);
  EXPECT_NE(catalogue.warnings()[0].find("ignored: model.safetensors"), std::string::npos);
}

TEST(Catalogue, IX10_PickleIsNeverLoaded) {
  for (const char* name : {"pytorch_model.bin", "model.pt", "consolidated.00.pth", "x.ckpt"}) {
    const TempFolder folder;
    folder.write(name, "\x80\x02}q");
    const Error error = caught([&] { Catalogue::open(folder.path(), true); });
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_EQ(error.message(), "pickle files are not loaded");
    EXPECT_EQ(error.detail().found, name);
  }
}

TEST(Catalogue, FoldersWithoutWeights) {
  const TempFolder folder;
  expect_error(ErrorCode::not_found, "no model weights",
               [&] { Catalogue::open(folder.path(), true); });
  expect_error(ErrorCode::not_found, "none", [&] { Catalogue::open(folder / "none", true); });
  expect_error(ErrorCode::not_found, "file",
               [&] { Catalogue::open(folder.write("file", "x"), true); });
  folder.write(kOne, simple_file({"a"}));
  expect_error(ErrorCode::not_found, "without an index",
               [&] { Catalogue::open(folder.path(), true); });
  folder.write("model.safetensors.incomplete", "x");
  expect_error(ErrorCode::not_found, "unfinished download",
               [&] { Catalogue::open(folder.path(), true); });
}

}  // namespace
}  // namespace penstock

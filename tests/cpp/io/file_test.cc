#include "io/file.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>
#include <vector>

#include "io/aligned_block.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace penstock {
namespace {

std::string random_text(size_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

std::string read_back(const File& file, size_t bytes, uint64_t offset) {
  std::string text(bytes, '\0');
  file.read_unaligned(text.data(), bytes, offset);
  return text;
}

// Both ways of opening; where the file system has no O_DIRECT the second is the first again.
class FileBothWays : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(BufferedAndDirect, FileBothWays, testing::Bool(),
                         [](const auto& info) { return info.param ? "direct" : "buffered"; });

TEST_P(FileBothWays, ReadsAnyRange) {
  const TempFolder folder;
  const std::string content = random_text(2'500'001, 1);
  const File file = File::open_read(folder.write("a", content), GetParam());
  EXPECT_EQ(file.bytes(), content.size());
  std::mt19937_64 random(2);
  for (int round = 0; round < 60; ++round) {
    const size_t begin = random() % content.size();
    const size_t bytes = random() % (content.size() - begin + 1);
    ASSERT_EQ(read_back(file, bytes, begin), content.substr(begin, bytes)) << begin << " " << bytes;
  }
  EXPECT_EQ(read_back(file, 1, content.size() - 1), content.substr(content.size() - 1));
  EXPECT_EQ(read_back(file, 0, 5), "");
}

TEST_P(FileBothWays, CoveringReadAcceptsTheEndOfTheFile) {
  const TempFolder folder;
  const std::string content = random_text(5000, 3);
  const File file = File::open_read(folder.write("a", content), GetParam());
  const AlignedBlock block(8192);
  file.read_covering(block.data(), 8192, 0, 5000);
  EXPECT_EQ(std::memcmp(block.data(), content.data(), 5000), 0);
  file.read_covering(block.data(), 4096, 4096, 904);
  EXPECT_EQ(std::memcmp(block.data(), content.data() + 4096, 904), 0);
  const Error error = caught([&] { file.read_covering(block.data(), 8192, 0, 5001); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_EQ(error.detail().found, "got 5000 bytes");
  EXPECT_EQ(error.detail().allowed, "wanted 5001 bytes");
  EXPECT_EQ(error.detail().field, "offset 0");
}

TEST_P(FileBothWays, ReadPastTheEndIsAnError) {
  const TempFolder folder;
  const File file = File::open_read(folder.write("a", random_text(10'000, 4)), GetParam());
  const AlignedBlock block(16384);
  expect_error(ErrorCode::io, "got 10000 bytes", [&] { file.read(block.data(), 12288, 0); });
  expect_error(ErrorCode::io, "got 0 bytes", [&] { file.read(block.data(), 4096, 12288); });
  expect_error(ErrorCode::io, "wanted", [&] { read_back(file, 2, 9999); });
}

TEST_P(FileBothWays, ST25_TruncationWhileReadingIsTyped) {
  const TempFolder folder;
  const std::string path = folder.write("a", random_text(100'000, 5));
  const File file = File::open_read(path, GetParam());
  file.check_unchanged();
  ASSERT_EQ(::truncate(path.c_str(), 70'000), 0);
  const AlignedBlock block(102'400);
  const Error error = caught([&] { file.read_covering(block.data(), 102'400, 0, 100'000); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_EQ(error.detail().file, path);
  EXPECT_EQ(error.detail().found, "got 70000 bytes");
  EXPECT_EQ(error.detail().allowed, "wanted 100000 bytes");
  expect_error(ErrorCode::io, "truncated", [&] { read_back(file, 100, 69'950); });
  expect_error(ErrorCode::io, "changed", [&] { file.check_unchanged(); });
  EXPECT_EQ(read_back(file, 100, 60'000).size(), 100u);
}

TEST_P(FileBothWays, ST25_ReplacedByRenameKeepsTheOldContent) {
  const TempFolder folder;
  const std::string content = random_text(9000, 6);
  const std::string path = folder.write("a", content);
  const File file = File::open_read(path, GetParam());
  ASSERT_EQ(::rename(folder.write("b", random_text(9000, 7)).c_str(), path.c_str()), 0);
  EXPECT_EQ(read_back(file, 9000, 0), content);
}

TEST_P(FileBothWays, AnonymousFileHoldsWhatWasWritten) {
  const TempFolder folder;
  const File file = File::anonymous(folder.path(), 1 << 20, GetParam());
  EXPECT_EQ(folder.entries(), 0);
  EXPECT_EQ(file.bytes(), uint64_t{1} << 20);
  const std::string content = random_text(8192, 8);
  const AlignedBlock out(8192), in(8192);
  std::memcpy(out.data(), content.data(), 8192);
  file.write(out.data(), 8192, 40'960);
  file.read(in.data(), 8192, 40'960);
  EXPECT_EQ(std::memcmp(in.data(), content.data(), 8192), 0);
}

TEST(File, DirectIsTrueWhereTheFileSystemAllows) {
  const TempFolder folder;
  const std::string path = folder.write("a", random_text(5000, 9));
  EXPECT_FALSE(File::open_read(path, false).direct());
  const File direct = File::open_read(path, true);
  if (!direct.direct()) return;  // tmpfs of old kernels: the rest has nothing to check
  const AlignedBlock block(8192);
  expect_error(ErrorCode::internal, "4096", [&] { direct.read(block.data() + 8, 4096, 0); });
  expect_error(ErrorCode::internal, "4096", [&] { direct.read(block.data(), 100, 0); });
  expect_error(ErrorCode::internal, "4096", [&] { direct.read(block.data(), 4096, 7); });
}

TEST(File, OpenRefusesWhatIsNotARegularFile) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mkdir((folder / "dir").c_str(), 0700), 0);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder / "sock").c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  expect_error(ErrorCode::malformed, "a FIFO", [&] { File::open_read(folder / "fifo", true); });
  expect_error(ErrorCode::malformed, "a folder", [&] { File::open_read(folder / "dir", true); });
  expect_error(ErrorCode::malformed, "a socket", [&] { File::open_read(folder / "sock", true); });
  expect_error(ErrorCode::malformed, "a device", [&] { File::open_read("/dev/null", true); });
  expect_error(ErrorCode::not_found, "open failed",
               [&] { File::open_read(folder / "none", true); });
  ::close(fd);
}

TEST(File, CreateIsPrivateAndNeverOverwrites) {
  const TempFolder folder;
  const File file = File::create(folder / "new");
  file.write("hello", 5, 0);
  file.sync();
  struct stat info;
  ASSERT_EQ(::stat((folder / "new").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  expect_error(ErrorCode::io, "create failed", [&] { File::create(folder / "new"); });
  EXPECT_EQ(read_small_file(folder / "new", 5), "hello");
}

TEST(File, LockIsExclusiveUntilTheFileDies) {
  const TempFolder folder;
  const std::string path = folder.write("a", "x");
  {
    const File first = File::open_read(path, false), second = File::open_read(path, false);
    EXPECT_TRUE(first.try_lock());
    EXPECT_FALSE(second.try_lock());
  }
  EXPECT_TRUE(File::open_read(path, false).try_lock());
}

TEST(File, SmallFileHasALimit) {
  const TempFolder folder;
  const std::string path = folder.write("a", "0123456789");
  EXPECT_EQ(read_small_file(path, 10), "0123456789");
  expect_error(ErrorCode::malformed, "10 bytes, allowed at most 9",
               [&] { read_small_file(path, 9); });
  expect_error(ErrorCode::not_found, "b", [&] { read_small_file(folder / "b", 9); });
}

TEST(File, AtomicWriteReplacesWholeFilesAndLeavesNothing) {
  const TempFolder folder;
  write_file_atomically(folder / "a", "first");
  write_file_atomically(folder / "a", "second");
  EXPECT_EQ(read_small_file(folder / "a", 100), "second");
  EXPECT_EQ(folder.entries(), 1);
}

}  // namespace
}  // namespace penstock

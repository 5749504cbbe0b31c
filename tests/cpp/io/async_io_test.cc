#include "io/async_io.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
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

TEST(AsyncIo, RandomRequestsBringTheRightBytes) {
  const TempFolder folder;
  const std::string content = random_text(9'000'123, 31);
  const File file = File::open_read(folder.write("a", content), true);
  AsyncIo io(4);
  std::mt19937_64 random(32);
  struct Request {
    AlignedBlock block;
    uint64_t offset, needed;
    AsyncIo::Handle handle;
  };
  std::vector<Request> requests;
  for (int i = 0; i < 40; ++i) {
    const uint64_t begin = random() % content.size() / 4096 * 4096;
    const uint64_t bytes = 4096 * (1 + random() % 900);
    const uint64_t needed = std::min<uint64_t>(bytes, content.size() - begin);
    requests.push_back({AlignedBlock(bytes), begin, needed, nullptr});
    const Transfer transfer{.file = &file,
                            .data = requests.back().block.data(),
                            .bytes = bytes,
                            .offset = begin,
                            .needed = needed};
    requests.back().handle = io.start({&transfer, 1});
  }
  for (const Request& request : requests) {
    io.wait(request.handle);
    ASSERT_EQ(std::memcmp(request.block.data(), content.data() + request.offset, request.needed),
              0);
  }
}

TEST(AsyncIo, UnalignedPiecesAndManyTransfersInOneRequest) {
  const TempFolder folder;
  const std::string content = random_text(4'000'001, 33);
  const File file = File::open_read(folder.write("a", content), true);
  AsyncIo io(3);
  std::mt19937_64 random(34);
  std::vector<std::string> parts(50);
  std::vector<Transfer> transfers;
  std::vector<uint64_t> offsets;
  for (std::string& part : parts) {
    offsets.push_back(random() % content.size());
    part.resize(random() % (content.size() - offsets.back() + 1));
    transfers.push_back({.file = &file,
                         .data = part.data(),
                         .bytes = part.size(),
                         .offset = offsets.back(),
                         .unaligned = true});
  }
  io.wait(io.start(transfers));
  for (size_t i = 0; i < parts.size(); ++i) {
    ASSERT_EQ(parts[i], content.substr(offsets[i], parts[i].size())) << i;
  }
}

TEST(AsyncIo, WritesThenReadsOnAnAnonymousFile) {
  const TempFolder folder;
  const File file = File::anonymous(folder.path(), 8 << 20, true);
  AsyncIo io(4);
  const AlignedBlock out(8 << 20), in(8 << 20);
  const std::string content = random_text(out.size(), 35);
  std::memcpy(out.data(), content.data(), out.size());
  const Transfer write{.file = &file, .data = out.data(), .bytes = out.size(), .write = true};
  io.wait(io.start({&write, 1}));
  const Transfer read{.file = &file, .data = in.data(), .bytes = in.size()};
  io.wait(io.start({&read, 1}));
  EXPECT_EQ(std::memcmp(in.data(), content.data(), in.size()), 0);
}

TEST(AsyncIo, PiecesAreAtMostOneMiBAndServedInOrder) {
  const TempFolder folder;
  std::mutex mutex;
  std::vector<std::pair<uint64_t, size_t>> seen;
  FaultSeam seam;
  seam.pread = [&](int, void*, size_t bytes, uint64_t offset) -> int64_t {
    const std::lock_guard lock(mutex);
    seen.push_back({offset, bytes});
    return static_cast<int64_t>(bytes);
  };
  const File file = File::open_read(folder.write("a", "x"), false, &seam);
  AsyncIo io(1);
  std::string first(5 << 20, '\0'), second(100, '\0');
  const Transfer big{.file = &file, .data = first.data(), .bytes = first.size()};
  const Transfer small{
      .file = &file, .data = second.data(), .bytes = second.size(), .offset = 1 << 30};
  const AsyncIo::Handle a = io.start({&big, 1}), b = io.start({&small, 1});
  io.wait(b);
  io.wait(a);
  ASSERT_EQ(seen.size(), 6u);
  for (uint64_t i = 0; i < 5; ++i) EXPECT_EQ(seen[i], std::make_pair(i << 20, size_t{1} << 20));
  EXPECT_EQ(seen[5], std::make_pair(uint64_t{1} << 30, size_t{100}));
}

TEST(AsyncIo, ErrorsBelongToTheirRequest) {
  const TempFolder folder;
  const std::string content = random_text(4 << 20, 36);
  FaultSeam seam;
  seam.pread = [](int, void*, size_t, uint64_t) -> int64_t { return -EIO; };
  const std::string path = folder.write("a", content);
  const File good = File::open_read(path, false), bad = File::open_read(path, false, &seam);
  AsyncIo io(3);
  std::string left(content.size(), '\0'), lost(content.size(), '\0'), right(content.size(), '\0');
  const Transfer transfers[] = {{.file = &good, .data = left.data(), .bytes = left.size()},
                                {.file = &bad, .data = lost.data(), .bytes = lost.size()},
                                {.file = &good, .data = right.data(), .bytes = right.size()}};
  std::vector<AsyncIo::Handle> handles;
  for (const Transfer& transfer : transfers) handles.push_back(io.start({&transfer, 1}));
  io.wait(handles[0]);
  expect_error(ErrorCode::io, "read failed", [&] { io.wait(handles[1]); });
  expect_error(ErrorCode::io, "read failed", [&] { io.wait(handles[1]); });  // as often as asked
  io.wait(handles[2]);
  EXPECT_EQ(left, content);
  EXPECT_EQ(right, content);
}

TEST(AsyncIo, ST25_ShortFileNamesWantedAndGot) {
  const TempFolder folder;
  const std::string path = folder.write("a", random_text(3'000'000, 37));
  const File file = File::open_read(path, true);
  ASSERT_EQ(::truncate(path.c_str(), 1'500'000), 0);
  AsyncIo io(2);
  const AlignedBlock block(3'002'368);
  const Transfer transfer{
      .file = &file, .data = block.data(), .bytes = block.size(), .needed = 3'000'000};
  const Error error = caught([&] { io.wait(io.start({&transfer, 1})); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_EQ(error.detail().field, "offset 1048576");
  EXPECT_EQ(error.detail().found, "got 451424 bytes");
  EXPECT_EQ(error.detail().allowed, "wanted 1048576 bytes");
}

TEST(AsyncIo, RefusesNonsense) {
  expect_error(ErrorCode::invalid_argument, "1 to 256", [] { AsyncIo io(0); });
  expect_error(ErrorCode::invalid_argument, "1 to 256", [] { AsyncIo io(257); });
  AsyncIo io(kFileWorkers);
  io.wait(io.start({}));
  const Transfer nothing{.file = nullptr, .data = nullptr, .bytes = 1};
  expect_error(ErrorCode::internal, "file", [&] { io.start({&nothing, 1}); });
}

TEST(AsyncIo, DestructionPerformsWhatWasStarted) {
  const TempFolder folder;
  const File file = File::anonymous(folder.path(), 4 << 20, false);
  const std::string content = random_text(4 << 20, 38);
  std::string out = content;
  {
    AsyncIo io(2);
    const Transfer write{.file = &file, .data = out.data(), .bytes = out.size(), .write = true};
    io.start({&write, 1});
  }
  std::string in(out.size(), '\0');
  file.read(in.data(), in.size(), 0);
  EXPECT_EQ(in, content);
}

}  // namespace
}  // namespace penstock

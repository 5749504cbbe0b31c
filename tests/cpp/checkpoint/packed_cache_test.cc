// The packed-weight cache: what it holds, how it comes to be, and every doubt that makes it pack
// again (QC).
#include "checkpoint/packed_cache.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>

#include "base/crc32c.h"
#include "base/version.h"
#include "io/aligned_block.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "tensor/quantize.h"

namespace penstock {
namespace {

// fp32 matrices with a fixed seed, handed out by rows.
struct Matrix {
  std::string name;
  std::string format;
  int64_t rows, k;
  std::vector<float> values;

  Matrix(std::string name, std::string format, int64_t rows, int64_t k, uint64_t seed)
      : name(std::move(name)), format(std::move(format)), rows(rows), k(k), values(rows * k) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    for (float& value : values) value = normal(random);
  }

  PackSource source() const {
    return {.name = name,
            .format = weight_format(format),
            .rows = rows,
            .k = k,
            .read_rows = [this](int64_t begin, int64_t end, float* out) {
              std::copy(values.begin() + begin * k, values.begin() + end * k, out);
            }};
  }
};

struct Model {
  std::vector<Matrix> matrices;
  Model() {
    matrices.emplace_back("a", "int4-g64", 1000, 2100,
                          61);  // several blocks, a partial tile, a short last group
    matrices.emplace_back("b", "int8", 17, 100, 62);
    matrices.emplace_back("c/\xc3\xa4\"", "int8-g128", 2050, 1500, 63);
  }
  std::vector<PackSource> sources() const {
    std::vector<PackSource> sources;
    for (const Matrix& matrix : matrices) sources.push_back(matrix.source());
    return sources;
  }
};

struct Fixture : testing::Test {
  TempFolder root;
  Model model;
  Budget host{Place{Tier::host, 0}, uint64_t{64} << 20};
  PackOptions options{.folder = root / "cache",
                      .key = "0123abc.int4",
                      .threads = 2,
                      .progress = {},
                      .seam = nullptr};
  std::string path = root / "cache/0123abc.int4.packed";

  PackedCache open() { return PackedCache::open_or_pack(options, model.sources(), host); }
  PackedCache open_expecting_pack(const std::string& note) {
    PackedCache cache = open();
    EXPECT_TRUE(cache.packed_now()) << note;
    EXPECT_EQ(cache.notes().size(), 1u);
    EXPECT_NE(cache.notes().empty() ? std::string::npos : cache.notes()[0].find(note),
              std::string::npos)
        << (cache.notes().empty() ? "no note" : cache.notes()[0]) << " lacks " << note;
    check_content(cache);
    return cache;
  }
  std::string bytes() const { return read_small_file(path, uint64_t{1} << 30); }
  void put(const std::string& content) const {
    root.write("cache/0123abc.int4.packed", content);
    ::chmod(path.c_str(), 0600);
  }
  int files() const {
    return static_cast<int>(std::distance(std::filesystem::directory_iterator(root / "cache"), {}));
  }

  // Every block against the scalar packer, bit by bit.
  void check_content(const PackedCache& cache) const {
    for (const Matrix& matrix : model.matrices) {
      const PackedTensor& tensor = cache.find(matrix.name);
      ASSERT_EQ(tensor.rows, matrix.rows);
      ASSERT_EQ(tensor.k, matrix.k);
      int64_t row = 0;
      for (const PackedBlock& block : tensor.blocks) {
        ASSERT_EQ(block.row_begin, row);
        const int64_t rows = packed_block_rows(format(tensor.format), tensor.rows, tensor.k);
        ASSERT_EQ(block.row_end, std::min(tensor.rows, row + rows));  // as panels are cut
        ASSERT_EQ(block.offset % 4096, 0u);
        check_block(cache, matrix, tensor, block);
        row = block.row_end;
      }
      ASSERT_EQ(row, matrix.rows);
    }
  }

  static void check_block(const PackedCache& cache, const Matrix& matrix,
                          const PackedTensor& tensor, const PackedBlock& block) {
    const QuantFormat& row = format(tensor.format);
    const int64_t tile_bytes = packed_layout(row, matrix.k).tile_bytes;
    const AlignedBlock data((block.bytes + 4095) / 4096 * 4096);
    cache.file().read(data.data(), data.size(), block.offset);
    verify_block(cache, tensor, block, data.data());
    std::vector<std::byte> tile(tile_bytes);
    const std::byte* at = data.data();
    for (int64_t begin = block.row_begin; begin < block.row_end;
         begin += kTileRows, at += tile_bytes) {
      const int64_t count = std::min<int64_t>(kTileRows, block.row_end - begin);
      pack_tile(row, {matrix.values.data() + begin * matrix.k, count, matrix.k}, matrix.k,
                tile.data());
      ASSERT_EQ(std::memcmp(at, tile.data(), tile_bytes), 0) << matrix.name << " row " << begin;
    }
    ASSERT_EQ(static_cast<uint64_t>(at - data.data()), block.bytes);
  }
};
using PackedCacheTest = Fixture;

TEST_F(PackedCacheTest, PacksOnceAndOpensAgain) {
  const PackedCache first = open();
  EXPECT_TRUE(first.packed_now());
  EXPECT_TRUE(first.notes().empty());
  check_content(first);
  EXPECT_GT(first.find("c/\xc3\xa4\"").blocks.size(), 1u);
  EXPECT_EQ(first.file().bytes() % 4096, 0u);
  const PackedCache second = open();
  EXPECT_FALSE(second.packed_now());
  EXPECT_TRUE(second.notes().empty());
  check_content(second);
  EXPECT_EQ(first.find("a").blocks[0].crc, second.find("a").blocks[0].crc);
  EXPECT_EQ(files(), 1);
  struct stat info;
  ASSERT_EQ(::stat((root / "cache").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  expect_error(ErrorCode::internal, "no packed tensor", [&] { second.find("z"); });
}

TEST_F(PackedCacheTest, BytesDoNotDependOnThreads) {
  open();
  const std::string two = bytes();
  options.key = "one-thread";
  options.threads = 1;
  const PackedCache one = open();
  check_content(one);
  EXPECT_EQ(one.find("a").blocks.back().crc, open().find("a").blocks.back().crc);
  EXPECT_EQ(two.size(), one.file().bytes());
}

TEST_F(PackedCacheTest, MemoryIsChargedAndProgressReported) {
  std::vector<uint64_t> reports;
  uint64_t total = 0;
  options.progress = [&](uint64_t done, uint64_t of) {
    EXPECT_TRUE(reports.empty() ? done == 0 : done > reports.back());
    reports.push_back(done);
    total = of;
  };
  open();
  EXPECT_GT(reports.size(), 2u);
  EXPECT_EQ(reports.back(), total);
  EXPECT_GT(total, uint64_t{4} << 20);
  EXPECT_EQ(host.used(), 0u);
  EXPECT_GT(host.peak(), uint64_t{4} << 20);
  EXPECT_LT(host.peak(), uint64_t{12} << 20);
  EXPECT_TRUE(host.peak_by_label().contains("packing"));
  Budget small{Place{Tier::host, 0}, uint64_t{1} << 20};
  options.key = "other";
  expect_error(ErrorCode::budget, "packing",
               [&] { PackedCache::open_or_pack(options, model.sources(), small); });
  EXPECT_EQ(files(), 1) << "a temporary file was left";
}

TEST_F(PackedCacheTest, WhoeverHearsOfProgressMayStopIt) {
  struct Stop {};
  for (const uint64_t least : {uint64_t{0}, uint64_t{1}}) {
    options.progress = [&](uint64_t done, uint64_t) {
      if (done >= least) throw Stop();
    };
    EXPECT_THROW(open(), Stop);
    EXPECT_EQ(files(), 0) << "something was left";
    EXPECT_EQ(host.used(), 0u);
  }
  options.progress = {};
  check_content(open());
}

TEST_F(PackedCacheTest, KeysAreFileNames) {
  for (const char* key : {"", "../x", "a/b", ".hidden", "a b", "\xc3\xa4"}) {
    options.key = key;
    expect_error(ErrorCode::invalid_argument, "key", [&] { open(); });
  }
}

TEST_F(PackedCacheTest, QC_EveryFieldOfThePrefixIsChecked) {
  open();
  const std::string good = bytes();
  const struct {
    size_t offset;
    const char* note;
  } cases[] = {{0, "not a packed-weight file"},
               {8, "format version"},
               {12, "byte order"},
               {16, "checksum of its prefix"},
               {24, "checksum of its prefix"},
               {32, "checksum of its prefix"},
               {36, "checksum of its prefix"}};
  for (const auto& bad : cases) {
    std::string content = good;
    content[bad.offset] = static_cast<char>(content[bad.offset] ^ 0x40);
    put(content);
    open_expecting_pack(bad.note);
    EXPECT_EQ(bytes(), good);
  }
}

TEST_F(PackedCacheTest, QC_LengthsAreChecked) {
  open();
  const std::string good = bytes();
  put(good + std::string(4096, 'x'));
  open_expecting_pack("bytes and has");
  put(good.substr(0, good.size() - 4096));
  open_expecting_pack("bytes and has");
  put(good.substr(0, 30));
  open_expecting_pack("shorter than its prefix");
  put("");
  open_expecting_pack("shorter than its prefix");
}

// The header changed and all checksums were made right again, as by a hostile or foreign writer.
TEST_F(PackedCacheTest, QC_TheTableMustFit) {
  open();
  const std::string good = bytes();
  uint64_t header_bytes;
  std::memcpy(&header_bytes, good.data() + 16, 8);
  const auto forge = [&](const std::string& from, const std::string& to) {
    std::string content = good;
    const size_t at = content.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    ASSERT_EQ(from.size(), to.size());
    content.replace(at, from.size(), to);
    const uint32_t header_crc = crc32c(0, content.data() + 64, header_bytes);
    std::memcpy(content.data() + 32, &header_crc, 4);
    const uint32_t prefix_crc = crc32c(0, content.data(), 36);
    std::memcpy(content.data() + 36, &prefix_crc, 4);
    put(content);
  };
  forge("\"rows\":17", "\"rows\":18");
  open_expecting_pack("does not fit tensor 'b'");
  forge("\"offset\":0", "\"offset\":1");
  open_expecting_pack("does not fit tensor 'a'");
  forge("\"key\":\"0123abc", "\"key\":\"9123abc");
  open_expecting_pack("other sources");
  const std::string engine(version());
  forge("\"engine\":\"" + engine, "\"engine\":\"" + std::string(engine.size(), 'x'));
  open_expecting_pack("another engine version");
}

TEST_F(PackedCacheTest, QC_ABrokenHeaderTextIsADoubt) {
  open();
  const std::string good = bytes();
  uint64_t header_bytes;
  std::memcpy(&header_bytes, good.data() + 16, 8);
  for (const std::string text :
       {"[]", "{}", "{\"engine\":1,\"key\":2,\"tensors\":3}", "nonsense"}) {
    std::string content = good;
    content.replace(64, header_bytes, text + std::string(header_bytes - text.size(), ' '));
    const uint32_t header_crc = crc32c(0, content.data() + 64, header_bytes);
    std::memcpy(content.data() + 32, &header_crc, 4);
    const uint32_t prefix_crc = crc32c(0, content.data(), 36);
    std::memcpy(content.data() + 36, &prefix_crc, 4);
    put(content);
    open_expecting_pack("packing again");
  }
}

TEST_F(PackedCacheTest, QC_OtherSourcesPackAgain) {
  open();
  model.matrices[1] = Matrix("b", "int8", 18, 100, 64);
  open_expecting_pack("does not fit");
  model.matrices.pop_back();
  open_expecting_pack("does not fit the model");
  model.matrices[0].format = "int8";
  open_expecting_pack("does not fit");
}

TEST_F(PackedCacheTest, QC_OwnerModeAndKind) {
  open();
  const std::string good = bytes();
  ASSERT_EQ(::chmod(path.c_str(), 0620), 0);
  open_expecting_pack("other users may write it");
  const std::string elsewhere = root.write("elsewhere", good);
  ::unlink(path.c_str());
  ASSERT_EQ(::symlink(elsewhere.c_str(), path.c_str()), 0);
  open_expecting_pack("symbolic link");
  EXPECT_EQ(read_small_file(elsewhere, 1 << 30), good) << "the target of the link was touched";
  ::unlink(path.c_str());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  open_expecting_pack("not a regular file");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(path.c_str(), 1, 1), 0);
    open_expecting_pack("another user");
  }
}

TEST_F(PackedCacheTest, QC_AFlippedByteInABlockIsFoundBeforeUse) {
  const PackedTensor tensor = open().find("a");
  std::mt19937_64 random(65);
  for (int round = 0; round < 5; ++round) {
    std::string content = bytes();
    const PackedBlock& block = tensor.blocks[random() % tensor.blocks.size()];
    content[block.offset + random() % block.bytes] ^= static_cast<char>(1 << random() % 8);
    put(content);
    const PackedCache cache = open();
    EXPECT_FALSE(cache.packed_now());
    const AlignedBlock data((block.bytes + 4095) / 4096 * 4096);
    cache.file().read(data.data(), data.size(), block.offset);
    const Error error = caught([&] { verify_block(cache, cache.find("a"), block, data.data()); });
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
    EXPECT_EQ(error.detail().file, path);
    EXPECT_NE(error.detail().found.find("tensor 'a' rows"), std::string::npos);
    const PackedCache again = open();  // the bad file is gone
    EXPECT_TRUE(again.packed_now());
    check_content(again);
  }
}

TEST_F(PackedCacheTest, QC_StaleTempsGoLivingOnesStay) {
  open();
  root.write("cache/0123abc.int4.999999-0.tmp", "left by a dead process");
  root.write("cache/other.77.tmp", "also");
  root.write("cache/notes.tmp", "not ours");
  const File living = File::create(root / "cache/x.88-1.tmp");
  ASSERT_TRUE(living.try_lock());
  open();
  EXPECT_EQ(files(), 3);  // the cache, notes.tmp and the living one
}

// Disk full, failed fsync and a failing source: typed, the temporary file gone, and the next start
// works.
TEST_F(PackedCacheTest, FaultsWhilePackingLeaveNothing) {
  FaultSeam full, broken, unsynced, blocked;
  full.allocate = [](int, uint64_t) { return -ENOSPC; };
  std::atomic<int> writes{0};
  blocked.pwrite = [&](int fd, const void* data, size_t bytes, uint64_t offset) -> int64_t {
    if (++writes > 2) return -ENOSPC;
    const ssize_t put = ::pwrite(fd, data, bytes, static_cast<off_t>(offset));
    return put < 0 ? -errno : put;
  };
  broken.pwrite = [](int, const void*, size_t, uint64_t) -> int64_t { return -EIO; };
  unsynced.fsync = [](int) { return -EIO; };
  const std::pair<FaultSeam*, ErrorCode> cases[] = {{&full, ErrorCode::disk_full},
                                                    {&blocked, ErrorCode::disk_full},
                                                    {&broken, ErrorCode::io},
                                                    {&unsynced, ErrorCode::io}};
  for (const auto& [seam, code] : cases) {
    options.seam = seam;
    EXPECT_EQ(caught([&] { open(); }).code(), code);
    EXPECT_EQ(files(), 0);
    EXPECT_EQ(host.used(), 0u);
  }
  options.seam = nullptr;
  auto sources = model.sources();
  sources[2].read_rows = [](int64_t begin, int64_t, float*) {
    if (begin > 0) throw Error(ErrorCode::io, "the shard broke");
  };
  expect_error(ErrorCode::io, "the shard broke",
               [&] { PackedCache::open_or_pack(options, sources, host); });
  EXPECT_EQ(files(), 0);
  check_content(open());
}

// Killed while packing: the next start finds no cache, removes the temporary file and packs.
TEST_F(PackedCacheTest, QC_KilledWhilePacking) {
  for (int chunk = 0; chunk < 3; ++chunk) {
    const pid_t child = ::fork();
    if (child == 0) {
      int calls = 0;
      auto sources = model.sources();
      for (PackSource& source : sources) {
        source.read_rows = [&calls, chunk, read = source.read_rows](int64_t begin, int64_t end,
                                                                    float* out) {
          if (calls++ == chunk) ::kill(::getpid(), SIGKILL);
          read(begin, end, out);
        };
      }
      PackedCache::open_or_pack(options, sources, host);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(files(), 1);  // the temporary file
    const PackedCache cache = open();
    EXPECT_TRUE(cache.packed_now());
    EXPECT_EQ(files(), 1);
    check_content(cache);
    ::unlink(path.c_str());
  }
}

// Damage anywhere in the head: used as it was, or packed again; never another exception.
TEST_F(PackedCacheTest, QC_FuzzedHeads) {
  model.matrices.erase(model.matrices.begin());
  model.matrices.pop_back();  // the small one is enough
  open();
  const std::string good = bytes();
  std::mt19937_64 random(66);
  int packed = 0;
  for (int round = 0; round < 300; ++round) {
    std::string content = good;
    for (uint64_t flips = 1 + random() % 3; flips > 0; --flips) {
      content[random() % 300] ^= static_cast<char>(1 << random() % 8);
    }
    if (random() % 8 == 0) content.resize(random() % content.size());
    put(content);
    const PackedCache cache = open();
    packed += cache.packed_now();
    check_content(cache);
  }
  EXPECT_GT(packed, 200);
}

}  // namespace
}  // namespace penstock

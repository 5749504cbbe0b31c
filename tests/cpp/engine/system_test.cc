#include "penstock/system.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/version.h"
#include "engine/host_limits.h"
#include "kernels/cpu/table.h"

namespace penstock {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

// A pretended /sys/fs/cgroup and /proc/self/cgroup.
class Cgroups : public ::testing::Test {
 protected:
  Cgroups() : folder_(std::filesystem::path(::testing::TempDir()) / "cgroups") {
    std::filesystem::remove_all(folder_);
    write("root/none", "");
  }
  ~Cgroups() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text;
  }
  uint64_t limit() const {
    return cgroup_memory_limit({(folder_ / "root").string(), (folder_ / "self").string()});
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(Cgroups, NoFileIsNoLimit) { EXPECT_EQ(limit(), kNone); }

TEST_F(Cgroups, TheSmallestLimitOfTheGroupAndThoseAboveItCounts) {
  write("self", "0::/users/job\n");
  write("root/users/memory.max", "3000\n");
  write("root/users/job/memory.max", "max\n");
  EXPECT_EQ(limit(), 3000);
  write("root/users/job/memory.max", "2000\n");
  EXPECT_EQ(limit(), 2000);
  write("root/memory.max", "1000\n");
  EXPECT_EQ(limit(), 1000);
}

TEST_F(Cgroups, AnotherGroupDoesNotCount) {
  write("self", "0::/users/job\n");
  write("root/users/other/memory.max", "5\n");
  EXPECT_EQ(limit(), kNone);
}

TEST_F(Cgroups, InAContainerTheRootIsTheProcesssOwn) {
  write("self", "0::/\n");
  write("root/memory.max", "7000\n");
  EXPECT_EQ(limit(), 7000);
}

TEST_F(Cgroups, VersionOneHasAFolderForMemory) {
  write("self", "5:cpu,cpuacct:/job\n4:memory:/job\nnonsense\n");
  write("root/memory/job/memory.limit_in_bytes", "4000\n");
  write("root/memory.max", "1\n");
  EXPECT_EQ(limit(), 4000);
  write("root/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(limit(), kNone);
}

TEST(System, TellsWhatTheBuildFinds) {
  const nlohmann::json found = nlohmann::json::parse(describe_system());
  EXPECT_EQ(found["version"], version());
  ASSERT_EQ(found["isas"].size(), supported_isas().size());
  EXPECT_EQ(found["isas"][0], supported_isas()[0]);
  EXPECT_GT(found["host_memory"]["available"], 0);
  const bool has_gpu = !found["cuda"]["gpus"].empty();
  EXPECT_NE(has_gpu, found["cuda"]["missing"] != "");
}

}  // namespace
}  // namespace penstock

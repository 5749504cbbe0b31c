#include "checkpoint/diagnosis.h"

#include <algorithm>
#include <string_view>

namespace penstock {
namespace {

constexpr uint64_t kHeadBytes = 64;

bool is_pickle(std::string_view head) {
  return head.size() >= 2 && head[0] == '\x80' && head[1] >= 1 && head[1] <= 5;
}

bool is_html(std::string_view head) {
  const size_t first = head.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return false;
  std::string low(head.substr(first, 14));
  std::transform(low.begin(), low.end(), low.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return low.starts_with("<!doctype html") || low.starts_with("<html") ||
         low.starts_with("<head") || low.starts_with("<?xml");
}

}  // namespace

std::string diagnose_foreign_file(const File& file) {
  if (file.path().ends_with(".incomplete")) return "an unfinished download";
  if (file.bytes() == 0) return "an empty file, perhaps an unfinished download";
  std::string head(std::min(file.bytes(), kHeadBytes), '\0');
  file.read_unaligned(head.data(), head.size(), 0);
  if (head.starts_with("version https://git-lfs")) {
    return "a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'";
  }
  if (is_html(head)) return "an HTML page, perhaps the error page of a download";
  if (head.starts_with("PK\x03\x04"))
    return "a zip archive (a PyTorch pickle?): pickle files are not loaded";
  if (is_pickle(head)) return "a Python pickle: pickle files are not loaded";
  if (head.starts_with("GGUF")) return "a GGUF file";
  if (head.starts_with("\x1f\x8b")) return "a gzip archive";
  return "";
}

}  // namespace penstock

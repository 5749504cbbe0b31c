// A folder of untrusted model files. Opens files by plain name only, and only what lies inside the
// folder or, for a snapshot of the Hugging Face cache, in the `blobs` folder beside it (its files
// are symlinks to there).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/file.h"

namespace penstock {

class ModelFolder {
 public:
  explicit ModelFolder(const std::string& folder);  // throws Error(not_found) unless it is a folder

  const std::string& path() const { return path_; }                 // as given
  const std::vector<std::string>& names() const { return names_; }  // sorted
  bool has(std::string_view name) const;
  std::vector<std::string> with_suffix(std::string_view suffix) const;
  std::string path_of(std::string_view name) const;

  // Error(not_found), Error(malformed) for a link that leaves the folder or something that is not a
  // regular file.
  File open(std::string_view name, bool direct, const FaultSeam* seam) const;
  // What can be said about a file that is not there: " (an unfinished download ... )" or "".
  std::string hint_about_missing(std::string_view name) const;

 private:
  void check_inside(std::string_view name, const std::string& real) const;

  std::string path_, real_, blobs_;
  std::vector<std::string> names_;
};

}  // namespace penstock

#include "checkpoint/index.h"

#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/json_events.h"
#include "checkpoint/header_visitor.h"

namespace penstock {
namespace {

// Why this is not the plain name of a file in the model folder, or "".
std::string shard_name_fault(std::string_view name) {
  if (name.empty()) return "empty shard name";
  if (name == "." || name == "..") return "the shard name is a folder";
  if (name.size() > 255) return "the shard name is too long";
  if (name.find_first_of("/\\") != std::string_view::npos) return "the shard name is a path";
  if (name.find('%') != std::string_view::npos) return "the shard name is percent-encoded";
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return "control character in a shard name";
  }
  return "";
}

class IndexVisitor : public JsonVisitor {
 public:
  explicit IndexVisitor(const std::string& file) : file_(file) {}

  void scalar(const JsonPlace& place, const JsonScalar& value) override {
    if (place.depth() == 0)
      refuse(place, "the index is not an object", json_kind(value), "an object");
    if (place.depth() == 1 && section_ == Section::weight_map) {
      refuse(place, "weight_map is not an object", json_kind(value), "an object");
    }
    if (place.depth() != 2) return;
    if (section_ == Section::weight_map) return add_entry(place, value);
    if (section_ == Section::metadata && key_ == "total_size") index_.total_size = json_text(value);
  }

  void key(const JsonPlace& place, const std::string& name) override {
    if (place.depth() == 1) {
      section_ = name == "weight_map" ? Section::weight_map
                 : name == "metadata" ? Section::metadata
                                      : Section::other;
      seen_map_ = seen_map_ || section_ == Section::weight_map;
    }
    if (place.depth() != 2) return;
    key_ = name;
    if (section_ != Section::weight_map) return;
    const std::string fault = tensor_name_fault(name);
    if (!fault.empty()) refuse(place, fault, quote_for_message(name), "");
    if (index_.entries.size() >= kMaxTensors) {
      refuse(place, "too many tensors", "more", std::to_string(kMaxTensors));
    }
  }

  void begin(const JsonPlace& place, bool object) override {
    if (place.depth() == 0 && !object)
      refuse(place, "the index is not an object", "a list", "an object");
    if (section_ != Section::weight_map) return;
    if (place.depth() == 1 && !object)
      refuse(place, "weight_map is not an object", "a list", "an object");
    if (place.depth() == 2) {
      refuse(place, "the shard name is not text", object ? "an object" : "a list", "a string");
    }
  }

  void end(const JsonPlace& place, bool) override {
    if (place.depth() != 0) return;
    if (!seen_map_) refuse(place, "weight_map is missing", "", "an object");
    if (index_.entries.empty()) refuse(place, "weight_map is empty", "", "");
  }

  ShardIndex take() { return std::move(index_); }

 private:
  enum class Section { metadata, weight_map, other };

  [[noreturn]] void refuse(const JsonPlace& place, const std::string& why, std::string_view found,
                           std::string_view allowed) const {
    const std::string pointer = place.pointer();
    throw Error(ErrorCode::malformed, why,
                {.file = file_,
                 .field = pointer.empty() ? "offset " + std::to_string(place.offset()) : pointer,
                 .found = std::string(found),
                 .allowed = std::string(allowed)});
  }

  void add_entry(const JsonPlace& place, const JsonScalar& value) {
    const auto* shard = std::get_if<std::string_view>(&value);
    if (shard == nullptr) refuse(place, "the shard name is not text", json_kind(value), "a string");
    const std::string fault = shard_name_fault(*shard);
    if (!fault.empty()) refuse(place, fault, json_text(value), "the plain name of a file");
    const auto [at, is_new] = numbers_.try_emplace(std::string(*shard), index_.shards.size());
    if (is_new) {
      if (index_.shards.size() >= kMaxShards) {
        refuse(place, "too many shards", "more", std::to_string(kMaxShards));
      }
      index_.shards.emplace_back(*shard);
    }
    index_.entries.push_back({key_, at->second});
  }

  const std::string& file_;
  ShardIndex index_;
  std::unordered_map<std::string, uint32_t> numbers_;
  Section section_ = Section::other;
  std::string key_;
  bool seen_map_ = false;
};

}  // namespace

ShardIndex parse_shard_index(std::string_view text, const std::string& file) {
  IndexVisitor visitor(file);
  visit_strict_json(text, file, visitor);
  return visitor.take();
}

}  // namespace penstock

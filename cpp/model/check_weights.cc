#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "model/weights.h"

namespace penstock {
namespace {

constexpr size_t kListed = 8;

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

std::string joined(const std::vector<std::string>& items) {
  std::string text;
  for (size_t i = 0; i < std::min(items.size(), kListed); ++i)
    text += (i > 0 ? ", " : "") + items[i];
  if (items.size() > kListed) text += " and " + std::to_string(items.size() - kListed) + " more";
  return text;
}

void refuse(const std::string& why, const std::vector<std::string>& items,
            const std::string& folder) {
  if (!items.empty()) {
    throw Error(ErrorCode::malformed, why + ": " + joined(items), {folder, "", "", ""});
  }
}

std::vector<int64_t> wanted_shape(const WeightInfo& info) {
  if (info.kind == WeightKind::vector) return {info.cols};
  return {info.rows, info.cols};
}

// Buffers that old versions of the reference implementation saved; they hold no parameters.
bool is_saved_buffer(std::string_view name) { return name.ends_with(".rotary_emb.inv_freq"); }

}  // namespace

void check_weights(const WeightList& list, const std::vector<std::string>& present,
                   const std::function<std::vector<int64_t>(const std::string&)>& shape_of,
                   const std::string& folder) {
  std::unordered_map<std::string_view, const WeightInfo*> wanted;
  for (const WeightInfo& info : list.all()) wanted.emplace(info.name, &info);
  std::vector<std::string> missing, misshapen, extra;
  std::unordered_map<std::string_view, bool> seen;
  for (const std::string& name : present) {
    seen.emplace(name, true);
    if (wanted.contains(name) || name == list.tied_twin() || is_saved_buffer(name)) continue;
    extra.push_back(escape_for_message(name));
  }
  for (const WeightInfo& info : list.all()) {
    if (wanted.at(info.name) != &info) continue;  // a tied head: checked as the embedding
    if (!seen.contains(info.name)) {
      missing.push_back(info.name + " " + shape_text(wanted_shape(info)));
    } else if (const auto found = shape_of(info.name); found != wanted_shape(info)) {
      misshapen.push_back(info.name + " is " + shape_text(found) + ", config.json makes it " +
                          shape_text(wanted_shape(info)));
    }
  }
  refuse("tensors are missing", missing, folder);
  refuse("tensors have the wrong shape", misshapen, folder);
  refuse("the model has no use for these tensors", extra, folder);
}

}  // namespace penstock

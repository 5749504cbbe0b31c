#include "base/json.h"

#include <utility>
#include <vector>

namespace penstock {
namespace {

// Builds the tree from the events. Open containers do not move while they are open.
class TreeBuilder : public JsonVisitor {
 public:
  void scalar(const JsonPlace&, const JsonScalar& value) override {
    std::visit([&](const auto& held) { put(Json(held)); }, value);
  }
  void key(const JsonPlace&, const std::string& name) override { member_ = &(*open_.back())[name]; }
  void begin(const JsonPlace&, bool object) override {
    open_.push_back(put(object ? Json::object() : Json::array()));
  }
  void end(const JsonPlace&, bool) override { open_.pop_back(); }

  Json take() { return std::move(root_); }

 private:
  Json* put(Json&& value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (member_ != nullptr) return &(*std::exchange(member_, nullptr) = std::move(value));
    open_.back()->push_back(std::move(value));
    return &open_.back()->back();
  }

  Json root_;
  std::vector<Json*> open_;
  Json* member_ = nullptr;  // where the value of the last key goes
};

}  // namespace

Json parse_strict_json(std::string_view text, const std::string& file, const JsonLimits& limits) {
  TreeBuilder builder;
  visit_strict_json(text, file, builder, limits);
  return builder.take();
}

}  // namespace penstock

#include "base/json.h"

namespace penstock {

Json::Json(std::nullptr_t) {}
Json::Json(double value) : value_(value) {}
Json::Json(const char* text) : value_(std::string(text)) {}
Json::Json(std::string_view text) : value_(std::string(text)) {}
Json::Json(std::string text) : value_(std::move(text)) {}
Json::Json(const Json& other) = default;
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(const Json& other) = default;
Json& Json::operator=(Json&& other) noexcept = default;
Json::~Json() = default;

Json::Json(std::initializer_list<Member> members) : value_(Object()) {
  Object& object = std::get<Object>(value_);
  for (const Member& member : members) object.emplace(member.key, std::move(member.value));
}

Json Json::array(Array elements) {
  Json json;
  json.value_ = std::move(elements);
  return json;
}

Json Json::object() {
  Json json;
  json.value_ = Object();
  return json;
}

template <class T>
const T& Json::as(std::string_view kind) const {
  const T* value = std::get_if<T>(&value_);
  if (value != nullptr) return *value;
  throw Error(
      ErrorCode::internal, "a JSON value is read as what it is not",
      {.file = {}, .field = {}, .found = escape_for_message(dump()), .allowed = std::string(kind)});
}

bool Json::boolean() const { return as<bool>("a boolean"); }
const std::string& Json::text() const { return as<std::string>("a string"); }
const Json::Array& Json::elements() const { return as<Array>("an array"); }
const Json::Object& Json::items() const { return as<Object>("an object"); }

int64_t Json::integer(bool is_signed) const {
  if (const int64_t* value = std::get_if<int64_t>(&value_)) {
    check(is_signed || *value >= 0, "a JSON integer is negative");
    return *value;
  }
  const uint64_t value = as<uint64_t>("an integer");
  check(!is_signed || value <= INT64_MAX, "a JSON integer is too large");
  return static_cast<int64_t>(value);
}

double Json::number() const {
  if (const int64_t* value = std::get_if<int64_t>(&value_)) return static_cast<double>(*value);
  if (const uint64_t* value = std::get_if<uint64_t>(&value_)) return static_cast<double>(*value);
  return as<double>("a number");
}

size_t Json::size() const {
  if (is_object()) return items().size();
  if (is_array()) return elements().size();
  return is_null() ? 0 : 1;
}

const Json* Json::find(std::string_view key) const {
  const Object* object = std::get_if<Object>(&value_);
  if (object == nullptr) return nullptr;
  const auto at = object->find(key);
  return at == object->end() ? nullptr : &at->second;
}

const Json& Json::operator[](std::string_view key) const {
  const Json* value = find(key);
  check(value != nullptr, "a JSON object lacks a member");
  return *value;
}

const Json& Json::operator[](size_t index) const {
  const Array& array = elements();
  check(index < array.size(), "a JSON array is too short");
  return array[index];
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = Object();
  items();  // throws when this is no object
  Object& object = std::get<Object>(value_);
  const auto at = object.lower_bound(key);
  if (at != object.end() && at->first == key) return at->second;
  return object.emplace_hint(at, std::string(key), nullptr)->second;
}

void Json::push_back(Json value) {
  if (is_null()) value_ = Array();
  elements();  // throws when this is no array
  std::get<Array>(value_).push_back(std::move(value));
}

Json& Json::back() {
  check(!elements().empty(), "a JSON array is empty");
  return std::get<Array>(value_).back();
}

void Json::erase(std::string_view key) {
  items();  // throws when this is no object
  Object& object = std::get<Object>(value_);
  const auto at = object.find(key);
  if (at != object.end()) object.erase(at);
}

void Json::update(const Json& other) {
  for (const auto& [key, value] : other.items()) (*this)[key] = value;
}

bool operator==(const Json& a, const Json& b) {
  if (!a.is_number() || !b.is_number()) return a.value_ == b.value_;
  const int64_t* left = std::get_if<int64_t>(&a.value_);
  const int64_t* right = std::get_if<int64_t>(&b.value_);
  if (!a.is_number_integer() || !b.is_number_integer()) return a.number() == b.number();
  if ((left != nullptr) == (right != nullptr)) return a.value_ == b.value_;
  const int64_t small = left != nullptr ? *left : *right;
  const uint64_t other = std::get<uint64_t>(left != nullptr ? b.value_ : a.value_);
  return std::cmp_equal(small, other);
}

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

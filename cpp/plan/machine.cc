#include "plan/machine.h"

#include <algorithm>
#include <array>

#include "plan/json_fields.h"
#include "tensor/format.h"

namespace penstock {
namespace {

struct Field {
  std::string_view name;
  double Machine::* value;
};

constexpr std::array kFields = {
    Field{"disk_read_bytes_per_second", &Machine::disk_read_bytes_per_second},
    Field{"disk_write_bytes_per_second", &Machine::disk_write_bytes_per_second},
    Field{"host_copy_bytes_per_second", &Machine::host_copy_bytes_per_second},
    Field{"h2d_bytes_per_second", &Machine::h2d_bytes_per_second},
    Field{"d2h_bytes_per_second", &Machine::d2h_bytes_per_second},
    Field{"gemm_flops_per_second", &Machine::gemm_flops_per_second},
    Field{"attention_bytes_per_second", &Machine::attention_bytes_per_second},
    Field{"attention_flops_per_second", &Machine::attention_flops_per_second},
    Field{"host_attention_bytes_per_second", &Machine::host_attention_bytes_per_second},
};
constexpr double kLeast = 1, kMost = 1e18;
constexpr double kLeastStep = 1e-9, kMostStep = 1, kMostSpread = 1e6;
constexpr int kMostRows = 1 << 20;

std::string required_text(const JsonFields& fields, std::string_view name) {
  auto text = fields.text(name);
  if (!text) fields.refuse(name, "missing", "a string");
  return *text;
}

double required_rate(const JsonFields& fields, std::string_view name) {
  const auto rate = fields.number(name, kLeast, kMost);
  if (!rate) fields.refuse(name, "missing", "a number");
  return *rate;
}

GemmRate read_gemm(const JsonFields& fields) {
  fields.allow_only({"format", "rows", "flops_per_second"});
  const auto rows = fields.integer("rows", 1, kMostRows);
  if (!rows) fields.refuse("rows", "missing", "an integer");
  return {required_text(fields, "format"), *rows, required_rate(fields, "flops_per_second")};
}

AttentionRate read_attention(const JsonFields& fields) {
  fields.allow_only({"kv", "bytes_per_second"});
  return {required_text(fields, "kv"), required_rate(fields, "bytes_per_second")};
}

void read_spread(const JsonFields& fields, Machine* machine) {
  static_assert(kFields.size() == 9);
  const std::initializer_list<std::string_view> names = {
      "gemm",          "attention",     "host_attention", "step_seconds",  kFields[0].name,
      kFields[1].name, kFields[2].name, kFields[3].name,  kFields[4].name, kFields[5].name,
      kFields[6].name, kFields[7].name, kFields[8].name};
  fields.allow_only(names);
  for (const std::string_view name : names) {
    const auto value = fields.number(name, 0, kMostSpread);
    if (value) machine->spread[std::string(name)] = *value;
  }
}

}  // namespace

double Machine::gemm_rate(std::string_view format, double rows) const {
  const GemmRate *below = nullptr, *above = nullptr;
  for (const GemmRate& rate : gemm) {
    if (rate.format != format) continue;
    if (rate.rows <= rows && (below == nullptr || rate.rows > below->rows)) below = &rate;
    if (rate.rows >= rows && (above == nullptr || rate.rows < above->rows)) above = &rate;
  }
  if (below == nullptr && format.ends_with(kVariantProduct)) {
    return gemm_rate(format.substr(0, format.size() - kVariantProduct.size()), rows);
  }
  if (below == nullptr && above == nullptr) return 0;
  if (above == nullptr) return below->flops_per_second;
  // Fewer rows than measured take as long as the fewest measured.
  if (below == nullptr) return above->flops_per_second * rows / above->rows;
  if (above->rows == below->rows) return above->flops_per_second;
  const double begin = below->rows / below->flops_per_second;
  const double end = above->rows / above->flops_per_second;
  const double part = (rows - below->rows) / (above->rows - below->rows);
  return rows / (begin + part * (end - begin));
}

namespace {

double rate_of(const std::vector<AttentionRate>& rates, std::string_view kv, double otherwise) {
  for (const AttentionRate& rate : rates) {
    if (rate.kv == kv) return rate.bytes_per_second;
  }
  return otherwise;
}

}  // namespace

double Machine::attention_rate(std::string_view kv) const {
  return rate_of(attention, kv, attention_bytes_per_second);
}

double Machine::host_attention_rate(std::string_view kv) const {
  return rate_of(host_attention, kv, host_attention_bytes_per_second);
}

Machine machine_from_json(std::string_view text, const std::string& file) {
  const Json json = parse_strict_json(text, file);
  const JsonFields fields(json, file, "");
  static_assert(kFields.size() == 9);
  fields.allow_only({"version", "about", "spread", "step_seconds", "gemm", "attention",
                     "host_attention", kFields[0].name, kFields[1].name, kFields[2].name,
                     kFields[3].name, kFields[4].name, kFields[5].name, kFields[6].name,
                     kFields[7].name, kFields[8].name});
  fields.integer("version", kMachineVersion, kMachineVersion);
  fields.text("about");
  Machine machine;
  for (const Field& field : kFields) {
    const auto value = fields.number(field.name, kLeast, kMost);
    if (value) machine.*field.value = *value;
  }
  machine.step_seconds = fields.number("step_seconds", kLeastStep, kMostStep).value_or(0);
  if (const auto spread = fields.object("spread")) read_spread(*spread, &machine);
  for (const JsonFields& each : fields.objects("gemm")) machine.gemm.push_back(read_gemm(each));
  for (const JsonFields& each : fields.objects("attention")) {
    machine.attention.push_back(read_attention(each));
  }
  for (const JsonFields& each : fields.objects("host_attention")) {
    machine.host_attention.push_back(read_attention(each));
  }
  return machine;
}

namespace {

void put_attention(Json* json, const char* name, const std::vector<AttentionRate>& rates) {
  for (const AttentionRate& rate : rates) {
    (*json)[name].push_back({{"kv", rate.kv}, {"bytes_per_second", rate.bytes_per_second}});
  }
}

}  // namespace

std::string machine_to_json(const Machine& machine, const std::string& about) {
  Json json = Json::object();
  json["version"] = kMachineVersion;
  if (!about.empty()) json["about"] = about;
  for (const Field& field : kFields) {
    if (machine.*field.value > 0) json[std::string(field.name)] = machine.*field.value;
  }
  if (machine.step_seconds > 0) json["step_seconds"] = machine.step_seconds;
  for (const GemmRate& rate : machine.gemm) {
    json["gemm"].push_back({{"format", rate.format},
                            {"rows", rate.rows},
                            {"flops_per_second", rate.flops_per_second}});
  }
  put_attention(&json, "attention", machine.attention);
  put_attention(&json, "host_attention", machine.host_attention);
  for (const auto& [name, spread] : machine.spread) json["spread"][name] = spread;
  return json.dump(2);
}

}  // namespace penstock

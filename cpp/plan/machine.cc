#include "plan/machine.h"

#include <array>

#include "plan/json_fields.h"

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
};

}  // namespace

Machine machine_from_json(std::string_view text, const std::string& file) {
  const Json json = parse_strict_json(text, file);
  const JsonFields fields(json, file, "");
  fields.allow_only({kFields[0].name, kFields[1].name, kFields[2].name, kFields[3].name,
                     kFields[4].name, kFields[5].name, kFields[6].name});
  static_assert(kFields.size() == 7);
  Machine machine;
  for (const Field& field : kFields) {
    const auto value = fields.number(field.name, 1, 1e18);
    if (value) machine.*field.value = *value;
  }
  return machine;
}

std::string machine_to_json(const Machine& machine) {
  Json json = Json::object();
  for (const Field& field : kFields) json[std::string(field.name)] = machine.*field.value;
  return json.dump(2);
}

}  // namespace penstock

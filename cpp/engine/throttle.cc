#include "engine/throttle.h"

#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "device/device.h"
#include "plan/machine.h"

namespace penstock {
namespace {

constexpr const char* kFile = "throttle";

enum class On { every_device, accelerators, virtual_one };

struct Rate {
  std::string_view name;
  double Machine::* given;
  double Throttle::* kept;
  On on;
};

constexpr Rate kRates[] = {
    {"disk_read_bytes_per_second", &Machine::disk_read_bytes_per_second, &Throttle::disk_read,
     On::every_device},
    {"disk_write_bytes_per_second", &Machine::disk_write_bytes_per_second, &Throttle::disk_write,
     On::every_device},
    {"host_attention_bytes_per_second", &Machine::host_attention_bytes_per_second,
     &Throttle::host_attention, On::accelerators},
    {"h2d_bytes_per_second", &Machine::h2d_bytes_per_second, &Throttle::h2d, On::virtual_one},
    {"d2h_bytes_per_second", &Machine::d2h_bytes_per_second, &Throttle::d2h, On::virtual_one},
    {"gemm_flops_per_second", &Machine::gemm_flops_per_second, &Throttle::gemm, On::virtual_one},
    {"attention_bytes_per_second", &Machine::attention_bytes_per_second, &Throttle::attention,
     On::virtual_one},
};

std::vector<Rate> rates_of(const std::string& device) {
  const std::string kind = device_kind(device);
  std::vector<Rate> rates;
  for (const Rate& rate : kRates) {
    const bool has = rate.on == On::every_device || kind == "virtual" ||
                     (rate.on == On::accelerators && kind != "cpu");
    if (has) rates.push_back(rate);
  }
  return rates;
}

[[noreturn]] void refuse(const std::string& field, const Json& value,
                         const std::vector<Rate>& rates, const std::string& device) {
  std::string allowed = "about, version";
  for (const Rate& rate : rates) allowed.append(", ").append(rate.name);
  throw Error(ErrorCode::unsupported, "the device '" + device + "' cannot be held to this",
              {kFile, field, escape_for_message(value.dump()), allowed});
}

}  // namespace

Throttle throttle_from_json(const std::string& text, const std::string& device) {
  Throttle throttle;
  if (text.empty()) return throttle;
  const Machine machine = machine_from_json(text, kFile);
  const Json json = parse_strict_json(text, kFile);
  const std::vector<Rate> rates = rates_of(device);
  for (const auto& [key, value] : json.items()) {
    if (key == "about" || key == "version") continue;
    const Rate* found = nullptr;
    for (const Rate& rate : rates) {
      if (rate.name == key) found = &rate;
    }
    if (found == nullptr) refuse(key, value, rates, device);
    throttle.*found->kept = machine.*found->given;
  }
  return throttle;
}

}  // namespace penstock

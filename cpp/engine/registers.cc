#include "engine/registers.h"

#include <algorithm>
#include <initializer_list>

#include "base/checked.h"
#include "base/error.h"
#include "tensor/units.h"

namespace penstock {

namespace {

// Work registers of a module kind, in memory order.
std::initializer_list<Reg> work_registers(ModuleKind module) {
  static constexpr std::initializer_list<Reg> kAttention = {Reg::normed, Reg::q, Reg::k, Reg::v,
                                                            Reg::attended};
  static constexpr std::initializer_list<Reg> kMlp = {Reg::normed, Reg::gate, Reg::up};
  static constexpr std::initializer_list<Reg> kEmbed = {Reg::embedded};
  static constexpr std::initializer_list<Reg> kNone = {};
  switch (module) {
    case ModuleKind::attention:
      return kAttention;
    case ModuleKind::mlp:
      return kMlp;
    case ModuleKind::embed:
      return kEmbed;
    case ModuleKind::head:
      return kNone;
  }
  return kNone;
}

int64_t register_bytes(const Program& program, Reg reg, int64_t tokens) {
  return round_up(program.reg_width[static_cast<int>(reg)] * tokens * 4, kLineBytes);
}

}  // namespace

RegisterSizes register_sizes(const Program& program, const WeightList& weights,
                             const std::vector<FormatId>& formats, Compute compute,
                             int64_t tokens) {
  RegisterSizes sizes;
  for (const ModuleKind module : {ModuleKind::embed, ModuleKind::attention, ModuleKind::mlp}) {
    int64_t bytes = 0;
    for (const Reg reg : work_registers(module)) bytes += register_bytes(program, reg, tokens);
    sizes.work_bytes = std::max(sizes.work_bytes, bytes);
  }
  for (const WeightInfo& info : weights.all()) {
    if (info.kind != WeightKind::matrix) continue;
    const PreparedLayout layout = prepared_layout_for(format(formats[info.id]), info.cols, compute);
    sizes.prepared_bytes = std::max(sizes.prepared_bytes, layout.stride_bytes * tokens);
  }
  return sizes;
}

Registers::Registers(const Program& program, int64_t tokens, std::byte* work, std::byte* prepared)
    : program_(program), tokens_(tokens), work_(work), prepared_(prepared) {}

float* Registers::at(ModuleKind module, Reg reg) const {
  std::byte* next = work_;
  for (const Reg candidate : work_registers(module)) {
    if (candidate == reg) return reinterpret_cast<float*>(next);
    next += register_bytes(program_, candidate, tokens_);
  }
  check(false, "a work register belongs to its module");
  return nullptr;
}

}  // namespace penstock

#include "kernels/cpu/table.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/error.h"

namespace penstock {
namespace {

struct Isa {
  std::string_view name;
  bool (*runs)();
  void (*overlay)(KernelTable&);
};

// From the plainest to the widest; each takes over what the one before has.
constexpr std::array kIsas = {
    Isa{"portable", [] { return true; }, overlay_portable},
    Isa{"avx2", runs_avx2, overlay_avx2},
    Isa{"avx512", runs_avx512, overlay_avx512},
    Isa{"avx512bf16", runs_avx512bf16, overlay_avx512bf16},
    Isa{"avx512amx", runs_avx512amx, overlay_avx512amx},
};

// The tables that this processor runs. Overlays are compiled for their instruction sets, so none is
// called before the processor was asked.
std::vector<KernelTable> make_tables() {
  std::vector<KernelTable> tables;
  KernelTable table{};
  for (const Isa& isa : kIsas) {
    if (!isa.runs()) continue;
    isa.overlay(table);
    table.isa = isa.name;
    tables.push_back(table);
  }
  return tables;
}

const std::vector<KernelTable>& tables() {
  static const std::vector<KernelTable> tables = make_tables();
  return tables;
}

std::vector<const KernelTable*>& added_tables() {
  static std::vector<const KernelTable*> tables;
  return tables;
}

}  // namespace

void add_kernel_table(const KernelTable& table) { added_tables().push_back(&table); }

std::vector<std::string_view> supported_isas() {
  std::vector<std::string_view> names;
  for (auto table = tables().rbegin(); table != tables().rend(); ++table) {
    names.push_back(table->isa);
  }
  const auto dot = std::find(names.begin(), names.end(), "avx512bf16");
  if (dot != names.end() && !prefers_bf16_dot()) std::iter_swap(dot, dot + 1);
  for (const KernelTable* added : added_tables()) names.push_back(added->isa);
  return names;
}

const KernelTable& kernel_table(std::string_view isa) {
  const std::vector<std::string_view> names = supported_isas();
  const std::string_view wanted = isa.empty() || isa == "auto" ? names.front() : isa;
  std::string allowed = "auto";
  for (const std::string_view name : names) allowed += ", " + std::string(name);
  for (const KernelTable& table : tables()) {
    if (table.isa == wanted) return table;
  }
  for (const KernelTable* added : added_tables()) {
    if (added->isa == wanted) return *added;
  }
  throw Error(ErrorCode::unsupported, "this processor has no such instruction set",
              ErrorDetail{.file = {},
                          .field = "isa",
                          .found = escape_for_message(isa),
                          .allowed = std::move(allowed)});
}

}  // namespace penstock

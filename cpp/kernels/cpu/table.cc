#include "kernels/cpu/table.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/error.h"

namespace penstock {
namespace {

struct Isa {
  KernelTable table;
  bool supported;
};

// From the plainest to the widest; each takes over what the one before has.
constexpr size_t kIsas = 5;
std::array<Isa, kIsas> make_isas() {
  std::array<Isa, kIsas> isas{};
  KernelTable table{};
  const auto put = [&](int i, std::string_view name, bool supported,
                       void (*overlay)(KernelTable&)) {
    overlay(table);
    table.isa = name;
    isas[static_cast<size_t>(i)] = {table, supported};
  };
  put(0, "portable", true, overlay_portable);
  put(1, "avx2", runs_avx2(), overlay_avx2);
  put(2, "avx512", runs_avx512(), overlay_avx512);
  put(3, "avx512bf16", runs_avx512bf16(), overlay_avx512bf16);
  put(4, "avx512amx", runs_avx512amx(), overlay_avx512amx);
  return isas;
}

const std::array<Isa, kIsas>& isas() {
  static const std::array<Isa, kIsas> table = make_isas();
  return table;
}

std::vector<const KernelTable*>& added_tables() {
  static std::vector<const KernelTable*> tables;
  return tables;
}

}  // namespace

void add_kernel_table(const KernelTable& table) { added_tables().push_back(&table); }

std::vector<std::string_view> supported_isas() {
  std::vector<std::string_view> names;
  for (auto isa = isas().rbegin(); isa != isas().rend(); ++isa) {
    if (isa->supported) names.push_back(isa->table.isa);
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
  for (const Isa& row : isas()) {
    if (row.supported && row.table.isa == wanted) return row.table;
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

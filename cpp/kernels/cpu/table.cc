#include "kernels/cpu/table.h"

#include <string>

#include "base/error.h"
#include "kernels/cpu/isas.h"

namespace penstock {
namespace {

// The tables that this processor runs, and their names, best first.
struct Supported {
  std::vector<KernelTable> tables;
  std::vector<std::string_view> names;
};

// Overlays are compiled for their instruction sets, so none is called before the processor was
// asked.
Supported find_supported() {
  Supported found;
  KernelTable table{};
  overlay_portable(table);
  table.isa = "portable";
  found.tables.push_back(table);
  found.names.push_back(table.isa);
  for (const Isa& isa : isas()) {
    if (!isa.runs()) continue;
    isa.overlay(table);
    table.isa = isa.name;
    found.tables.push_back(table);
    const bool is_best = isa.is_preferred == nullptr || isa.is_preferred();
    found.names.insert(found.names.begin() + (is_best ? 0 : 1), isa.name);
  }
  return found;
}

const Supported& supported() {
  static const Supported supported = find_supported();
  return supported;
}

std::vector<const KernelTable*>& added_tables() {
  static std::vector<const KernelTable*> tables;
  return tables;
}

}  // namespace

void add_kernel_table(const KernelTable& table) { added_tables().push_back(&table); }

std::vector<std::string_view> supported_isas() {
  std::vector<std::string_view> names = supported().names;
  for (const KernelTable* added : added_tables()) names.push_back(added->isa);
  return names;
}

const KernelTable& kernel_table(std::string_view isa) {
  const std::vector<std::string_view> names = supported_isas();
  const std::string_view wanted = isa.empty() || isa == "auto" ? names.front() : isa;
  std::string allowed = "auto";
  for (const std::string_view name : names) allowed += ", " + std::string(name);
  for (const KernelTable& table : supported().tables) {
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

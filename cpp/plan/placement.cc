#include "plan/placement.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/checked.h"
#include "base/error.h"
#include "plan/device_split.h"
#include "tensor/units.h"

namespace penstock {
namespace {

struct Matrix {
  const WeightInfo* info = nullptr;
  FormatId format_id = 0;
  int64_t unit_rows = 1;
  uint64_t unit_bytes = 0;

  bool packed() const { return format(format_id).quantised(); }
  int64_t units() const { return ceil_div(info->rows, unit_rows); }
  int64_t block_rows() const {
    return packed_block_rows(format(format_id), info->rows, info->cols);
  }
};

Matrix matrix_of(const WeightInfo& info, FormatId id) {
  const QuantFormat& f = format(id);
  Matrix matrix{&info, id, 1, static_cast<uint64_t>(info.cols * dtype_bytes(f.raw))};
  if (f.quantised()) {
    matrix.unit_rows = kTileRows;
    matrix.unit_bytes = static_cast<uint64_t>(packed_layout(f, info.cols).tile_bytes);
  }
  return matrix;
}

uint64_t bytes_of(const Matrix& matrix, int64_t begin, int64_t end) {
  if (begin >= end) return 0;
  const int64_t first = begin / matrix.unit_rows, last = ceil_div(end, matrix.unit_rows);
  return static_cast<uint64_t>(last - first) * matrix.unit_bytes;
}

// Gives each matrix its share in whole units: at every point the sum is not above the share of the
// bytes seen so far, and less than one (largest) unit below it.
class ShareRounder {
 public:
  explicit ShareRounder(double share) : share_(share) {}

  int64_t take(const Matrix& matrix, int64_t available) {
    if (share_ <= 0) return 0;
    if (share_ >= 1 - 1e-9) return available;
    const auto unit = static_cast<long double>(matrix.unit_bytes);
    const long double wanted = share_ * matrix.units();
    owed_ += wanted * unit;
    const auto least = static_cast<int64_t>(std::floor(wanted + kSlack));
    const auto most = static_cast<int64_t>(std::ceil(wanted - kSlack));
    const auto due = static_cast<int64_t>(std::floor(owed_ / unit + kSlack));
    const int64_t units = std::min(std::clamp(due, least, most), available);
    owed_ -= units * unit;
    return units;
  }

 private:
  static constexpr long double kSlack = 1e-9L;
  long double share_, owed_ = 0;
};

class Placer {
 public:
  Placer(const Program& program, const WeightList& weights, const PlacementOptions& options,
         WeightPlan* plan)
      : program_(program),
        weights_(weights),
        options_(options),
        split_(options.device_layers),
        plan_(*plan) {}

  void place() {
    ShareRounder device(options_.shares.device), host(options_.shares.host);
    for (const Module& module : program_.modules) {
      if (options_.whole_tensors) {
        place_whole(module);
        continue;
      }
      for (int id : module.matrices) place_matrix(matrix(id), &device, &host);
    }
    for (const WeightInfo& info : weights_.all()) {
      if (info.kind == WeightKind::table) place_table(info);
    }
  }

  void visit_all() {
    for (size_t m = 0; m < program_.modules.size(); ++m) {
      if (program_.modules[m].kind != ModuleKind::head) visit_module(static_cast<int>(m));
    }
    for (const Visit& visit : plan_.visits) {
      head_limit_ = std::max(head_limit_, streamed_bytes(visit));
    }
    if (head_limit_ == 0) head_limit_ = std::numeric_limits<uint64_t>::max();
    for (size_t m = 0; m < program_.modules.size(); ++m) {
      if (program_.modules[m].kind == ModuleKind::head) visit_head(static_cast<int>(m));
    }
  }

  void count() {
    for (const Visit& visit : plan_.visits) count_visit(visit);
    for (const WeightInfo& info : weights_.all()) {
      if (plan_.alias[info.id] >= 0) continue;
      for (const Segment& s : plan_.placements[info.id].segments) {
        plan_.resident_bytes[static_cast<int>(s.place.tier)] +=
            bytes_of(matrix(info.id), s.begin, s.end);
      }
    }
  }

 private:
  Matrix matrix(int id) const { return matrix_of(weights_.at(id), plan_.formats[id]); }

  bool streamed(const Panel& panel) const { return is_streamed(panel, options_.compute); }

  uint64_t streamed_bytes(const Visit& visit) const {
    uint64_t bytes = 0;
    for (const Panel& panel : visit.panels) bytes += streamed(panel) ? panel.bytes : 0;
    return bytes;
  }

  void add_segment(const WeightInfo& info, Tier tier, int64_t begin, int64_t end) {
    const int device = tier == Tier::device ? split_.of_weight(info) : 0;
    if (begin < end) plan_.placements[info.id].segments.push_back({{tier, device}, begin, end});
  }

  void place_matrix(const Matrix& m, ShareRounder* device, ShareRounder* host) {
    const int64_t units = m.units(), on_device = device->take(m, units);
    int64_t on_host = host->take(m, units - on_device);
    if (options_.shares.disk <= 0) on_host = units - on_device;
    const int64_t rows = m.info->rows;
    const int64_t device_end = std::min(rows, on_device * m.unit_rows);
    const int64_t host_end = std::min(rows, (on_device + on_host) * m.unit_rows);
    add_segment(*m.info, Tier::device, 0, device_end);
    add_segment(*m.info, Tier::host, device_end, host_end);
    add_segment(*m.info, Tier::disk, host_end, rows);
  }

  // 0 when the model has no such tensor.
  double values(Role role, int layer, bool bias) const {
    const int id = weights_.find(role, layer, bias);
    return id < 0 ? 0 : static_cast<double>(weights_.at(id).rows * weights_.at(id).cols);
  }

  double norm_values(const Module& module) const {
    const Role role = module.kind == ModuleKind::attention ? Role::attention_norm
                      : module.kind == ModuleKind::mlp     ? Role::mlp_norm
                                                           : Role::final_norm;
    if (module.kind == ModuleKind::embed) return 0;
    return values(role, module.layer, false) + values(role, module.layer, true);
  }

  // `at`: between 0 and 1, the shares side by side.
  Tier tier_at(double at) const {
    const Shares& shares = options_.shares;
    const double place = at * (shares.disk + shares.host + shares.device);
    if (place < shares.disk) return Tier::disk;
    return place < shares.disk + shares.host ? Tier::host : Tier::device;
  }

  void place_whole(const Module& module) {
    double before = module.kind == ModuleKind::head ? norm_values(module) : 0;
    double total = norm_values(module);
    for (int id : module.matrices) {
      const WeightInfo& info = weights_.at(id);
      total += values(info.role, info.layer, false) + values(info.role, info.layer, true);
    }
    for (int id : module.matrices) {
      const WeightInfo& info = weights_.at(id);
      const double size = values(info.role, info.layer, false);
      add_segment(info, tier_at((before + size / 2) / total), 0, info.rows);
      before += size + values(info.role, info.layer, true);
    }
  }

  void place_table(const WeightInfo& info) {
    const int head = weights_.find(Role::head);
    const bool tied = info.role == Role::token_embed && head >= 0 &&
                      weights_.at(head).name == info.name && !matrix(head).packed() &&
                      plan_.formats[head] == plan_.formats[info.id];
    if (tied) {
      plan_.placements[info.id] = plan_.placements[head];
      plan_.alias[info.id] = head;
      return;
    }
    const Tier tier = options_.shares.disk <= 0 ? Tier::host : Tier::disk;
    add_segment(info, tier, 0, info.rows);
  }

  // Panels of rows [begin, end) of a matrix, all tiers.
  void add_panels(const Matrix& m, int64_t begin, int64_t end, Visit* visit) const {
    for (const Segment& s : plan_.placements[m.info->id].segments) {
      const int64_t from = std::max(begin, s.begin), to = std::min(end, s.end);
      if (from >= to) continue;
      const uint64_t bytes = bytes_of(m, from, to);
      const Panel whole{m.info->id, from, to, s.place.tier, bytes, bytes};
      if (!streamed(whole)) {
        visit->panels.push_back(whole);
      } else if (m.packed()) {
        cut_blocks(m, whole, visit);
      } else {
        cut_rows(m, whole, visit);
      }
    }
  }

  static void cut_blocks(const Matrix& m, const Panel& whole, Visit* visit) {
    const int64_t rows = m.block_rows();
    for (int64_t block = round_down(whole.row_begin, rows); block < whole.row_end; block += rows) {
      Panel panel = whole;
      panel.row_begin = std::max(whole.row_begin, block);
      panel.row_end = std::min(whole.row_end, block + rows);
      const bool travels_whole = panel.home == Tier::disk;
      panel.bytes = travels_whole ? bytes_of(m, block, std::min(m.info->rows, block + rows))
                                  : bytes_of(m, panel.row_begin, panel.row_end);
      panel.upload_bytes = bytes_of(m, panel.row_begin, panel.row_end);
      visit->panels.push_back(panel);
    }
  }

  void cut_rows(const Matrix& m, const Panel& whole, Visit* visit) const {
    const auto most =
        std::max<int64_t>(1, static_cast<int64_t>(options_.panel_bytes / m.unit_bytes));
    const bool tiles = most >= 4 * kTileRows;
    const int64_t rows = whole.row_end - whole.row_begin;
    const int64_t pieces = ceil_div(rows, tiles ? most - kTileRows + 1 : most);
    int64_t begin = whole.row_begin;
    for (int64_t i = 1; i <= pieces; ++i) {
      int64_t end = whole.row_begin + rows * i / pieces;
      if (tiles && i < pieces) end = round_down(end, kTileRows);
      if (end <= begin) continue;
      const uint64_t bytes = bytes_of(m, begin, end);
      visit->panels.push_back({whole.weight, begin, end, whole.home, bytes, bytes});
      begin = end;
    }
  }

  void visit_module(int module) {
    Visit visit;
    visit.module = module;
    visit.device = split_.of_module(program_.modules[module]);
    for (int id : program_.modules[module].matrices) {
      add_panels(matrix(id), 0, weights_.at(id).rows, &visit);
    }
    plan_.visits.push_back(std::move(visit));
  }

  void visit_head(int module) {
    const std::vector<int>& ids = program_.modules[module].matrices;
    check(!ids.empty() && weights_.at(ids.back()).role == Role::head, "the head has a matrix");
    const Matrix head = matrix(ids.back());
    for (int64_t begin = 0; begin < head.info->rows;) {
      Visit visit;
      visit.module = module;
      visit.device = split_.last();
      for (size_t i = 0; begin == 0 && i + 1 < ids.size(); ++i) {
        add_panels(matrix(ids[i]), 0, weights_.at(ids[i]).rows, &visit);
      }
      visit.row_begin = begin;
      visit.row_end = chunk_end(head, begin, streamed_bytes(visit));
      visit.first_chunk = begin == 0;
      visit.last_chunk = visit.row_end == head.info->rows;
      add_panels(head, begin, visit.row_end, &visit);
      begin = visit.row_end;
      plan_.visits.push_back(std::move(visit));
    }
  }

  int64_t chunk_end(const Matrix& head, int64_t begin, uint64_t taken) const {
    int64_t stays = 0;  // rows that need no staging
    for (const Segment& s : plan_.placements[head.info->id].segments) {
      if (!streamed({-1, 0, 0, s.place.tier, 0})) stays = s.end;
    }
    const int64_t rows = head.info->rows;
    const bool blocks = head.packed() && stays < rows;
    const int64_t unit = blocks ? std::lcm(int64_t{kScoreBlock}, head.block_rows()) : kScoreBlock;
    int64_t end = std::min(rows, begin + unit);
    while (end < rows) {
      const int64_t next = std::min(rows, end + unit);
      int64_t from = std::max(begin, stays);
      if (blocks) from = round_down(from, head.block_rows());
      const uint64_t bytes = taken + bytes_of(head, from, next);
      if (next - begin > options_.head_chunk_columns || bytes > head_limit_) break;
      end = next;
    }
    return end;
  }

  void count_visit(const Visit& visit) {
    for (const Panel& panel : visit.panels) {
      if (!streamed(panel)) continue;
      plan_.max_panel_bytes = std::max(plan_.max_panel_bytes, panel.bytes);
      if (panel.home == Tier::disk) plan_.streamed_bytes += panel.bytes;
      if (options_.compute == Tier::device) plan_.uploaded_bytes += panel.upload_bytes;
    }
    plan_.head_columns = std::max(plan_.head_columns, visit.row_end - visit.row_begin);
  }

  const Program& program_;
  const WeightList& weights_;
  const PlacementOptions& options_;
  DeviceSplit split_;
  WeightPlan& plan_;
  uint64_t head_limit_ = 0;
};

}  // namespace

uint64_t stored_bytes(const WeightInfo& weight, FormatId format, int64_t begin, int64_t end) {
  return bytes_of(matrix_of(weight, format), begin, end);
}

WeightPlan place_weights(const Program& program, const WeightList& weights,
                         const std::vector<FormatId>& formats, const PlacementOptions& options) {
  if (options.compute == Tier::host && options.shares.device > 0) {
    throw Error(ErrorCode::invalid_argument, "this device has no memory of its own",
                {"", "weight_share.device", std::to_string(options.shares.device), "0"});
  }
  const size_t count = weights.all().size();
  check(formats.size() == count, "one format per weight");
  WeightPlan plan;
  plan.formats = formats;
  plan.placements.resize(count);
  plan.alias.assign(count, -1);
  Placer placer(program, weights, options, &plan);
  placer.place();
  placer.visit_all();
  placer.count();
  return plan;
}

}  // namespace penstock

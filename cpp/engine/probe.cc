// The probe: medians of a few rounds (probe_rounds.h) on the very device and through the very file
// workers the engine uses. Weights are larger than the caches together and rotated; data is random.
#include "penstock/probe.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "device/cpu/cpu_compute.h"
#include "engine/context.h"
#include "engine/guarded.h"
#include "engine/host_limits.h"
#include "engine/planning.h"
#include "engine/probe_attention.h"
#include "engine/probe_rounds.h"
#include "plan/machine.h"
#include "tensor/quantize.h"

namespace penstock {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kWeightsBytes = 192 * kMiB, kCopyBytes = 64 * kMiB, kHostBytes = 1024 * kMiB;
constexpr uint64_t kDiskBytes = 512 * kMiB;
constexpr int kWidth = 4096;      // of the weights
constexpr uint64_t kCopies = 64;  // of a weight, at most
constexpr int kRowCounts[] = {1, 16, 64, 128, 256, 512};
constexpr int kQuickRowCounts[] = {1, 64, 256};
constexpr const char* kPromptKv = "bf16";  // prompts are attended alike in every format, nearly
constexpr int kTiny = 64, kTinyRows = 16;  // of the steps that are only overhead
constexpr int kSweeps = 20, kVisits = 24;

class Probe {
 public:
  explicit Probe(const ProbeOptions& options)
      : options_(options),
        width_(options.width > 0 ? options.width : kWidth),
        context_(context_options(options)) {
    // Rounds of every kind share the time evenly.
    const size_t attentions = kv_formats().size() * (context_.accelerator() ? 2 : 1);
    size_t kinds = attentions + 8;
    for (const Products& each : products()) kinds += row_counts(each).size();
    round_seconds_ = options.seconds / static_cast<double>(kinds) / 2;
  }

  Machine measure() {
    tell("memory");
    measure_copies();
    if (!options_.disk.empty()) {
      tell("disk");
      measure_disk();
    }
    for (const Products& each : products()) {
      tell("products, " + each.name());
      measure_gemm(each);
    }
    tell("steps");
    measure_steps();
    for (const FormatId id : kv_formats()) {
      tell("attention, " + std::string(format(id).name));
      measure_attention(id);
    }
    set_defaults();
    return machine_;
  }

  std::string about() const {
    const DeviceInfo& info = context_.device().info();
    const std::string disk = options_.disk.empty() ? ", disk not measured" : "";
    return info.name + ":" + info.isa + ", " + std::to_string(info.threads) + " threads" + disk;
  }

 private:
  static ContextOptions context_options(const ProbeOptions& options) {
    ContextOptions context;
    context.host_bytes = kHostBytes;
    context.device.spec = device_list(options.device).front();  // the others are like it
    context.device.threads = threads_of(options);
    context.device.cublaslt = options.cublaslt;
    const uint64_t bytes = options.device_memory > 0 ? options.device_memory : kHostBytes;
    if (names_accelerator(options.device)) {
      context.device_bytes = {bytes + device_needs(options.device).device_bytes};
    }
    return context;
  }

  static int threads_of(const ProbeOptions& options) {
    return options.threads > 0 ? options.threads : usable_cores();
  }

  // Of weights in a format by inputs as asked.
  struct Products {
    FormatId id = 0;
    Compute compute = Compute::fast;
    bool invariant = true;

    std::string name() const { return product_name(format(id), compute, invariant); }
  };
  std::vector<int> row_counts(const Products& products) const {
    const int variant = context_.device().info().variant_rows;
    if (!products.invariant) return {variant, 2 * variant};
    if (options_.quick) return {std::begin(kQuickRowCounts), std::end(kQuickRowCounts)};
    return {std::begin(kRowCounts), std::end(kRowCounts)};
  }

  static std::vector<FormatId> formats_where(bool QuantFormat::* use) {
    std::vector<FormatId> ids;
    for (size_t id = 0; id < format_table().size(); ++id) {
      if (format_table()[id].*use) ids.push_back(static_cast<FormatId>(id));
    }
    return ids;
  }
  static std::vector<FormatId> weight_formats() { return formats_where(&QuantFormat::for_weights); }

  // The products this device has.
  std::vector<Products> products() {
    std::vector<Products> all;
    for (const FormatId id : weight_formats()) all.push_back({id});
    if (!context_.device().info().weight_only) return all;
    for (const FormatId id : weight_formats()) {
      if (!format(id).quantised()) continue;
      all.push_back({id, Compute::weight_only});
      if (context_.device().info().variant_rows > 0)
        all.push_back({id, Compute::weight_only, false});
    }
    return all;
  }
  static std::vector<FormatId> kv_formats() { return formats_where(&QuantFormat::for_kv); }

  void tell(const std::string& what) const {
    if (options_.progress) options_.progress(what);
  }

  // Median seconds of rounds of `work`, whose spread counts for the field `name`.
  template <class F>
  double rounds(const std::string& name, F work) {
    const Timing timing = time_rounds(round_seconds_, work);
    double& spread = machine_.spread[name];
    spread = std::max(spread, timing.spread);
    return timing.seconds;
  }

  // Memory of the device. An accelerator's is filled by a copy, the CPU's is written in place.
  Buffer on_device(size_t bytes, const char* what) {
    return context_.compute_memory().allocate(bytes, what);
  }
  void upload(std::byte* to, const std::byte* from, size_t bytes) {
    const CopyDirection way = context_.accelerator() ? CopyDirection::h2d : CopyDirection::within;
    context_.device().wait(context_.device().copy({to, from, bytes, way}, {}));
  }
  void run(const Op& op) { context_.device().wait(context_.device().run(op, {})); }

  Buffer on_host(size_t bytes, const char* what) {
    return allocate_host(bytes, context_.host, what);
  }
  static void fill_random(std::span<float> values) {
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(uniform(kSeed, i)) - 0.5f;
    }
  }
  std::byte* random_host(Buffer& buffer) {
    auto* values = static_cast<float*>(static_cast<void*>(buffer.data()));
    fill_random({values, buffer.bytes() / sizeof(float)});
    return buffer.data();
  }

  // ---- memory and links ----

  void measure_copies() {
    Buffer from = on_host(kCopyBytes, "probe"), to = on_host(kCopyBytes, "probe");
    random_host(from);
    const auto copy = [&] { std::memcpy(to.data(), from.data(), kCopyBytes); };
    machine_.host_copy_bytes_per_second = kCopyBytes / rounds("host_copy_bytes_per_second", copy);
    if (!context_.accelerator()) return;
    Buffer there = on_device(kCopyBytes, "probe");
    const auto move = [&](const char* name, CopyParams params) {
      const auto work = [&] { context_.device().wait(context_.device().copy(params, {})); };
      return kCopyBytes / rounds(name, work);
    };
    machine_.h2d_bytes_per_second =
        move("h2d_bytes_per_second", {there.data(), from.data(), kCopyBytes, CopyDirection::h2d});
    machine_.d2h_bytes_per_second =
        move("d2h_bytes_per_second", {to.data(), there.data(), kCopyBytes, CopyDirection::d2h});
  }

  // ---- disk ----

  void measure_disk() {
    const uint64_t asked = options_.disk_bytes > 0 ? options_.disk_bytes : kDiskBytes;
    const uint64_t bytes = std::max<uint64_t>(kCopyBytes, asked / kCopyBytes * kCopyBytes);
    const File file = File::anonymous(options_.disk, bytes, true);
    Buffer buffer = on_host(kCopyBytes, "probe");
    random_host(buffer);
    const auto pass = [&](bool write) {
      for (uint64_t at = 0; at < bytes; at += kCopyBytes) {
        const Transfer transfer{&file, buffer.data(), kCopyBytes, at, 0, write, false};
        context_.io.wait(context_.io.start({&transfer, 1}));
      }
      if (write) file.sync();
    };
    const auto rate = [&](const char* name, bool write) {
      return static_cast<double>(bytes) / rounds(name, [&] { pass(write); });
    };
    machine_.disk_write_bytes_per_second = rate("disk_write_bytes_per_second", true);
    machine_.disk_read_bytes_per_second = rate("disk_read_bytes_per_second", false);
  }

  // ---- products ----

  uint64_t weight_bytes(const QuantFormat& f) const {
    if (!f.quantised()) return static_cast<uint64_t>(width_ * width_ * dtype_bytes(f.raw));
    return static_cast<uint64_t>(width_ / kTileRows * packed_layout(f, width_).tile_bytes);
  }

  // The same random tile, or kTileRows random rows, over and over.
  void fill_weights(const QuantFormat& f, std::byte* to, uint64_t bytes) {
    std::vector<float> values(static_cast<size_t>(kTileRows * width_));
    fill_random(values);
    std::vector<std::byte> piece;
    if (f.quantised()) {
      piece.resize(static_cast<size_t>(packed_layout(f, width_).tile_bytes));
      pack_tile(f, {values.data(), kTileRows, width_}, width_, piece.data());
    } else {
      piece.resize(values.size() * static_cast<size_t>(dtype_bytes(f.raw)));
      for (size_t i = 0; i < values.size(); ++i) {
        store_from_float(piece.data(), f.raw, static_cast<int64_t>(i), values[i]);
      }
    }
    for (uint64_t at = 0; at < bytes; at += piece.size()) {
      upload(to + at, piece.data(), std::min<uint64_t>(piece.size(), bytes - at));
    }
  }

  void measure_gemm(const Products& products) {
    const QuantFormat& f = format(products.id);
    const uint64_t bytes = weight_bytes(f);
    const auto copies = static_cast<int>(std::clamp<uint64_t>(kWeightsBytes / bytes, 1, kCopies));
    Buffer weights = on_device(bytes * static_cast<uint64_t>(copies), "probe weights");
    fill_weights(f, weights.data(), weights.bytes());
    const RawInputs& raw = context_.device().info().raw_inputs;
    for (const int rows : row_counts(products)) {
      const PreparedLayout layout = prepared_layout_for(f, width_, products.compute, raw);
      const double seconds = gemm_seconds({products.id, layout, rows, products.invariant},
                                          {weights.data(), bytes}, copies);
      machine_.gemm.push_back({products.name(), rows, 2.0 * rows * width_ * width_ / seconds});
    }
  }

  struct Product {
    FormatId id;
    PreparedLayout layout;
    int rows;
    bool invariant;
  };
  double gemm_seconds(const Product& product, std::span<const std::byte> weight, int copies) {
    const auto& [id, layout, rows, invariant] = product;
    Buffer source = on_host(sizeof(float) * rows * width_, "probe");
    Buffer x = on_device(source.bytes(), "probe");
    Buffer prepared = on_device(static_cast<size_t>(rows * layout.stride_bytes), "probe");
    Buffer y = on_device(sizeof(float) * rows * width_, "probe");
    upload(x.data(), random_host(source), source.bytes());
    const auto* values = static_cast<const float*>(static_cast<const void*>(x.data()));
    run(PrepareParams{values, width_, rows, layout, prepared.data()});
    WeightPanel panel{weight.data(), 0, width_};
    GemmParams gemm;
    gemm.panels = &panel;
    gemm.panel_count = 1;
    gemm.format = id;
    gemm.x = prepared.data();
    gemm.input = layout;
    gemm.invariant = invariant;
    gemm.m = rows;
    gemm.k = width_;
    gemm.y = static_cast<float*>(static_cast<void*>(y.data()));
    gemm.y_stride = width_;
    int next = 0;
    return rounds("gemm", [&] {
      panel.data = weight.data() + weight.size() * static_cast<size_t>(next++ % copies);
      run(gemm);
    });
  }

  // ---- steps ----

  // Visits of six ops with hardly any work: a norm, two products and their inputs, a gate. They are
  // submitted a sweep at a time, as the engine does: who waits for each alone pays for waking up.
  void measure_steps() {
    constexpr size_t kRowsBytes = sizeof(float) * kTinyRows * kTiny;
    const FormatId fp32 = weight_format("fp32");
    const PreparedLayout layout = prepared_layout_for(format(fp32), kTiny, Compute::fast);
    Buffer source = on_host(sizeof(float) * kTiny * kTiny, "probe");
    Buffer weight = on_device(source.bytes(), "probe");
    Buffer x = on_device(kRowsBytes, "probe"), y = on_device(kRowsBytes, "probe");
    Buffer prepared = on_device(static_cast<size_t>(kTinyRows * layout.stride_bytes), "probe");
    upload(weight.data(), random_host(source), weight.bytes());
    upload(x.data(), source.data(), kRowsBytes);
    upload(y.data(), source.data(), kRowsBytes);
    const auto floats = [](Buffer& b) { return static_cast<float*>(static_cast<void*>(b.data())); };
    const WeightPanel panel{weight.data(), 0, kTiny};
    NormParams norm;
    norm.x = floats(x);
    norm.y = floats(y);
    norm.m = kTinyRows;
    norm.dim = norm.x_stride = norm.y_stride = kTiny;
    const PrepareParams prepare{floats(y), kTiny, kTinyRows, layout, prepared.data()};
    GemmParams gemm;
    gemm.panels = &panel;
    gemm.panel_count = 1;
    gemm.format = fp32;
    gemm.x = prepared.data();
    gemm.input = layout;
    gemm.m = kTinyRows;
    gemm.k = kTiny;
    gemm.y = floats(y);
    gemm.y_stride = kTiny;
    GatedParams gated{floats(y), floats(y), kTiny, Act::silu, kTinyRows, kTiny, floats(y), kTiny};
    const Op visit[] = {norm, prepare, gemm, gated, prepare, gemm};
    const double seconds = rounds("step_seconds", [&] {
      for (int sweep = 0; sweep < kSweeps; ++sweep) {
        Ticket last{};
        for (int i = 0; i < kVisits; ++i) {
          for (const Op& op : visit) last = context_.device().run(op, {});
        }
        context_.device().wait(last);
      }
    });
    machine_.step_seconds = seconds / (kSweeps * kVisits);
  }

  // ---- attention ----

  AttentionProbe::Place on_the_device() {
    return {[this](size_t bytes) { return on_device(bytes, "probe attention"); },
            [this](std::byte* to, const std::byte* from, size_t bytes) { upload(to, from, bytes); },
            [this](const Op& op) { run(op); }};
  }

  // The processor beside an accelerator: what HostAttention computes with.
  AttentionProbe::Place on_the_host(const CpuCompute& compute) {
    return {[this](size_t bytes) { return on_host(bytes, "probe attention"); },
            [](std::byte* to, const std::byte* from, size_t n) { std::memcpy(to, from, n); },
            [&compute](const Op& op) { compute.run(op); }};
  }

  void measure_attention(FormatId id) {
    const std::string name(format(id).name);
    Buffer rows = on_host(AttentionProbe::kRowsBytes, "probe");
    random_host(rows);
    {
      const AttentionProbe::Place place = on_the_device();
      AttentionProbe probe(id, place, rows.data());
      const double seconds = rounds("attention", [&] { probe.decode(); });
      machine_.attention.push_back({name, probe.decode_bytes() / seconds});
      if (name == kPromptKv) {
        const auto prompt = [&] { probe.prompt(); };
        machine_.attention_flops_per_second =
            AttentionProbe::prompt_flops() / rounds("attention_flops_per_second", prompt);
      }
    }
    if (!context_.accelerator()) return;
    const CpuCompute compute(context_.device().info().host_isa, threads_of(options_),
                             context_.host);
    const AttentionProbe::Place place = on_the_host(compute);
    AttentionProbe probe(id, place, rows.data());
    const double seconds = rounds("host_attention", [&] { probe.decode(); });
    machine_.host_attention.push_back({name, probe.decode_bytes() / seconds});
  }

  // What a format that was not measured counts as: the slowest that was.
  void set_defaults() {
    double slowest = 0;
    for (const FormatId id : weight_formats()) {
      const double rate = machine_.gemm_rate(format(id).name, 1 << 20);
      slowest = slowest == 0 ? rate : std::min(slowest, rate);
    }
    machine_.gemm_flops_per_second = slowest;
    if (!context_.accelerator()) {  // the processor is the device
      machine_.host_attention = machine_.attention;
      machine_.spread["host_attention"] = machine_.spread["attention"];
    }
    machine_.attention_bytes_per_second = slowest_of(machine_.attention);
    machine_.host_attention_bytes_per_second = slowest_of(machine_.host_attention);
  }

  static double slowest_of(const std::vector<AttentionRate>& rates) {
    double slowest = rates.front().bytes_per_second;
    for (const AttentionRate& rate : rates) slowest = std::min(slowest, rate.bytes_per_second);
    return slowest;
  }

  static constexpr uint64_t kSeed = 1;
  const ProbeOptions& options_;
  const int64_t width_;
  Context context_;
  double round_seconds_ = 0;
  Machine machine_;
};

}  // namespace

std::string probe_machine(const ProbeOptions& options) {
  return guarded([&] {
    Probe probe(options);
    const Machine machine = probe.measure();
    return machine_to_json(machine, probe.about());
  });
}

}  // namespace penstock

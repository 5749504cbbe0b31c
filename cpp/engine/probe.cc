// The probe: medians of a few rounds on the very device and through the very file workers the
// engine uses. Weights are larger than the caches together and rotated; data is random.
#include "penstock/probe.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/context.h"
#include "engine/guarded.h"
#include "engine/host_limits.h"
#include "plan/machine.h"
#include "tensor/quantize.h"

namespace penstock {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kWeightsBytes = 192 * kMiB, kCopyBytes = 64 * kMiB, kHostBytes = 1024 * kMiB;
constexpr int kWidth = 4096;      // of the weights
constexpr uint64_t kCopies = 64;  // of a weight, at most
constexpr int kRowCounts[] = {1, 16, 64, 128, 256, 512};
constexpr int kLeastRounds = 3, kMostRounds = 9;
constexpr int kHeads = 32, kHeadDim = 128, kPageTokens = 32, kKeys = 1024, kSequences = 8;
constexpr int kPromptRows = 256;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Median seconds of a piece of work; `budget` seconds at most, but the least rounds in any case.
template <class F>
double median_seconds(double budget, F work) {
  work();  // wakes threads and fills page tables
  std::vector<double> times;
  const double end = seconds_now() + budget;
  for (int round = 0; round < kMostRounds; ++round) {
    if (round >= kLeastRounds && seconds_now() > end) break;
    const double begin = seconds_now();
    work();
    times.push_back(seconds_now() - begin);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

class Probe {
 public:
  explicit Probe(const ProbeOptions& options)
      : options_(options),
        width_(options.width > 0 ? options.width : kWidth),
        context_(context_options(options)) {
    // Rounds of every kind share the time evenly.
    const size_t kinds = std::size(kRowCounts) * weight_formats().size() + kv_formats().size() + 8;
    round_seconds_ = options.seconds / static_cast<double>(kinds) / 2;
  }

  Machine measure() {
    tell("memory");
    measure_copies();
    if (!options_.disk.empty()) {
      tell("disk");
      measure_disk();
    }
    for (const FormatId id : weight_formats()) {
      tell("products, " + std::string(format(id).name));
      measure_gemm(id);
    }
    for (const FormatId id : kv_formats()) {
      tell("attention, " + std::string(format(id).name));
      measure_attention(id);
    }
    set_defaults();
    return machine_;
  }

  std::string about() const {
    const DeviceInfo& info = context_.device->info();
    const std::string disk = options_.disk.empty() ? ", disk not measured" : "";
    return info.name + ":" + info.isa + ", " + std::to_string(info.threads) + " threads" + disk;
  }

 private:
  static ContextOptions context_options(const ProbeOptions& options) {
    ContextOptions context;
    context.host_bytes = context.device_bytes = kHostBytes;
    context.device.spec = options.device;
    context.device.threads = options.threads > 0 ? options.threads : usable_cores();
    context.device.device_memory = options.device_memory > 0 ? options.device_memory : kHostBytes;
    return context;
  }

  static std::vector<FormatId> formats_where(bool QuantFormat::* use) {
    std::vector<FormatId> ids;
    for (size_t id = 0; id < format_table().size(); ++id) {
      if (format_table()[id].*use) ids.push_back(static_cast<FormatId>(id));
    }
    return ids;
  }
  static std::vector<FormatId> weight_formats() { return formats_where(&QuantFormat::for_weights); }
  static std::vector<FormatId> kv_formats() { return formats_where(&QuantFormat::for_kv); }

  void tell(const std::string& what) const {
    if (options_.progress) options_.progress(what);
  }

  // Memory of the device. An accelerator's is filled by a copy, the CPU's is written in place.
  Buffer on_device(size_t bytes, const char* what) {
    return context_.device->allocate(bytes, context_.compute_memory(), what);
  }
  void upload(std::byte* to, const std::byte* from, size_t bytes) {
    const CopyDirection way = context_.accelerator() ? CopyDirection::h2d : CopyDirection::within;
    context_.device->wait(context_.device->copy({to, from, bytes, way}, {}));
  }
  void run(const Op& op) { context_.device->wait(context_.device->run(op, {})); }

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
    machine_.host_copy_bytes_per_second = kCopyBytes / median_seconds(round_seconds_, copy);
    if (!context_.accelerator()) return;
    Buffer there = on_device(kCopyBytes, "probe");
    const auto move = [&](CopyParams params) {
      const auto work = [&] { context_.device->wait(context_.device->copy(params, {})); };
      return kCopyBytes / median_seconds(round_seconds_, work);
    };
    machine_.h2d_bytes_per_second =
        move({there.data(), from.data(), kCopyBytes, CopyDirection::h2d});
    machine_.d2h_bytes_per_second = move({to.data(), there.data(), kCopyBytes, CopyDirection::d2h});
  }

  // ---- disk ----

  void measure_disk() {
    const uint64_t asked = options_.disk_bytes > 0 ? options_.disk_bytes : 512 * kMiB;
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
    const auto rate = [&](bool write) {
      return static_cast<double>(bytes) / median_seconds(round_seconds_, [&] { pass(write); });
    };
    machine_.disk_write_bytes_per_second = rate(true);
    machine_.disk_read_bytes_per_second = rate(false);
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

  void measure_gemm(FormatId id) {
    const QuantFormat& f = format(id);
    const uint64_t bytes = weight_bytes(f);
    const auto copies = static_cast<int>(std::clamp<uint64_t>(kWeightsBytes / bytes, 1, kCopies));
    Buffer weights = on_device(bytes * static_cast<uint64_t>(copies), "probe weights");
    fill_weights(f, weights.data(), weights.bytes());
    for (const int rows : kRowCounts) {
      const double seconds = gemm_seconds(id, rows, {weights.data(), bytes}, copies);
      machine_.gemm.push_back({std::string(f.name), rows, 2.0 * rows * width_ * width_ / seconds});
    }
  }

  double gemm_seconds(FormatId id, int rows, std::span<const std::byte> weight, int copies) {
    const PreparedLayout layout = prepared_layout_for(format(id), width_, false);
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
    gemm.m = rows;
    gemm.k = width_;
    gemm.y = static_cast<float*>(static_cast<void*>(y.data()));
    gemm.y_stride = width_;
    int next = 0;
    return median_seconds(round_seconds_, [&] {
      panel.data = weight.data() + weight.size() * static_cast<size_t>(next++ % copies);
      run(gemm);
    });
  }

  // ---- attention ----

  // One new token of kSequences rows, each over kKeys keys.
  void measure_attention(FormatId id) {
    const KvLayout layout{id, kHeads, kHeadDim, kPageTokens};
    const auto page_bytes = static_cast<size_t>(layout.page_bytes());
    constexpr int kPages = kKeys / kPageTokens;
    Buffer pages = on_device(page_bytes * kPages * kSequences, "probe pages");
    std::vector<std::byte*> table;
    for (int i = 0; i < kPages * kSequences; ++i) table.push_back(pages.data() + i * page_bytes);
    constexpr int64_t kRowWidth = int64_t{kHeads} * kHeadDim;
    Buffer source = on_host(sizeof(float) * kKeys * kRowWidth, "probe");
    Buffer rows = on_device(source.bytes(), "probe");
    upload(rows.data(), random_host(source), source.bytes());
    auto* values = static_cast<float*>(static_cast<void*>(rows.data()));
    std::vector<SpanView> spans;
    for (int i = 0; i < kSequences; ++i) {
      const SpanView whole{0, 0, kKeys, table.data() + i * kPages};
      run(KvAppendParams{layout, &whole, 1, values, kRowWidth, values, kRowWidth});
      spans.push_back({i, kKeys - 1, 1, table.data() + i * kPages});
    }
    Buffer out = on_device(sizeof(float) * kSequences * kRowWidth, "probe");
    AttentionParams attention;
    attention.layout = layout;
    attention.spans = spans.data();
    attention.span_count = kSequences;
    attention.q = values;
    attention.q_stride = kRowWidth;
    attention.heads = kHeads;
    attention.scale = 0.1f;
    attention.out = static_cast<float*>(static_cast<void*>(out.data()));
    attention.out_stride = kRowWidth;
    const double seconds = median_seconds(round_seconds_, [&] { run(attention); });
    machine_.attention.push_back(
        {std::string(format(id).name), static_cast<double>(pages.bytes()) / seconds});
    if (machine_.attention_flops_per_second > 0) return;
    // A prompt of kPromptRows tokens over itself.
    Buffer attended = on_device(sizeof(float) * kPromptRows * kRowWidth, "probe");
    const SpanView prompt{0, 0, kPromptRows, table.data()};
    attention.spans = &prompt;
    attention.span_count = 1;
    attention.out = static_cast<float*>(static_cast<void*>(attended.data()));
    const double flops = 4.0 * kRowWidth * kPromptRows * (kPromptRows + 1) / 2;
    const auto attend = [&] { run(attention); };
    machine_.attention_flops_per_second = flops / median_seconds(round_seconds_, attend);
  }

  // What a format that was not measured counts as: the slowest that was.
  void set_defaults() {
    double slowest = 0;
    for (const FormatId id : weight_formats()) {
      const double rate = machine_.gemm_rate(format(id).name, 1 << 20);
      slowest = slowest == 0 ? rate : std::min(slowest, rate);
    }
    machine_.gemm_flops_per_second = slowest;
    machine_.attention_bytes_per_second = machine_.attention.front().bytes_per_second;
    for (const AttentionRate& rate : machine_.attention) {
      machine_.attention_bytes_per_second =
          std::min(machine_.attention_bytes_per_second, rate.bytes_per_second);
    }
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

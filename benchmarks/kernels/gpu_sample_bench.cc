// Tokens from logits on an accelerator, for each way of drawing.
#include "kernels/gpu_bench.h"

namespace penstock::bench {
namespace {

struct Way {
  const char* name;
  SampleRow how;
};

constexpr Way kWays[] = {
    {"greedy", {}},
    {"temperature", {.scale = 1.0}},
    {"top_k 50", {.scale = 1.0, .top_k = 50}},
    {"top_p 0.9", {.scale = 1.0, .top_p = 0.9}},
};

}  // namespace

void run_gpu_sample(const Arguments& arguments, GpuBench& bench) {
  const int64_t columns = arguments.number("columns", 128256), rows = arguments.number("rows", 64);
  const Buffer logits = bench.on_device(rows * columns * 4), tokens = bench.on_device(rows * 4);
  bench.upload_floats(logits.data(), rows * columns, 8.0f);
  for (const Way& way : kWays) {
    std::vector<SampleRow> asked(static_cast<size_t>(rows), way.how);
    for (int64_t row = 0; row < rows; ++row) {
      SampleRow& one = asked[static_cast<size_t>(row)];
      one.row = row;
      one.uniform = (static_cast<double>(row) + 0.5) / static_cast<double>(rows);
    }
    const SampleParams params{static_cast<const float*>(static_cast<void*>(logits.data())),
                              columns,
                              columns,
                              asked.data(),
                              rows,
                              static_cast<int32_t*>(static_cast<void*>(tokens.data()))};
    const OpSeconds seconds = bench.seconds_of([&](int) { return params; });
    bench.line()
        .text("way", way.name)
        .number("rows", static_cast<double>(rows))
        .number("columns", static_cast<double>(columns))
        .number("seconds", seconds.through_device)
        .number("stream_seconds", seconds.on_stream)
        .print();
  }
}

}  // namespace penstock::bench

// Attention of decoding rows on an accelerator, over the caches of several sequences: more memory
// than its own caches hold.
#include <algorithm>
#include <sstream>

#include "kernels/cache_shape.h"
#include "kernels/gpu_bench.h"

namespace penstock::bench {
namespace {

constexpr int kPageTokens = 32;

class Problem {
 public:
  Problem(GpuBench& bench, const CacheShape& shape, int sequences)
      : shape_(shape),
        sequences_(sequences),
        pages_(bench.on_device(sequences * shape.sequence_bytes())),
        keys_(bench.on_device(shape.keys * shape.key_width() * 4)),
        q_(bench.on_device(int64_t{sequences} * shape.query_width() * 4)),
        out_(bench.on_device(int64_t{sequences} * shape.query_width() * 4)) {
    bench.upload_floats(keys_.data(), shape.keys * shape.key_width(), 1.0f);
    bench.upload_floats(q_.data(), sequences * shape.query_width(), 4.0f);
    for (int64_t i = 0; i < sequences * shape.pages(); ++i) {
      table_.push_back(pages_.data() + i * shape.layout.page_bytes());
    }
    for (int s = 0; s < sequences; ++s) {
      std::byte* const* pages = table_.data() + s * shape.pages();
      const auto keys = static_cast<int32_t>(shape.keys);
      filling_.push_back({0, 0, keys, pages});
      decoding_.push_back({s, keys - 1, 1, pages});
    }
  }

  // The keys and values of a sequence.
  Op fill(int sequence) const {
    const int64_t width = shape_.key_width();
    return KvAppendParams{shape_.layout,
                          &filling_[static_cast<size_t>(sequence)],
                          1,
                          floats(keys_),
                          width,
                          floats(keys_),
                          width};
  }
  Op attend() const {
    AttentionParams p;
    p.layout = shape_.layout;
    p.spans = decoding_.data();
    p.span_count = sequences_;
    p.q = floats(q_);
    p.q_stride = p.out_stride = shape_.query_width();
    p.heads = shape_.heads;
    p.scale = 0.08838835f;
    p.out = floats(out_);
    return p;
  }

 private:
  static float* floats(const Buffer& buffer) {
    return static_cast<float*>(static_cast<void*>(buffer.data()));
  }

  CacheShape shape_;
  int sequences_;
  Buffer pages_, keys_, q_, out_;
  std::vector<std::byte*> table_;
  std::vector<SpanView> filling_, decoding_;
};

void run_one(const Arguments& arguments, GpuBench& bench, const std::string& name, int64_t keys) {
  const int kv_heads = static_cast<int>(arguments.number("kv_heads", 8));
  const CacheShape shape{keys,
                         static_cast<int>(arguments.number("heads", 64)),
                         {kv_format(name), kv_heads,
                          static_cast<int>(arguments.number("head_dim", 128)), kPageTokens}};
  const int64_t rotated = arguments.number("rotated", kRotatedBytes);
  const auto sequences =
      static_cast<int>(std::clamp<int64_t>(rotated / shape.sequence_bytes(), 1, 512));
  const Problem problem(bench, shape, sequences);
  for (int s = 0; s < sequences; ++s) bench.run_once(problem.fill(s));
  const OpSeconds seconds = bench.seconds_of([&](int) { return problem.attend(); });
  bench.line()
      .text("format", name)
      .number("keys", static_cast<double>(keys))
      .number("sequences", sequences)
      .number("heads", shape.heads)
      .number("kv_heads", kv_heads)
      .number("head_dim", shape.layout.head_dim)
      .number("kv_bytes", static_cast<double>(sequences * shape.sequence_bytes()))
      .number("seconds", seconds.through_device)
      .number("stream_seconds", seconds.on_stream)
      .print();
}

}  // namespace

void run_gpu_attention(const Arguments& arguments, GpuBench& bench) {
  std::stringstream formats(arguments.text("formats", "bf16,fp16,int8,int4"));
  for (std::string name; std::getline(formats, name, ',');) {
    for (const int64_t keys : numbers(arguments.text("keys", "1024,4096,16384"))) {
      run_one(arguments, bench, name, keys);
    }
  }
}

}  // namespace penstock::bench

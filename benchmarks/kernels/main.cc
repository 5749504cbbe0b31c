// bench_kernels gemm THREADS [isa=I] [format=F] [m=ROWS] [n=N] [k=K]
// bench_kernels attention THREADS [isa=I] [format=F] [keys=K] [rows=R] [heads=H] [kv_heads=G]
// bench_kernels layer THREADS [isa=I] [format=F] [m=ROWS]
// bench_kernels isas 1
// Each prints one JSON object; the last one names, best first.
#include <cstdio>
#include <stdexcept>

#include "base/thread_pool.h"
#include "kernels/bench.h"
#include "kernels/cpu/table.h"

int main(int count, char** values) {
  using namespace penstock;
  if (count < 3) {
    std::fprintf(stderr, "usage: %s gemm|attention|layer THREADS [NAME=VALUE ...]\n", values[0]);
    return 2;
  }
  if (std::string_view(values[1]) == "isas") {
    for (const std::string_view isa : supported_isas()) {
      std::printf("%s\n", std::string(isa).c_str());
    }
    return 0;
  }
  const bench::Arguments arguments(count, values);
  const std::string_view what = values[1];
  ThreadPool pool(arguments.threads());
  const bench::Bytes scratch(pool.threads() * static_cast<int64_t>(kScratchBytesPerWorker));
  const KernelContext context{pool.parallel(), scratch.data()};
  try {
    if (what == "gemm") {
      bench::run_gemm(arguments, context);
    } else if (what == "attention") {
      bench::run_attention(arguments, context);
    } else {
      bench::run_layer(arguments, context);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

#include "kernels/cuda/gpu_launcher.cuh"

namespace penstock::cuda {

void run_on_gpu(GpuLauncher& launcher, const KvAppendParams& params) { run(launcher, params); }
void run_on_gpu(GpuLauncher& launcher, const AttentionParams& params) { run(launcher, params); }

}  // namespace penstock::cuda

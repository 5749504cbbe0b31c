#include "kernels/cuda/gpu_launcher.cuh"

namespace penstock::cuda {

void run_on_gpu(GpuLauncher& launcher, const GemmParams& params) { run(launcher, params); }

}  // namespace penstock::cuda

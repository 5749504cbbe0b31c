// Everything but products and attention.
#include "kernels/cuda/gpu_launcher.cuh"

namespace penstock::cuda {

void run_on_gpu(GpuLauncher& launcher, const EmbedParams& params) { run(launcher, params); }
void run_on_gpu(GpuLauncher& launcher, const NormParams& params) { run(launcher, params); }
void run_on_gpu(GpuLauncher& launcher, const PrepareParams& params) { run(launcher, params); }
void run_on_gpu(GpuLauncher& launcher, const GatedParams& params) { run(launcher, params); }
void run_on_gpu(GpuLauncher& launcher, const RotaryParams& params) { run(launcher, params); }
void run_on_gpu(GpuLauncher& launcher, const GatherRowsParams& params) { run(launcher, params); }
void run_on_gpu(GpuLauncher& launcher, const ScoreParams& params) { run(launcher, params); }
void run_on_gpu(GpuLauncher& launcher, const SampleParams& params) { run(launcher, params); }

}  // namespace penstock::cuda

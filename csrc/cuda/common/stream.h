// What a launch is ordered by: a CUDA stream, or nothing on the emulator.
#pragma once

#if defined(__CUDACC__) || defined(SPION_BENCH_CUDA)
#include <cuda_runtime_api.h>

namespace spion_bench::prim {
using Stream = cudaStream_t;
}
#else
namespace spion_bench::prim {
struct Stream {};
}  // namespace spion_bench::prim
#endif

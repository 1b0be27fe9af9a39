// Compiles the pipeline's products in F16; see ../pipeline_launch.cuh.
#include "../pipeline_launch.cuh"

template const char* spion_bench::cuda::launch_sddmm<spion_bench::cuda::F16>(
    const spion_bench::cuda::SddmmArgs&, spion_bench::prim::Stream);
template const char* spion_bench::cuda::launch_spmm<spion_bench::cuda::F16>(
    const spion_bench::cuda::SpmmArgs&, spion_bench::prim::Stream);

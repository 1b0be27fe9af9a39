// Compiles the fused backward pass in F16; see ../attention_launch.cuh.
#include "../attention_launch.cuh"

template const char* spion_bench::cuda::launch_backward<spion_bench::cuda::F16>(
    const spion_bench::cuda::AttentionArgs&, spion_bench::prim::Stream);

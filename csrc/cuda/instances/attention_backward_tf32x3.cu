// Compiles the fused backward pass in TF32x3; see ../attention_launch.cuh.
#include "../attention_launch.cuh"

template const char* spion_bench::cuda::launch_backward<spion_bench::cuda::TF32x3>(
    const spion_bench::cuda::AttentionArgs&, spion_bench::prim::Stream);

// Compiles the fused forward pass in TF32x3; see ../attention_launch.cuh.
#include "../attention_launch.cuh"

template const char* spion_bench::cuda::launch_forward<spion_bench::cuda::TF32x3>(
    const spion_bench::cuda::AttentionArgs&, spion_bench::prim::Stream);

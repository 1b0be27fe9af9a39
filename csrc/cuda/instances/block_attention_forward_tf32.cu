// Compiles the fused forward pass in TF32; see ../block_attention_launch.cuh.
#include "../block_attention_launch.cuh"

template const char* spion_bench::cuda::launch_block_attention_forward<spion_bench::cuda::TF32>(
    const spion_bench::cuda::BlockAttentionArgs&, spion_bench::prim::Stream);

// The CUDA kernels in TF32x3, compiled for the emulator.
#include "../cuda/instances/block_attention_backward_tf32x3.cu"
#include "../cuda/instances/block_attention_forward_tf32x3.cu"
#include "../cuda/instances/block_sddmm_tf32x3.cu"
#include "../cuda/instances/block_spmm_tf32x3.cu"

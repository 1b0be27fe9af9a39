// The CUDA kernels in TF32, compiled for the emulator.
#include "../cuda/instances/block_attention_backward_tf32.cu"
#include "../cuda/instances/block_attention_forward_tf32.cu"
#include "../cuda/instances/block_sddmm_tf32.cu"
#include "../cuda/instances/block_spmm_tf32.cu"

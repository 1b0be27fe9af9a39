// The CUDA kernels in BF16, compiled for the emulator.
#include "../cuda/instances/block_attention_backward_bf16.cu"
#include "../cuda/instances/block_attention_forward_bf16.cu"
#include "../cuda/instances/block_sddmm_bf16.cu"
#include "../cuda/instances/block_spmm_bf16.cu"

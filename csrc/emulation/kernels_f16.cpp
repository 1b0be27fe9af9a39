// The CUDA kernels in F16, compiled for the emulator.
#include "../cuda/instances/block_attention_backward_f16.cu"
#include "../cuda/instances/block_attention_forward_f16.cu"
#include "../cuda/instances/block_sddmm_f16.cu"
#include "../cuda/instances/block_spmm_f16.cu"

// The fused CUDA kernels in BF16, compiled for the emulator.
#include "../cuda/instances/attention_backward_bf16.cu"
#include "../cuda/instances/attention_forward_bf16.cu"

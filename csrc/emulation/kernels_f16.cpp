// The fused CUDA kernels in F16, compiled for the emulator.
#include "../cuda/instances/attention_backward_f16.cu"
#include "../cuda/instances/attention_forward_f16.cu"

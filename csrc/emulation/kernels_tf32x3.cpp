// The fused CUDA kernels in TF32x3, compiled for the emulator.
#include "../cuda/instances/attention_backward_tf32x3.cu"
#include "../cuda/instances/attention_forward_tf32x3.cu"

// The fused CUDA kernels in TF32, compiled for the emulator.
#include "../cuda/instances/attention_backward_tf32.cu"
#include "../cuda/instances/attention_forward_tf32.cu"

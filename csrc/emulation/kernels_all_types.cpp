// The CUDA kernels whose types share one file, compiled for the emulator.
#include "../cuda/instances/attention_map.cu"
#include "../cuda/instances/average_pool.cu"
#include "../cuda/instances/block_dropout.cu"
#include "../cuda/instances/block_softmax.cu"
#include "../cuda/instances/diagonal_conv.cu"
#include "../cuda/instances/flood_fill.cu"

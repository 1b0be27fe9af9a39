// The kernels of the pattern operators, compiled for the emulator.
#include "../cuda/instances/pattern.cu"
#include "../cuda/instances/attention_map.cu"

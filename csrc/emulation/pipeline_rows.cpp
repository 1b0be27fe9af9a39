// The pipeline's row-wise kernels, compiled for the emulator.
#include "../cuda/instances/pipeline_rows.cu"

// The pipeline's products in BF16, compiled for the emulator.
#include "../cuda/instances/pipeline_products_bf16.cu"

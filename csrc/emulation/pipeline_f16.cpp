// The pipeline's products in F16, compiled for the emulator.
#include "../cuda/instances/pipeline_products_f16.cu"

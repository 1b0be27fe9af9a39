// The pipeline's products in TF32x3, compiled for the emulator.
#include "../cuda/instances/pipeline_products_tf32x3.cu"

// The pipeline's products in TF32, compiled for the emulator.
#include "../cuda/instances/pipeline_products_tf32.cu"

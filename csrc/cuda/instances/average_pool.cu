// Compiles pooling in both types; see ../average_pool.cuh.
#include "../average_pool.cuh"

namespace spion_bench::cuda {

template const char* launch_average_pool<float>(AveragePoolArgs<float>, prim::Stream);
template const char* launch_average_pool<double>(AveragePoolArgs<double>, prim::Stream);

}  // namespace spion_bench::cuda

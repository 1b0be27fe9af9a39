// Compiles both selections of flood fill in both types; see ../flood_fill.cuh.
#include "../flood_fill.cuh"

namespace spion_bench::cuda {

template const char* launch_flood_walk<float>(const FloodFillArgs<float>&, prim::Stream);
template const char* launch_flood_growth<float>(const FloodFillArgs<float>&, prim::Stream);
template const char* launch_flood_walk<double>(const FloodFillArgs<double>&, prim::Stream);
template const char* launch_flood_growth<double>(const FloodFillArgs<double>&, prim::Stream);

}  // namespace spion_bench::cuda

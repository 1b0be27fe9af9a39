// Compiles the kernels from an attention map to its pattern and starts them; see ../map_passes.cuh
// and ../flood_fill.cuh.
#include "../flood_fill.cuh"
#include "../map_passes.cuh"
#include "../pattern_launch.h"

namespace spion_bench::cuda {
namespace {

unsigned groups_of(int64_t n, int size) { return static_cast<unsigned>((n + size - 1) / size); }

}  // namespace

template <typename T>
const char* launch_diagonal_conv(const DiagonalConvArgs<T>& args, prim::Stream stream) {
  const prim::Grid grid{groups_of(args.length, kConvColumns), groups_of(args.length, kConvRows)};
  return prim::launch<diagonal_conv_kernel<T>>(grid, kConvThreads, 0, stream, args);
}

template <typename T>
const char* launch_average_pool(AveragePoolArgs<T> args, prim::Stream stream) {
  args.cells = args.block_size < kPoolThreads ? kPoolThreads / args.block_size : 1;
  args.groups = static_cast<int>(groups_of(args.n_blocks, args.cells));
  const auto blocks = static_cast<unsigned>(args.n_blocks) * static_cast<unsigned>(args.groups);
  return prim::launch<average_pool_kernel<T>>({blocks, 1}, kPoolThreads, kPoolSharedBytes, stream,
                                              args);
}

template <typename T>
const char* launch_flood_walk(const FloodFillArgs<T>& args, prim::Stream stream) {
  const prim::Grid grid{groups_of(2 * int64_t{args.n_blocks} - 1, kWalkThreads), 1};
  return prim::launch<flood_walk_kernel<T>>(grid, kWalkThreads, 0, stream, args);
}

template <typename T>
const char* launch_flood_growth(const FloodFillArgs<T>& args, prim::Stream stream) {
  return prim::launch<flood_growth_kernel<T>>({1, 1}, kGrowThreads, kGrowSharedBytes, stream, args);
}

#define SPION_PATTERN(T)                                                                  \
  template const char* launch_diagonal_conv<T>(const DiagonalConvArgs<T>&, prim::Stream); \
  template const char* launch_average_pool<T>(AveragePoolArgs<T>, prim::Stream);          \
  template const char* launch_flood_walk<T>(const FloodFillArgs<T>&, prim::Stream);       \
  template const char* launch_flood_growth<T>(const FloodFillArgs<T>&, prim::Stream);
SPION_PATTERN(float)
SPION_PATTERN(double)
#undef SPION_PATTERN

}  // namespace spion_bench::cuda

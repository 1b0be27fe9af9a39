// Pooling as the bindings see it: its arguments, and launches on a stream, which return null or the
// runtime's complaint.
#pragma once

#include "common/args.h"
#include "common/stream.h"

namespace spion_bench::cuda {

template <typename T>
struct AveragePoolArgs {
  MapView<T> map;
  int block_size = 0, n_blocks = 0;  // S, and L / S per side
  int cells = 0, groups = 0;         // pooled cells of a thread block; thread blocks per block row
  T* pooled = nullptr;               // [L / S, L / S]
};

// For float and double; `cells` and `groups` are chosen here.
template <typename T>
const char* launch_average_pool(AveragePoolArgs<T> args, prim::Stream stream);

}  // namespace spion_bench::cuda

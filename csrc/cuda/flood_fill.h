// Flood fill as the bindings see it: its arguments, and launches on a stream, which return null or
// the runtime's complaint.
#pragma once

#include "common/args.h"
#include "common/stream.h"

namespace spion_bench::cuda {

template <typename T>
struct FloodFillArgs {
  MapView<T> pooled;
  int n_blocks = 0;
  double threshold = 0.0;
  bool* kept = nullptr;  // [nb, nb], all false before
};

// For float and double.
template <typename T>
const char* launch_flood_walk(const FloodFillArgs<T>& args, prim::Stream stream);
template <typename T>
const char* launch_flood_growth(const FloodFillArgs<T>& args, prim::Stream stream);

}  // namespace spion_bench::cuda

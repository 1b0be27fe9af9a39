// The diagonal filter as the bindings see it: its arguments, and launches on a stream, which return
// null or the runtime's complaint.
#pragma once

#include "common/args.h"
#include "common/stream.h"

namespace spion_bench::cuda {

template <typename T>
struct DiagonalConvArgs {
  MapView<T> map;
  int length = 0;
  int half = 0;      // taps on either side, below `length`
  T* out = nullptr;  // [L, L]
};

// For float and double.
template <typename T>
const char* launch_diagonal_conv(const DiagonalConvArgs<T>& args, prim::Stream stream);

}  // namespace spion_bench::cuda

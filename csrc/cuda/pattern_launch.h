// The pattern operators' kernels as the bindings see them: functions on raw pointers and a stream.
// They return null, or the runtime's complaint about a launch.
#pragma once

#include "attention_launch.h"
#include "pattern_args.h"

namespace spion_bench::cuda {

// Two launches; for TF32 and TF32x3.
template <class Math>
const char* launch_attention_map(const AttentionMapArgs& args, prim::Stream stream);

// One launch each; for float and double.
template <typename T>
const char* launch_diagonal_conv(const DiagonalConvArgs<T>& args, prim::Stream stream);
// `cells` and `groups` are chosen here.
template <typename T>
const char* launch_average_pool(AveragePoolArgs<T> args, prim::Stream stream);
template <typename T>
const char* launch_flood_walk(const FloodFillArgs<T>& args, prim::Stream stream);
template <typename T>
const char* launch_flood_growth(const FloodFillArgs<T>& args, prim::Stream stream);

}  // namespace spion_bench::cuda

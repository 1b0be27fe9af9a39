// The pipeline's kernels as the bindings see them: functions on raw pointers and a stream, one
// launch each. They return null, or the runtime's complaint about the launch.
#pragma once

#include "attention_launch.h"
#include "pipeline_args.h"

namespace spion_bench::cuda {

template <class Math>
const char* launch_sddmm(const SddmmArgs& args, prim::Stream stream);

// P^T v where args.tile_of is set, else P v.
template <class Math>
const char* launch_spmm(const SpmmArgs& args, prim::Stream stream);

// No products here, so F16, BF16 and TF32 (for float32, exactly) are all that exist.
template <class Math>
const char* launch_softmax(const SoftmaxArgs& args, prim::Stream stream);
template <class Math>
const char* launch_softmax_backward(const SoftmaxBackwardArgs& args, prim::Stream stream);
template <class Math>
const char* launch_dropout(const DropoutArgs& args, prim::Stream stream);

}  // namespace spion_bench::cuda

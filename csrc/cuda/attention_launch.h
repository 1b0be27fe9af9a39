// The fused kernels as the bindings see them: functions on raw pointers and a stream. They return
// null, or the runtime's complaint about a launch.
#pragma once

#include "attention_args.h"
#include "stream.h"

namespace spion_bench::cuda {

// Number formats; element.cuh defines them.
template <bool kIsBFloat16>
struct Half;
template <bool kIsSplit>
struct Single;
using F16 = Half<false>;
using BF16 = Half<true>;
using TF32 = Single<false>;
using TF32x3 = Single<true>;

// One launch.
template <class Math>
const char* launch_forward(const AttentionArgs& args, prim::Stream stream);

// Two launches, three where long columns are cut.
template <class Math>
const char* launch_backward(const AttentionArgs& args, prim::Stream stream);

}  // namespace spion_bench::cuda

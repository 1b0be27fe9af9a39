// Each runs kernels of the chosen instruction set on one and on several threads and compares.
#pragma once

#include "reference.h"

namespace spion_bench::driver {

// Fused attention, forward and backward, in all four element types.
void check_attention(const Problem& problem, const Attention& expected);

// The same by the pipeline's kernels, in float32 and float64.
void check_pipeline(const Problem& problem, const Attention& expected);

// What pattern generation computes, in float32 and float64.
void check_maps();

// Every 16-bit float to float32, and floats around every rounding boundary back.
void check_conversions();

}  // namespace spion_bench::driver

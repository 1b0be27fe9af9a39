// The instruction set every CPU of the platform has: 4 floats or 2 doubles a vector.

#define SPION_ISA portable
#include "isa.h"

namespace spion_bench::cpu {

const Kernels kernels_portable = {"portable", portable::table<float, 4>(),
                                  portable::table<double, 2>()};

}  // namespace spion_bench::cpu

// The instruction set every CPU of the platform has: 4 floats or 2 doubles a vector.

#define SPION_ISA portable
#define SPION_TILE_ROWS 4
#include "isa.h"

namespace spion_bench::cpu {

const Kernels kernels_portable = portable::all_tables<4>("portable");

}  // namespace spion_bench::cpu

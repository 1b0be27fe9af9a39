// AVX-512's lanes and tiles in the instructions every CPU of the platform has: what the AVX-512
// kernels read and write is checked on machines without AVX-512 too. Slow, and in the driver only.

#define SPION_ISA wide
#define SPION_TILE_ROWS 8
#include "../cpu/common/isa.h"

namespace spion_bench::cpu {

extern const Kernels kernels_wide;
const Kernels kernels_wide = wide::all_tables<16>("wide");

}  // namespace spion_bench::cpu

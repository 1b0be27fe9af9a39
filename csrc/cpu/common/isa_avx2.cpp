// AVX2 with FMA: 8 floats or 4 doubles a vector.
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#endif
#define SPION_ISA avx2
#define SPION_TILE_ROWS 6
#include "isa.h"

namespace spion_bench::cpu {

const Kernels kernels_avx2 = avx2::all_tables<8>("avx2");

}  // namespace spion_bench::cpu

// AVX-512: 16 floats or 8 doubles a vector.
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#endif
#define SPION_ISA avx512
#define SPION_TILE_ROWS 8
#include "isa.h"

namespace spion_bench::cpu {

const Kernels kernels_avx512 = avx512::all_tables<16>("avx512");

}  // namespace spion_bench::cpu

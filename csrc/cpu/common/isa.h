// Instantiates every kernel for one instruction set. isa_*.cpp define SPION_ISA, the lanes and the
// compiler's target, then include this file and name their table.
#pragma once

#include "../attention_map_kernel.h"
#include "../average_pool_kernel.h"
#include "../block_attention_kernel.h"
#include "../block_dropout_kernel.h"
#include "../block_sddmm_kernel.h"
#include "../block_softmax_kernel.h"
#include "../block_spmm_kernel.h"
#include "../diagonal_conv_kernel.h"
#include "convert.h"

namespace spion_bench::cpu::SPION_ISA {

template <typename T, int W>
constexpr KernelsOf<T> table() {
  return {attention_forward<T, W>, attention_backward<T, W>, sddmm_tile<T, W>,
          spmm_tile<T, W>,         softmax_row<T, W>,        softmax_backward_row<T, W>,
          dropout_tile<T, W>,      attention_map_rows<T, W>, diagonal_panel<T>,
          pool_block_row<T>};
}

template <typename E, int W>
constexpr ConversionOf<E> conversion() {
  return {widen_all<E, W>, narrow_all<E, W>};
}

// All tables of an instruction set whose vectors hold kLanes floats.
template <int kLanes>
constexpr Kernels all_tables(const char* capability) {
  return {capability, table<float, kLanes>(), table<double, kLanes / 2>(),
          conversion<BFloat16, kLanes>(), conversion<Float16, kLanes>()};
}

}  // namespace spion_bench::cpu::SPION_ISA

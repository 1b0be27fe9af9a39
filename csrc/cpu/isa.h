// Instantiates every kernel for one instruction set. isa_*.cpp define SPION_ISA, the lanes and the
// compiler's target, then include this file and name their table.
#pragma once

#include "attention_map_kernel.h"
#include "block_attention_kernel.h"
#include "pipeline_kernel.h"

namespace spion_bench::cpu::SPION_ISA {

template <typename T, int W>
constexpr KernelsOf<T> table() {
  return {attention_forward<T, W>, attention_backward<T, W>, sddmm_tile<T, W>,
          spmm_tile<T, W>,         softmax_row<T, W>,        softmax_backward_row<T, W>,
          dropout_tile<T, W>,      attention_map_rows<T, W>};
}

}  // namespace spion_bench::cpu::SPION_ISA

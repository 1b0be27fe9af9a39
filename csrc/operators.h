// Every operator that takes tensors, X(name) for each: what the CUDA kernels and the emulator bind.
// schema.cpp says what each takes; the CPU kernels register themselves (cpu/<op>.cpp).
#pragma once

#define SPION_OPERATORS(X)    \
  X(block_attention_forward)  \
  X(block_attention_backward) \
  X(block_sddmm)              \
  X(block_softmax)            \
  X(block_softmax_backward)   \
  X(block_spmm)               \
  X(block_spmm_transposed)    \
  X(block_dropout)            \
  X(attention_map)            \
  X(diagonal_conv)            \
  X(average_pool)             \
  X(flood_fill)

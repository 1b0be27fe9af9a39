// What several operators' kernels are given: plain structs on raw pointers.
//
// "Tiles" are the kept blocks of a score matrix, [B, H, nnzb, S, S], contiguous, in the order of
// the list by rows, of the operands' own type.
#pragma once

#include <cstdint>

namespace spion_bench::cuda {

// A [B, H, L, D] tensor whose last dimension is contiguous and whose rows start at multiples of 16
// bytes; strides in elements.
struct HeadsView {
  void* data = nullptr;
  int64_t batch_stride = 0, head_stride = 0, row_stride = 0;
};

// Dropout by Philox4x32-10, key = seed, counter = (key_column / 8, query_row, b * H + h, 0); column
// c takes 16 bits of output word (c % 8) / 2, the low half if c is even, and is dropped if their
// value is below `threshold`.
struct Dropout {
  uint32_t threshold = 0;  // 0: no dropout
  uint32_t key[2] = {0, 0};
  float keep_scale = 1.0f;
};

// The kept blocks by row (or by column), and the sizes that follow from them.
struct BlockList {
  int batch_heads = 0, heads = 0;
  int length = 0, block_log2 = 0;  // L, log2 S
  int nnzb = 0;
  const int32_t* begin = nullptr;  // [L / S + 1]: where each block row (column) begins in `other`
  const int32_t* other = nullptr;  // [nnzb]: the block column (row) of each entry

  // Where a tile begins, in elements.
  constexpr int64_t tile_offset(int batch_head, int tile) const {
    return (static_cast<int64_t>(batch_head) * nnzb + tile) << 2 * block_log2;
  }
};

// A matrix that is only read; strides in elements.
template <typename T>
struct MapView {
  const T* data = nullptr;
  int64_t row_stride = 0, column_stride = 0;
};

}  // namespace spion_bench::cuda

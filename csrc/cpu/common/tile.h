// The micro-kernel that every block operator is built from: a small dense product whose operand A
// is read by broadcasts with free strides (so that it can be transposed for nothing) and whose
// operands B and C are read by rows.
//
// The attention kernels work transposed: a panel of query rows lies along the vector lanes, so
// maxima, sums and rescaling are vertical and no operand of a key block has to be packed.
#pragma once

#include "vec.h"

namespace spion_bench::cpu::SPION_ISA {

// Rows of C that one tile accumulates; SPION_TILE_ROWS x 2 vectors, 2 vectors of B and a broadcast
// have to fit the registers. (isa_*.cpp says it: g++ evaluates macros before target pragmas.)
constexpr int kRows = SPION_TILE_ROWS;

// C[m][n] (+)= sum_k A[m * a_row + k * a_col] * B[k * b_row + n] for MR rows and NV vectors of n.
template <typename T, int W, int MR, int NV, bool kAccumulate>
inline void product_tile(int64_t depth, const T* a, int64_t a_row, int64_t a_col, const T* b,
                         int64_t b_row, T* c, int64_t c_row) {
  // Unrolled so early that the accumulators live in registers from the start, not on the stack.
  Vec<T, W> acc[MR][NV];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 2
    for (int n = 0; n < NV; ++n)
      acc[m][n] = kAccumulate ? load<T, W>(c + m * c_row + n * W) : Vec<T, W>{};
  for (int64_t k = 0; k < depth; ++k) {
    Vec<T, W> row[NV];
#pragma GCC unroll 2
    for (int n = 0; n < NV; ++n) row[n] = load<T, W>(b + k * b_row + n * W);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const Vec<T, W> factor = splat<T, W>(a[m * a_row + k * a_col]);
#pragma GCC unroll 2
      for (int n = 0; n < NV; ++n) acc[m][n] += factor * row[n];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 2
    for (int n = 0; n < NV; ++n) store<T, W>(c + m * c_row + n * W, acc[m][n]);
}

template <typename T, int W, int NV, bool kAccumulate>
inline void product_columns(int64_t rows, int64_t depth, const T* a, int64_t a_row, int64_t a_col,
                            const T* b, int64_t b_row, T* c, int64_t c_row) {
  const auto tile = [&]<int MR>(int64_t m) {
    product_tile<T, W, MR, NV, kAccumulate>(depth, a + m * a_row, a_row, a_col, b, b_row,
                                            c + m * c_row, c_row);
    return m + MR;
  };
  for (int64_t m = 0; m < rows;) {
    const int64_t left = rows - m;
    // Tiles of fewer than 4 rows cannot hide the latency of their sums: 8 are 4 + 4, not 6 + 2.
    if (left >= kRows && (kRows != 6 || left != 8))
      m = tile.template operator()<kRows>(m);
    else if (left >= 4)
      m = tile.template operator()<4>(m);
    else
      m = tile.template operator()<1>(m);
  }
}

// C[rows][columns] (+)= A * B; `columns` is a multiple of W.
template <typename T, int W, bool kAccumulate>
inline void product(int64_t rows, int64_t columns, int64_t depth, const T* a, int64_t a_row,
                    int64_t a_col, const T* b, int64_t b_row, T* c, int64_t c_row) {
  int64_t n = 0;
  for (; n + 2 * W <= columns; n += 2 * W)
    product_columns<T, W, 2, kAccumulate>(rows, depth, a, a_row, a_col, b + n, b_row, c + n, c_row);
  for (; n < columns; n += W)
    product_columns<T, W, 1, kAccumulate>(rows, depth, a, a_row, a_col, b + n, b_row, c + n, c_row);
}

// to[j * to_row + i] = from[i * from_row + j] * factor; rows and columns are multiples of W.
template <typename T, int W>
inline void transpose(int64_t rows, int64_t columns, const T* from, int64_t from_row, T* to,
                      int64_t to_row, T factor) {
  for (int64_t i = 0; i < rows; i += W)
    for (int64_t j = 0; j < columns; j += W) {
      Vec<T, W> lanes[W];
#pragma GCC unroll 16
      for (int n = 0; n < W; ++n) lanes[n] = load<T, W>(from + (i + n) * from_row + j) * factor;
      transpose_lanes<T, W>(lanes);
#pragma GCC unroll 16
      for (int n = 0; n < W; ++n) store<T, W>(to + (j + n) * to_row + i, lanes[n]);
    }
}

}  // namespace spion_bench::cpu::SPION_ISA

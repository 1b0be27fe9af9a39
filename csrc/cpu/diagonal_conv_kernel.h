// The diagonal filter over an attention map, on the way to its pattern.
//
// Its running sum is of the van Herk kind, which never subtracts: rows are cut into groups
// of `taps`, and a window that starts k rows into one group and ends in the next is
//
//   (suffix sum of the first group from its row k)  +  (prefix sum of the second group, k rows)
//
// so a NaN or a huge value reaches exactly the outputs whose window holds it, as in the direct sum.
// Columns are addressed by diagonal, c = column - row, which turns the diagonal sums into vertical
// ones over contiguous pieces of rows. The compiler vectorises the loops: they only add and
// convert.
// As in common/vec.h, no library code: everything is inside SPION_ISA.
#pragma once

#include <cstdint>

#include "common/kernels.h"

namespace spion_bench::cpu::SPION_ISA {

// The part of a panel of diagonals that lies inside the map on one row: `count` positions from
// `position` on, which are the row's columns from `column` on.
struct DiagonalSpan {
  int64_t position, column, count;
};

inline int64_t clamped(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

inline DiagonalSpan columns_inside(int64_t length, int64_t row, int64_t first_diagonal) {
  const int64_t left = row + first_diagonal;  // the column of position 0
  const int64_t column = clamped(left, 0, length);
  const int64_t end = clamped(left + kDiagonalPanel, 0, length);
  return {clamped(column - left, 0, kDiagonalPanel), column, end - column};
}

// to[c] = from[c] + map[row][row + first_diagonal + c]; cells outside the map count as zeros.
template <typename T>
inline void add_map_row(const T* map, int64_t length, int64_t row, int64_t first_diagonal,
                        const double* from, double* to) {
  DiagonalSpan span = {kDiagonalPanel, 0, 0};
  if (0 <= row && row < length) span = columns_inside(length, row, first_diagonal);
  const T* source = map + row * length + span.column - span.position;
  const int64_t end = span.position + span.count;
  if (from != to) {
    for (int64_t n = 0; n < span.position; ++n) to[n] = from[n];
    for (int64_t n = end; n < kDiagonalPanel; ++n) to[n] = from[n];
  }
  for (int64_t n = span.position; n < end; ++n) to[n] = from[n] + source[n];
}

template <typename T>
void diagonal_panel(const T* map, int64_t length, int64_t half, int64_t first_row,
                    int64_t first_diagonal, T* out, double* scratch) {
  const int64_t taps = 2 * half + 1;
  const int64_t upper_group = first_row - half;  // where the window of first_row starts
  const int64_t lower_group = upper_group + taps;
  double* prefix = scratch;
  double* suffix = scratch + kDiagonalPanel;  // [taps][kDiagonalPanel]

  for (int64_t n = 0; n < kDiagonalPanel; ++n) prefix[n] = 0;
  const double* below = prefix;
  for (int64_t k = taps - 1; k >= 0; --k) {
    double* sums = suffix + k * kDiagonalPanel;
    add_map_row(map, length, upper_group + k, first_diagonal, below, sums);
    below = sums;
  }

  const int64_t n_rows = clamped(length - first_row, 0, taps);
  for (int64_t k = 0; k < n_rows; ++k) {
    const int64_t row = first_row + k;
    const DiagonalSpan span = columns_inside(length, row, first_diagonal);
    const double* upper = suffix + k * kDiagonalPanel + span.position;
    const double* lower = prefix + span.position;
    T* target = out + row * length + span.column;
    for (int64_t n = 0; n < span.count; ++n) target[n] = static_cast<T>(upper[n] + lower[n]);
    add_map_row(map, length, lower_group + k, first_diagonal, prefix, prefix);
  }
}

}  // namespace spion_bench::cpu::SPION_ISA

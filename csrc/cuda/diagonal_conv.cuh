// The diagonal filter over an attention map.
//
//   out[i][j] = sum over t = -h..h of map[i + t][j + t], 0 outside the map
//
// Sums are float64 and in the order of the CPU kernel (../cpu/diagonal_conv_kernel.h), so that
// results are the same to the bit and ties of pooled blocks are decided alike on any device.
//
// Mapping: a thread per value, 32 x 128 values to a thread block, which share the rows that they
// read in the first-level cache. Grid: x = tiles of columns, y = tiles of rows.
// Shapes: map [L, L] by strides, out [L, L], float32 or float64; any L.
// Cost: 2 h + 1 additions and cached reads per value (31 as published), 1 read and 1 write of the
// map in memory.
// Launches: one. Registers and spills: nox -s cuda_build. Test: tests/emulation/
// test_diagonal_conv.py. No time has been measured yet: that takes a GPU.
#pragma once

#include "common/integers.cuh"
#include "common/prim.cuh"
#include "diagonal_conv.h"

namespace spion_bench::cuda {

constexpr int kConvThreads = 256, kConvRows = 32, kConvColumns = 128;

// The CPU kernel cuts rows into groups of 2 h + 1 from row -h on; a window is the end of one group,
// summed upwards, and the beginning of the next, summed downwards.
template <typename T>
SPION_DEVICE double window_sum(const DiagonalConvArgs<T>& args, int row, int column) {
  const int64_t step = args.map.row_stride + args.map.column_stride;
  const T* centre = args.map.data + row * args.map.row_stride + column * args.map.column_stride;
  const int last_of_group = args.half - row % (2 * args.half + 1);
  // Taps inside the map and the filter.
  const int first = larger(-args.half, -smaller(row, column));
  const int last = smaller(args.half, args.length - 1 - larger(row, column));
  double upper = 0.0, lower = 0.0;
  SPION_UNROLL_4
  for (int t = smaller(last_of_group, last); t >= first; --t)
    upper += prim::load_constant(centre + t * step);
  SPION_UNROLL_4
  for (int t = larger(last_of_group + 1, first); t <= last; ++t)
    lower += prim::load_constant(centre + t * step);
  return upper + lower;
}

template <typename T>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kConvThreads, 1)
    diagonal_conv_kernel(SPION_KERNEL_ARGUMENT DiagonalConvArgs<T> args) {
  const int column = prim::block_x() * kConvColumns + prim::thread_index() % kConvColumns;
  const int first_row = prim::block_y() * kConvRows + prim::thread_index() / kConvColumns;
  const int end = smaller(args.length, (prim::block_y() + 1) * kConvRows);
  if (column >= args.length) return;
  SPION_NO_UNROLL
  for (int row = first_row; row < end; row += kConvThreads / kConvColumns)
    args.out[static_cast<int64_t>(row) * args.length + column] =
        static_cast<T>(window_sum(args, row, column));
}

template <typename T>
const char* launch_diagonal_conv(const DiagonalConvArgs<T>& args, prim::Stream stream) {
  const prim::Grid grid{groups_of(args.length, kConvColumns), groups_of(args.length, kConvRows)};
  return prim::launch<diagonal_conv_kernel<T>>(grid, kConvThreads, stream, args);
}

}  // namespace spion_bench::cuda

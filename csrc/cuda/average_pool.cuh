// Pooling: the mean of every block of an attention map.
//
//   pooled[r][c] = mean of map[r S .. r S + S - 1][c S .. c S + S - 1]
//
// Sums are float64 and in the order of the CPU kernel (../cpu/average_pool_kernel.h), so that
// results are the same to the bit and ties of pooled blocks are decided alike on any device.
//
// Mapping: a thread per column sums down a block row, then a thread per block along its columns'
// sums in shared memory. Grid: x = block row times the groups of blocks along it.
// Shapes: map [L, L] by strides, pooled [L / S, L / S], float32 or float64; any L and S.
// Cost: one read of the map.
// Launches: one. Registers and spills: nox -s cuda_build. Test: tests/emulation/
// test_average_pool.py. No time has been measured yet: that takes a GPU.
#pragma once

#include "average_pool.h"
#include "common/integers.cuh"
#include "common/prim.cuh"

namespace spion_bench::cuda {

constexpr int kPoolThreads = 128;
constexpr int kPoolSharedBytes = kPoolThreads * static_cast<int>(sizeof(double));

template <typename T>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kPoolThreads, 1)
    average_pool_kernel(SPION_KERNEL_ARGUMENT AveragePoolArgs<T> args) {
  const int S = args.block_size, thread = prim::thread_index();
  const int block_row = prim::block_x() / args.groups;
  const int first_cell = (prim::block_x() - block_row * args.groups) * args.cells;
  const int n_cells = smaller(args.cells, args.n_blocks - first_cell);
  const int n_columns = n_cells * S;
  const T* corner = args.map.data + static_cast<int64_t>(block_row) * S * args.map.row_stride +
                    static_cast<int64_t>(first_cell) * S * args.map.column_stride;
  const auto sum_at = [](int i) {
    return prim::shared_memory() + static_cast<uint32_t>(i * sizeof(double));
  };

  double total = 0.0;
  SPION_NO_UNROLL
  for (int piece = 0; piece < n_columns; piece += kPoolThreads) {
    const int piece_end = smaller(piece + kPoolThreads, n_columns);
    if (piece + thread < piece_end) {
      const T* value = corner + (piece + thread) * args.map.column_stride;
      double sum = 0.0;
      SPION_UNROLL_4
      for (int i = 0; i < S; ++i) sum += prim::load_constant(value + i * args.map.row_stride);
      prim::store_shared_f64(sum_at(thread), sum);
    }
    prim::sync_threads();
    if (thread < n_cells) {
      const int end = smaller((thread + 1) * S, piece_end);
      for (int j = larger(thread * S, piece); j < end; ++j)
        total += prim::load_shared_f64(sum_at(j - piece));
    }
    prim::sync_threads();
  }
  if (thread < n_cells)
    args.pooled[static_cast<int64_t>(block_row) * args.n_blocks + first_cell + thread] =
        static_cast<T>(total / (static_cast<double>(S) * S));
}

template <typename T>
const char* launch_average_pool(AveragePoolArgs<T> args, prim::Stream stream) {
  args.cells = args.block_size < kPoolThreads ? kPoolThreads / args.block_size : 1;
  args.groups = static_cast<int>(groups_of(args.n_blocks, args.cells));
  const auto blocks = static_cast<unsigned>(args.n_blocks) * static_cast<unsigned>(args.groups);
  return prim::launch<average_pool_kernel<T>, kPoolSharedBytes>({blocks, 1}, kPoolThreads, stream,
                                                                args);
}

}  // namespace spion_bench::cuda

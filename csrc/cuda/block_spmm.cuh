// Block SpMM, the pipeline's last step: out = P v, and out = P^T v for its backward pass.
//
// Mapping: one thread block per kRows rows of the result of one (batch, head), one warp per 16 of
// them; tiles of P and rows of v stream through shared memory kCols keys (or queries) at a time,
// two steps ahead. P^T is P read the other way round: its list is by columns, and each entry says
// which tile it is. Each row of the result belongs to one thread block, which adds in the order of
// the list: no atomics. A long column is not split here, unlike in the fused backward pass. Grid: x
// = row tiles of a (batch, head), y = b * H + h. Shapes: tiles [B, H, nnzb, S, S], v [B, H, L, D]
// by strides, out [B, H, L, D]; D = 32, 64, 128, stored width a multiple of 16 bytes; S = 16, 32,
// 64, 128. Cost per kept block: 2 D S^2 FLOPs, S^2 + S D values read (out is written once per row).
// Launches: one. Registers and spills: nox -s cuda_build. Test: tests/emulation/test_block_spmm.py.
// No time has been measured yet: that takes a GPU.
#pragma once

#include "block_spmm.h"
#include "common/element.cuh"
#include "common/launch.cuh"
#include "common/list_steps.cuh"

namespace spion_bench::cuda {

template <class Math, int kRows, int kCols, bool kTransposed>
struct ProbTile {
  using T = typename Math::Stored;
  static constexpr int kTileRows = kTransposed ? kCols : kRows;
  static constexpr int kTileCols = kTransposed ? kRows : kCols;
  using Stored = ScoreTile<T, kTileCols>;
  static constexpr int kBytes = kTileRows * kPaddedCols<T, kTileCols> * static_cast<int>(sizeof(T));
  Stored tile;

  // out[16][D] += P[first_row ..][kCols] v[kCols][D], P transposed where it is stored so.
  template <int D>
  SPION_DEVICE void multiply(float (&out)[D / 8][4], int first_row,
                             Tile<D* static_cast<int>(sizeof(T))> v) const {
    if constexpr (sizeof(T) == 2) {
      SPION_UNROLL
      for (int k = 0; k < kCols / 16; ++k) {
        uint32_t r[4];
        if constexpr (kTransposed)
          prim::ldmatrix_x4_trans(r, tile.right_address(16 * k, first_row / 8));
        else
          prim::ldmatrix_x4(r, tile.left_address(first_row, 2 * k));
        const typename Math::A a = Math::left(r);
        SPION_UNROLL
        for (int n = 0; n < D / 8; n += 2) {
          uint32_t b[4];
          prim::ldmatrix_x4_trans(b, v.left_address(16 * k, n));
          Math::multiply(out[n], a, Math::right(b[0], b[1]));
          Math::multiply(out[n + 1], a, Math::right(b[2], b[3]));
        }
      }
    } else {
      const int g = prim::lane_index() / 4, t = prim::lane_index() % 4;
      SPION_UNROLL_4  // fully unrolled, the compiler reads too far ahead and spills
          for (int k = 0; k < kCols / 8; ++k) {
        float p[1][4];
        SPION_UNROLL
        for (int i = 0; i < 4; ++i) {
          const int row = first_row + g + i / 2 * 8, col = 8 * k + 2 * t + i % 2;
          p[0][i] = kTransposed ? read(col, row) : read(row, col);
        }
        Math::template multiply_rows<8, D>(&out, &p, v, 8 * k);
      }
    }
  }

 private:
  SPION_DEVICE float read(int row, int col) const {
    return prim::as_float(prim::load_shared(tile.address(row, col / 4) + col % 4 * 4));
  }
};

template <class Math, int D, int kRows>
constexpr int spmm_shared_bytes(bool is_transposed) {
  constexpr int kCols = kStepKeys<Math, D, kRows>;
  constexpr int kRowBytes = D * static_cast<int>(sizeof(typename Math::Stored));
  return 2 * (kCols * kRowBytes + (is_transposed ? ProbTile<Math, kRows, kCols, true>::kBytes
                                                 : ProbTile<Math, kRows, kCols, false>::kBytes));
}

template <class Math, int D, int kRows, bool kTransposed>
SPION_DEVICE void multiply_tiles(const BlockSpmmArgs& args) {
  using T = typename Math::Stored;
  constexpr int kThreads = kRows * 2, kCols = kStepKeys<Math, D, kRows>;
  using Rows = Tile<D* static_cast<int>(sizeof(T))>;
  using Probs = ProbTile<Math, kRows, kCols, kTransposed>;
  constexpr uint32_t kValueBytes = kCols * D * sizeof(T);
  const prim::SharedAddress v_begin = prim::shared_memory();
  const prim::SharedAddress p_begin = v_begin + 2 * kValueBytes;
  const auto v_tile = [v_begin](int step) { return Rows{v_begin + step % 2 * kValueBytes}; };
  const auto p_tile = [p_begin](int step) {
    return Probs{{p_begin + step % 2 * static_cast<uint32_t>(Probs::kBytes)}};
  };

  const BlockList& blocks = args.blocks;
  const int batch_head = prim::block_y(), b = batch_head / blocks.heads;
  const int h = batch_head - b * blocks.heads;
  const int first_row = prim::block_x() * kRows, warp_row = prim::warp_index() * 16;
  const int block_size = 1 << blocks.block_log2;
  const int row_in_block = first_row & (block_size - 1);
  const ListSteps<kCols> steps(blocks, first_row);

  const auto load_step = [&](int step) {
    if (step < steps.n_steps) {
      const int entry = steps.entry(step), within = steps.within(step);
      const int token = (prim::load_constant(blocks.other + entry) << blocks.block_log2) + within;
      load_tile<kCols, kThreads>(v_tile(step), row_of<const T>(args.v, b, h, token),
                                 args.v.row_stride, args.width);
      const int tile = kTransposed ? prim::load_constant(args.tile_of + entry) : entry;
      const T* from =
          static_cast<const T*>(args.tiles) + blocks.tile_offset(batch_head, tile) +
          (kTransposed ? within * block_size + row_in_block : row_in_block * block_size + within);
      load_tile<Probs::kTileRows, kThreads>(p_tile(step).tile, from, block_size, Probs::kTileCols);
    }
    prim::cp_async_commit();
  };
  load_step(0);
  load_step(1);

  float out[D / 8][4] = {};
  SPION_NO_UNROLL
  for (int step = 0; step < steps.n_steps; ++step) {
    prim::cp_async_wait<1>();  // this step's tiles; the next one's may be under way
    prim::sync_threads();
    p_tile(step).template multiply<D>(out, warp_row, v_tile(step));
    prim::sync_threads();  // every warp is done with this step's tiles
    load_step(step + 2);
  }

  static_assert(2 * kCols >= kRows, "the result leaves through the two tiles of v");
  const float factor[2] = {1.0f, 1.0f};
  store_rows<Math, D>(out, factor, v_tile(0), warp_row,
                      row_of<T>(args.out, b, h, first_row + warp_row), args.out.row_stride,
                      args.width);
}

template <class Math, int D, int kRows>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kRows * 2, 1)
    block_spmm_kernel(SPION_KERNEL_ARGUMENT BlockSpmmArgs args) {
  multiply_tiles<Math, D, kRows, false>(args);
}

template <class Math, int D, int kRows>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kRows * 2, 1)
    block_spmm_transposed_kernel(SPION_KERNEL_ARGUMENT BlockSpmmArgs args) {
  multiply_tiles<Math, D, kRows, true>(args);
}

template <class Math>
const char* launch_block_spmm(const BlockSpmmArgs& args, prim::Stream stream) {
  return with_tile(args.blocks, args.width, [&](auto width, auto rows, prim::Grid grid) {
    constexpr int kWidth = decltype(width)::value, kRows = decltype(rows)::value;
    if (args.tile_of != nullptr)
      return prim::launch<block_spmm_transposed_kernel<Math, kWidth, kRows>,
                          spmm_shared_bytes<Math, kWidth, kRows>(true)>(grid, kRows * 2, stream,
                                                                        args);
    return prim::launch<block_spmm_kernel<Math, kWidth, kRows>,
                        spmm_shared_bytes<Math, kWidth, kRows>(false)>(grid, kRows * 2, stream,
                                                                       args);
  });
}

}  // namespace spion_bench::cuda

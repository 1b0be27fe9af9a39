// Fused block-sparse attention, backward: one launch of two kinds of thread blocks.
//
//   rows     own kRows queries of a block row:  dq = scale * sum_j dS_ij k_j
//   columns  own kRows keys of a block column:  dk = scale * sum_i dS_ij q_i, dv = sum_i P_ij do_i
// with P = 2^(scale log2 e q k^T - lse log2 e), dS = P (dout v^T - delta), both recomputed by
// either kind. Every result is summed by one thread block in the order of its list: no atomics,
// bitwise reproducible. The two kinds alternate in the grid so that they find each other's tiles in
// L2.
//
// Mapping: both kinds are the same code. X and Y are their own rows (rows: q, dout; columns: k, v),
// U and W stream past (rows: k, v; columns: q, dout): S = X U^T, dP = Y W^T, then
// first += dS U and, columns only, second += P W. One warp owns 16 or 32 rows of X; S and P never
// leave its registers. Steps are kCols rows of U and W, two in flight, worked on
// kSub rows at a time.
// Grid: x = row tiles and column pieces (block_attention_columns.cuh), y = b * H + h.
// Shapes: as in block_attention_forward.cuh; row_stats and keep_bits from
// block_attention_stats.cuh. Cost per kept block: 14 D S^2 FLOPs, 2 S^2 exponentials. Launches:
// this one, attention_stats before it and, where columns are cut, attention_reduce after it.
// Registers, spills and the instructions of a step: nox -s cuda_build. Test: tests/emulation. Time:
// not measured yet.
#pragma once

#include "block_attention_columns.cuh"
#include "block_attention_forward.cuh"
#include "block_attention_stats.cuh"

namespace spion_bench::cuda {

// Score columns that are in registers at a time.
template <class Math, int D, int kCols>
constexpr int kScoreCols = kCols < 32                                ? kCols
                           : D * sizeof(typename Math::Stored) > 256 ? 16
                                                                     : 32;

// 64 columns of two kinds of left operands are too many to keep.
template <class Math, int D>
constexpr bool kIsResidentBackward = sizeof(typename Math::A) * (D / Math::kStep) <= 64;

// As kForwardTiles: float32 has to split what it loads, which 16 bits need not.
template <class Math, int D, int kRows, bool kDropout>
constexpr int kBackwardTiles =
    sizeof(typename Math::Stored) == 4 && D == 32 && kRows >= 32 && !kDropout ? 2 : 1;
template <class Math, int D, int kRows, bool kDropout>
constexpr int kBackwardThreads = kRows * 2 / kBackwardTiles<Math, D, kRows, kDropout>;

// As kForwardBlocks. Left alone, the compiler prefers one more block and a few spilled registers.
template <class Math, int D, int kRows, bool kDropout>
constexpr int kBackwardBlocks = sizeof(typename Math::Stored) == 4   ? 1
                                : D == 64                            ? 1
                                : D == 32 && kRows >= 32 && kDropout ? 192 / kRows
                                                                     : 0;

// Rows of a tile where the forward kernel has kRows: 64 rows of 128 float32 columns, of two
// tensors, would need more shared memory than every device has.
template <class Math, int D, int kRows>
constexpr int kBackwardRows = D * sizeof(typename Math::Stored) > 256 && kRows > 32 ? 32 : kRows;

template <class Math, int D, int kRows>
constexpr int backward_shared_bytes() {
  constexpr int kCols = kStepKeys<Math, D, kRows>;
  return (2 * kRows + 4 * kCols) * D * static_cast<int>(sizeof(typename Math::Stored)) +
         2 * kCols * 8;
}

// What one thread block works on; all the same for its threads.
template <bool kReaches>
struct BackwardTask {
  Head<kReaches> head;
  int first_row;          // of X and Y
  const int32_t* blocks;  // of U and W
  const int32_t* tiles;   // their positions in the row list; null = the same
  Entries entries;
};

// Which scores dropout keeps, read from the bits in memory as 32 columns need them.
template <bool kIsColumn, int kSub>
struct KeptScores {
  uint32_t words[kIsColumn ? kSub / 4 : 2];
  int own_bit;

  // `first`: first column (of U) within the block, `own`: this lane's first row of X within it.
  SPION_DEVICE void read(const BlockAttentionArgs& args, unsigned head, int tile, int own,
                         int first) {
    const int n_words = keep_words(args.block_size), t = prim::lane_index() % 4;
    const uint32_t* bits = args.keep_bits + (static_cast<int64_t>(head) * args.nnzb + tile) *
                                                args.block_size * n_words;
    if constexpr (kIsColumn) {
      own_bit = own % 32;
      SPION_UNROLL
      for (int i = 0; i < kSub / 4; ++i)
        words[i] = bits[(first + i / 2 * 8 + 2 * t + i % 2) * n_words + own / 32];
    } else {
      own_bit = first % 32 + 2 * t;
      SPION_UNROLL
      for (int i = 0; i < 2; ++i) words[i] = bits[(own + 8 * i) * n_words + first / 32];
    }
  }
  SPION_DEVICE void keep_all() {
    own_bit = 0;
    for (uint32_t& word : words) word = ~0u;
  }
  SPION_DEVICE bool is_kept(int n, int i) const {
    if constexpr (kIsColumn) return words[2 * n + i % 2] >> (own_bit + i / 2 * 8) & 1u;
    return words[i / 2] >> (8 * n + own_bit + i % 2) & 1u;
  }
};

// lse * log2 e and delta of the queries that this lane sees: its rows, or its columns.
template <bool kIsColumn, int kSub>
struct QueryStats {
  float lse2[kIsColumn ? kSub / 4 : 2], delta[kIsColumn ? kSub / 4 : 2];

  SPION_DEVICE void read_rows(const float* row_stats, int64_t row) {
    SPION_UNROLL
    for (int i = 0; i < 2; ++i) {
      lse2[i] = row_stats[2 * (row + 8 * i)];
      delta[i] = row_stats[2 * (row + 8 * i) + 1];
    }
  }
  SPION_DEVICE void read_columns(prim::SharedAddress stats, int first) {
    SPION_UNROLL
    for (int n = 0; n < kSub / 8; ++n) {
      const prim::Bits128 two =
          prim::load_shared_128(stats + (first + 8 * n + prim::lane_index() % 4 * 2) * 8);
      SPION_UNROLL
      for (int i = 0; i < 2; ++i) {
        lse2[2 * n + i] = prim::as_float(two.x[2 * i]);
        delta[2 * n + i] = prim::as_float(two.x[2 * i + 1]);
      }
    }
  }
  // Of value i of column group n in accumulator layout.
  SPION_DEVICE float lse2_at(int n, int i) const { return lse2[index(n, i)]; }
  SPION_DEVICE float delta_at(int n, int i) const { return delta[index(n, i)]; }

 private:
  SPION_DEVICE static int index(int n, int i) { return kIsColumn ? 2 * n + i % 2 : i / 2; }
};

// A piece's float32 share of dk or dv, [S][width].
template <int D>
SPION_DEVICE void store_part(const float (&c)[D / 8][4], float factor, float* part, int width) {
  const int lane = prim::lane_index(), g = lane / 4, t = lane % 4;
  SPION_UNROLL
  for (int n = 0; n < D / 8; ++n) SPION_UNROLL
  for (int i = 0; i < 2; ++i)
    if (8 * n + 2 * t < width)
      prim::store_64(
          part + (g + 8 * i) * width + 8 * n + 2 * t,
          {{prim::as_bits(c[n][2 * i] * factor), prim::as_bits(c[n][2 * i + 1] * factor)}});
}

template <class Math, bool kReaches, int D, int kRows, bool kDropout, bool kIsColumn>
SPION_DEVICE void attention_backward_task(const BlockAttentionArgs& args,
                                          const BackwardTask<kReaches>& task, int slot) {
  using T = typename Math::Stored;
  constexpr int kTiles = kBackwardTiles<Math, D, kRows, kDropout>,
                kThreads = kBackwardThreads<Math, D, kRows, kDropout>;
  constexpr int kCols = kStepKeys<Math, D, kRows>, kSub = kScoreCols<Math, D, kCols>;
  using Rows = Tile<D* static_cast<int>(sizeof(T))>;
  constexpr uint32_t kOwnBytes = kRows * D * sizeof(T), kTileBytes = kCols * D * sizeof(T);
  const Rows x_tile{prim::shared_memory()}, y_tile{x_tile.base + kOwnBytes};
  const prim::SharedAddress streamed = y_tile.base + kOwnBytes;
  const auto u_tile = [streamed](int step) { return Rows{streamed + step % 2 * kTileBytes}; };
  const auto w_tile = [streamed](int step) { return Rows{streamed + (2 + step % 2) * kTileBytes}; };
  const auto stats_at = [streamed](int step) {
    return streamed + 4 * kTileBytes + step % 2 * kCols * 8;
  };
  const HeadsView &x_view = kIsColumn ? args.k : args.q, &y_view = kIsColumn ? args.v : args.dout;
  const HeadsView &u_view = kIsColumn ? args.q : args.k, &w_view = kIsColumn ? args.dout : args.v;

  const unsigned b = task.head.b, h = task.head.h, kv = task.head.kv;
  const unsigned own_head = kIsColumn ? kv : h, streamed_head = kIsColumn ? h : kv;
  const int64_t stats_begin = static_cast<int64_t>(task.head.batch_head) * args.length;
  using Copies = TileCopies<kCols, kThreads, T, D* static_cast<int>(sizeof(T))>;
  const Copies u_copies(row_of<const T>(u_view, b, streamed_head, 0), u_view.row_stride,
                        args.width);
  const Copies w_copies(row_of<const T>(w_view, b, streamed_head, 0), w_view.row_stride,
                        args.width);
  const auto load_step = [&](int step, int row) {
    u_copies.start(u_tile(step), row);
    w_copies.start(w_tile(step), row);
    if (kIsColumn && prim::thread_index() < kCols / 2)
      prim::cp_async_16(stats_at(step) + prim::thread_index() * 16,
                        args.row_stats + 2 * (stats_begin + row) + prim::thread_index() * 4, true);
  };

  const Steps<kCols> steps{task.blocks, task.entries.begin, args.block_log2};
  const int n_steps = steps.count(task.entries.end - task.entries.begin);
  int row0 = 0, row1 = 0, row2 = 0;  // first rows of U in this step and the next two
  if (n_steps > 0) {
    row0 = steps.first(0);
    load_tile<kRows, kThreads>(x_tile, row_of<const T>(x_view, b, own_head, task.first_row),
                               x_view.row_stride, args.width);
    load_tile<kRows, kThreads>(y_tile, row_of<const T>(y_view, b, own_head, task.first_row),
                               y_view.row_stride, args.width);
    load_step(0, row0);
    prim::cp_async_commit();
    if (n_steps > 1) {
      row1 = steps.first(1);
      load_step(1, row1);
    }
    prim::cp_async_commit();
    if (n_steps > 2) row2 = steps.first(2);
  }

  const int warp_row = prim::warp_index() * 16 * kTiles;
  const int lane_row = warp_row + prim::lane_index() / 4;
  const bool is_padded = args.key_padding_mask != nullptr;
  const auto mask_at = [&](int key) {
    return args.key_padding_mask + (static_cast<int64_t>(b) * args.key_length + key);
  };
  QueryStats<kIsColumn, kSub> stats[kIsColumn ? 1 : kTiles];  // all tiles have the same columns
  const auto stats_of = [&](int m) -> const auto& { return stats[kIsColumn ? 0 : m]; };
  LeftRows<Math, D, kIsResidentBackward<Math, D>> x[kTiles], y[kTiles];
  float first_sum[kTiles][D / 8][4] = {};
  float second_sum[kTiles][kIsColumn ? D / 8 : 1][4] = {};
  if (n_steps > 0) {
    prim::cp_async_wait<1>();
    prim::sync_threads();
  }
  SPION_UNROLL
  for (int m = 0; m < kTiles; ++m) {
    if constexpr (!kIsColumn)
      stats[m].read_rows(args.row_stats, stats_begin + task.first_row + lane_row + 16 * m);
    x[m].tile = x_tile;
    y[m].tile = y_tile;
    x[m].first_row = y[m].first_row = warp_row + 16 * m;
    if (n_steps > 0) {
      x[m].read();
      y[m].read();
    }
  }

  SPION_NO_UNROLL
  for (int step = 0; step < n_steps;) {
    SPION_NO_UNROLL
    for (int first = 0; first < kCols; first += kSub) {
      if constexpr (kIsColumn) stats[0].read_columns(stats_at(step), first);
      float p[kTiles][kSub / 8][4] = {}, ds[kTiles][kSub / 8][4];
      multiply_transposed<kSub, kTiles>(p, x, u_tile(step), first);
      SPION_UNROLL
      for (int m = 0; m < kTiles; ++m) SPION_UNROLL
      for (int n = 0; n < kSub / 8; ++n) SPION_UNROLL
      for (int i = 0; i < 4; ++i) ds[m][n][i] = kDropout ? 0.0f : -stats_of(m).delta_at(n, i);
      multiply_transposed<kSub, kTiles>(ds, y, w_tile(step), first);

      const float factor = args.is_negated ? -args.score_factor : args.score_factor;
      SPION_UNROLL
      for (int m = 0; m < kTiles; ++m) SPION_UNROLL
      for (int n = 0; n < kSub / 8; ++n) SPION_UNROLL
      for (int i = 0; i < 4; ++i)
        p[m][n][i] = prim::exp2(p[m][n][i] * factor - stats_of(m).lse2_at(n, i));
      if constexpr (!kIsColumn)
        if (is_padded) mask_scores<kSub>(p, mask_at(row0 + first), 0, 0.0f);
      if constexpr (kReaches) {
        if (args.causal && (kIsColumn ? row0 + first < task.first_row + kRows
                                      : row0 + first + kSub > task.first_row)) {
          SPION_UNROLL
          for (int m = 0; m < kTiles; ++m)
            hide_later_keys<kIsColumn>(p[m], task.first_row + lane_row + 16 * m, row0 + first,
                                       0.0f);
        }
      }
      SPION_UNROLL
      for (int m = 0; m < kTiles; ++m) {
        if constexpr (kDropout) {
          KeptScores<kIsColumn, kSub> kept;
          if (!kReaches || args.dropout.threshold > 0) {
            const int entry = task.entries.begin + steps.block(step);
            const int tile =
                task.tiles != nullptr ? prim::load_constant(task.tiles + entry) : entry;
            const int within = args.block_size - 1;
            kept.read(args, task.head.kept, tile, (task.first_row + lane_row + 16 * m) & within,
                      (row0 + first) & within);
          } else {
            kept.keep_all();
          }
          SPION_UNROLL
          for (int n = 0; n < kSub / 8; ++n) SPION_UNROLL
          for (int i = 0; i < 4; ++i) {
            const float keep = kept.is_kept(n, i) ? args.dropout.keep_scale : 0.0f;
            ds[m][n][i] = p[m][n][i] * (ds[m][n][i] * keep - stats_of(m).delta_at(n, i));
            p[m][n][i] *= keep;
          }
        } else {
          SPION_UNROLL
          for (int i = 0; i < kSub / 2; ++i) ds[m][i / 4][i % 4] *= p[m][i / 4][i % 4];
        }
      }
      Math::template multiply_rows<kSub, D, kTiles>(first_sum, ds, u_tile(step), first);
      if constexpr (kIsColumn)
        Math::template multiply_rows<kSub, D, kTiles>(second_sum, p, w_tile(step), first);
    }
    if (step + 1 == n_steps) break;
    prim::sync_threads();  // every warp is done with this step's tiles
    row0 = row1;
    row1 = row2;
    if (step + 2 < n_steps) load_step(step, row2);
    prim::cp_async_commit();
    if (step + 3 < n_steps) row2 = steps.first(step + 3);
    ++step;
    prim::cp_async_wait<1>();
    prim::sync_threads();
  }

  const int64_t part_size = static_cast<int64_t>(args.block_size) * args.width;
  const int64_t part =
      static_cast<int64_t>(task.head.batch_head) * 2 * n_cuts(args.nnzb, args.cut_every) + slot;
  const float scales[2] = {args.scale, args.scale}, ones[2] = {1.0f, 1.0f};
  const HeadsView& first_view = kIsColumn ? args.dk : args.dq;
  SPION_UNROLL
  for (int m = 0; m < kTiles; ++m) {
    if constexpr (kIsColumn) {  // padded keys have no gradient, whatever their scores came to
      if (is_padded) SPION_UNROLL
      for (int i = 0; i < D / 2; ++i)
        if (!*mask_at(task.first_row + lane_row + 16 * m + i % 4 / 2 * 8))
          first_sum[m][i / 4][i % 4] = second_sum[m][i / 4][i % 4] = 0.0f;
    }
    const int tile_row = warp_row + 16 * m, row = task.first_row + tile_row;
    if (slot >= 0) {
      float* to = args.parts + part * 2 * part_size +
                  static_cast<int64_t>(row & (args.block_size - 1)) * args.width;
      store_part<D>(first_sum[m], args.scale, to, args.width);
      if constexpr (kIsColumn) store_part<D>(second_sum[m], 1.0f, to + part_size, args.width);
      continue;
    }
    store_rows<Math, D>(first_sum[m], scales, x_tile, tile_row, row_of<T>(first_view, b, h, row),
                        first_view.row_stride, args.width);
    if constexpr (kIsColumn)
      store_rows<Math, D>(second_sum[m], ones, y_tile, tile_row, row_of<T>(args.dv, b, h, row),
                          args.dv.row_stride, args.width);
  }
}

// kReaches as in block_attention_forward.cuh.
template <class Math, bool kReaches, int D, int kRows, bool kDropout>
SPION_KERNEL void SPION_LAUNCH_BOUNDS((kBackwardThreads<Math, D, kRows, kDropout>),
                                      (kBackwardBlocks<Math, D, kRows, kDropout>))
    block_attention_backward_kernel(SPION_KERNEL_ARGUMENT BlockAttentionArgs args) {
  const Steps<kRows> own{nullptr, 0, args.block_log2};  // a block is one to four row tiles
  const int n_rows = own.count(args.n_blocks);
  const int n_columns = kReaches ? own.count(args.n_key_blocks) : n_rows;
  const int n_pairs = n_rows < n_columns ? n_rows : n_columns;
  const int index = prim::block_x(), unpaired = index - 2 * n_pairs;
  // After the pairs the rows that are left, then the columns that are, and the pieces of cut ones.
  const int rows_left = n_rows - n_pairs;
  const bool is_column = unpaired < 0 ? index % 2 == 1 : unpaired >= rows_left;
  const int item = unpaired < 0 ? index / 2 : n_pairs + unpaired - (is_column ? rows_left : 0);
  const Head<kReaches> head(args, prim::block_y());
  if (is_column) {
    const ColumnPiece piece = column_piece(args, head, own.block(item));
    if (!piece.exists) return;
    const int first_key =
        (piece.column << args.block_log2) + (item - own.count(own.block(item))) * kRows;
    BackwardTask<kReaches> task{head, first_key, args.t_row, args.t_tile, piece.entries};
    if constexpr (kReaches)
      if (args.is_cut)
        task.entries.keep(args.t_row, args.causal ? piece.column : 0, args.n_blocks - 1);
    attention_backward_task<Math, kReaches, D, kRows, kDropout, true>(args, task, piece.slot);
  } else {
    const Entries entries = entries_of_row(args, head, item * kRows >> args.block_log2);
    const BackwardTask<kReaches> task{head, item * kRows, args.col, nullptr, entries};
    attention_backward_task<Math, kReaches, D, kRows, kDropout, false>(args, task, -1);
  }
}

}  // namespace spion_bench::cuda

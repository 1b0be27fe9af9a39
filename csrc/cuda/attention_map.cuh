// The dense attention map averaged over batch and heads, in two launches that share nothing but
// two numbers per row: [B, H, L, L] never exists.
//
//   stats   row_stats[row] = (largest score, 1 / (B H) / sum of 2^(factor (score - largest)))
//   map     map[i][j] = sum over (batch, head) of 2^(factor (score - largest)) * the second number
//
// Mapping: one warp per 16 rows, four to a thread block. stats: one thread block per 64 query rows
// of a (batch, head); keys stream through shared memory, two steps ahead; each lane keeps the
// maximum and the sum of its own columns and the four lanes of a row meet once, at the end. map:
// one thread block per 64 x 64 tile of the result walks all (batch, head)s in order and keeps the
// tile's sums in registers, so they depend on no schedule; it computes the scores again, with the
// same instructions, so that no probability exceeds its share. Thread blocks of one multiprocessor
// hide each other's loads.
// Grid: stats x = row tiles, y = b * H + h; map x = key tiles, y = row tiles.
// Shapes: q k [B, H, L, D] float32 by strides, any L; D = 32, 64, 128, stored width a multiple of
// 16 bytes; map [L, L]; scratch 8 bytes per row of each (batch, head).
// Cost: 4 D L^2 FLOPs (three times that in 3xTF32) and 2 L^2 exponentials per (batch, head); D / 8
// bytes of q and k per value of the map and (batch, head), from the L2 cache.
// Launches: two. Registers and spills: nox -s cuda_build. Test: tests/emulation/
// test_attention_map.py. No time has been measured yet: that takes a GPU.
#pragma once

#include "attention_map.h"
#include "common/element.cuh"

namespace spion_bench::cuda {

constexpr int kMapTile = 64;
constexpr int kMapThreads = kMapTile * 2;
// Thread blocks of the second launch that have to fit a multiprocessor side by side.
constexpr int kMapBlocks = 3;
constexpr int kScoreColumns = 32;  // scores held next to the tile's sums; more of them spill

template <class Math, int D>
constexpr int map_stats_shared_bytes() {
  return (kMapTile + 2 * kStepKeys<Math, D, kMapTile>)*D *
         static_cast<int>(sizeof(typename Math::Stored));
}
template <class Math, int D>
constexpr int map_shared_bytes() {
  return 2 * kMapTile * D * static_cast<int>(sizeof(typename Math::Stored));
}

// load_tile for the first `n_rows` rows only; the others become 0.
template <int kRows, int kThreads, int kRowBytes, typename T>
SPION_DEVICE void load_rows(Tile<kRowBytes> tile, const T* from, int64_t row_stride, int width,
                            int n_rows) {
  constexpr int kChunks = Tile<kRowBytes>::kChunks, kRowsAtOnce = kThreads / kChunks;
  constexpr int kPerChunk = 16 / static_cast<int>(sizeof(T));
  static_assert(kThreads % kChunks == 0 && kRows % kRowsAtOnce == 0);
  const int thread = prim::thread_index(), row = thread / kChunks, chunk = thread % kChunks;
  const bool has_chunk = chunk * kPerChunk < width;
  from += row * row_stride + (has_chunk ? chunk * kPerChunk : 0);
  SPION_UNROLL
  for (int i = 0; i < kRows; i += kRowsAtOnce) {
    prim::cp_async_16(tile.address(row + i, chunk), from, has_chunk && row + i < n_rows);
    from += kRowsAtOnce * row_stride;
  }
}

// Which of kCols keys from `first_key` are real tokens, one bit each; every lane of the warp calls.
template <int kCols>
struct RealKeys {
  uint32_t word[kCols / 32];

  SPION_DEVICE RealKeys(const AttentionMapArgs& args, int b, int first_key) {
    const bool* mask = args.key_padding_mask;
    if (mask != nullptr) mask += static_cast<int64_t>(b) * args.length;
    SPION_UNROLL
    for (int w = 0; w < kCols / 32; ++w) {
      const int key = first_key + 32 * w + prim::lane_index();
      word[w] = prim::ballot(key < args.length && (mask == nullptr || mask[key]));
    }
  }
  // Of this lane's score s[n][i], in accumulator layout.
  SPION_DEVICE bool contain(int n, int i) const {
    return word[n / 4] >> (n % 4 * 8 + prim::lane_index() % 4 * 2 + i % 2) & 1u;
  }
};

// What exponentials are relative to: -inf - (-inf) must not be NaN.
SPION_DEVICE float base_of(float highest) { return highest == -kInfinity ? 0.0f : highest; }

// The largest score and the denominator of rows g and g + 8, over the columns seen by this lane.
struct RowStats {
  float highest[2] = {-kInfinity, -kInfinity};
  float total[2] = {0.0f, 0.0f};

  template <int kTiles>
  SPION_DEVICE void step(const float (&s)[kTiles][4], float factor) {
    SPION_UNROLL
    for (int i = 0; i < 2; ++i) {
      const float before = highest[i];
      SPION_UNROLL
      for (int n = 0; n < kTiles; ++n)
        highest[i] = prim::max(highest[i], prim::max(s[n][2 * i], s[n][2 * i + 1]));
      const float base = base_of(highest[i]);
      total[i] *= prim::exp2((before - base) * factor);
      SPION_UNROLL
      for (int n = 0; n < kTiles; ++n)
        total[i] += prim::exp2((s[n][2 * i] - base) * factor) +
                    prim::exp2((s[n][2 * i + 1] - base) * factor);
    }
  }

  // Joins the four lanes of each row.
  SPION_DEVICE void join(float factor) {
    SPION_UNROLL
    for (int i = 0; i < 2; ++i) {
      const float own = highest[i];
      highest[i] = prim::max(highest[i], prim::shuffle_xor(highest[i], 1));
      highest[i] = base_of(prim::max(highest[i], prim::shuffle_xor(highest[i], 2)));
      total[i] *= prim::exp2((own - highest[i]) * factor);
      total[i] += prim::shuffle_xor(total[i], 1);
      total[i] += prim::shuffle_xor(total[i], 2);
    }
  }
};

template <class Math, int D>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kMapThreads, 1)
    attention_map_stats_kernel(SPION_KERNEL_ARGUMENT AttentionMapArgs args) {
  using T = typename Math::Stored;
  constexpr int kCols = kStepKeys<Math, D, kMapTile>;
  using Rows = Tile<D* static_cast<int>(sizeof(T))>;
  constexpr uint32_t kRowBytes = D * sizeof(T);
  const Rows q_tile{prim::shared_memory()};
  const prim::SharedAddress k_begin = q_tile.base + kMapTile * kRowBytes;
  const auto k_tile = [k_begin](int step) { return Rows{k_begin + step % 2 * kCols * kRowBytes}; };
  const int batch_head = prim::block_y(), b = batch_head / args.heads;
  const int h = batch_head - b * args.heads;
  const int first_query = prim::block_x() * kMapTile, warp_row = prim::warp_index() * 16;
  const int n_steps = (args.length + kCols - 1) / kCols;

  const auto load_keys = [&](int step) {
    const int key = step * kCols;
    if (step < n_steps)
      load_rows<kCols, kMapThreads>(k_tile(step), row_of<const T>(args.k, b, h, key),
                                    args.k.row_stride, args.width, args.length - key);
    prim::cp_async_commit();
  };
  load_rows<kMapTile, kMapThreads>(q_tile, row_of<const T>(args.q, b, h, first_query),
                                   args.q.row_stride, args.width, args.length - first_query);
  load_keys(0);
  load_keys(1);
  prim::cp_async_wait<1>();
  prim::sync_threads();
  LeftRows<Math, D, kIsResident<Math, D>> q{q_tile, warp_row, {}};
  q.read();

  RowStats stats;
  SPION_NO_UNROLL
  for (int step = 0; step < n_steps; ++step) {
    float s[kCols / 8][4] = {};
    multiply_transposed<kCols>(&s, &q, k_tile(step), 0);
    prim::sync_threads();  // every warp is done with this step's keys
    load_keys(step + 2);
    const RealKeys<kCols> real(args, b, step * kCols);
    SPION_UNROLL
    for (int n = 0; n < kCols / 8; ++n) SPION_UNROLL
    for (int i = 0; i < 4; ++i)
      s[n][i] = !real.contain(n, i) ? -kInfinity : args.is_negated ? -s[n][i] : s[n][i];
    stats.step(s, args.score_factor);
    prim::cp_async_wait<1>();  // keys of the next step
    prim::sync_threads();
  }

  stats.join(args.score_factor);
  if (prim::lane_index() % 4 == 0) SPION_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int query = first_query + warp_row + prim::lane_index() / 4 + 8 * i;
    // A row whose keys are all padding attends to nothing and adds 0.
    const float weight = stats.total[i] == 0.0f ? 0.0f : args.share / stats.total[i];
    if (query < args.length)
      *reinterpret_cast<prim::Bits64*>(
          args.row_stats + 2 * (static_cast<int64_t>(batch_head) * args.length + query)) = {
          {prim::as_bits(stats.highest[i]), prim::as_bits(weight)}};
  }
}

template <class Math, int D>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kMapThreads, kMapBlocks)
    attention_map_kernel(SPION_KERNEL_ARGUMENT AttentionMapArgs args) {
  using T = typename Math::Stored;
  using Rows = Tile<D* static_cast<int>(sizeof(T))>;
  const Rows q_tile{prim::shared_memory()};
  const Rows k_tile{q_tile.base + kMapTile * D * static_cast<uint32_t>(sizeof(T))};
  const int first_query = prim::block_y() * kMapTile, first_key = prim::block_x() * kMapTile;
  const int warp_row = prim::warp_index() * 16;
  const int query = first_query + warp_row + prim::lane_index() / 4;
  LeftRows<Math, D, kIsResident<Math, D>> q{q_tile, warp_row, {}};
  float sums[kMapTile / 8][4] = {};

  SPION_NO_UNROLL
  for (int batch_head = 0; batch_head < args.batch * args.heads; ++batch_head) {
    const int b = batch_head / args.heads, h = batch_head - b * args.heads;
    prim::sync_threads();  // every warp is done with the tiles before
    load_rows<kMapTile, kMapThreads>(q_tile, row_of<const T>(args.q, b, h, first_query),
                                     args.q.row_stride, args.width, args.length - first_query);
    load_rows<kMapTile, kMapThreads>(k_tile, row_of<const T>(args.k, b, h, first_key),
                                     args.k.row_stride, args.width, args.length - first_key);
    prim::cp_async_commit();
    float highest[2] = {}, weight[2] = {};
    SPION_UNROLL
    for (int i = 0; i < 2; ++i)
      if (query + 8 * i < args.length) {
        const float* row =
            args.row_stats + 2 * (static_cast<int64_t>(batch_head) * args.length + query + 8 * i);
        highest[i] = prim::load_constant(row);
        weight[i] = prim::load_constant(row + 1);
      }
    const RealKeys<kMapTile> real(args, b, first_key);
    prim::cp_async_wait<0>();
    prim::sync_threads();

    q.read();
    SPION_UNROLL
    for (int first = 0; first < kMapTile; first += kScoreColumns) {
      float s[kScoreColumns / 8][4] = {};
      multiply_transposed<kScoreColumns>(&s, &q, k_tile, first);
      SPION_UNROLL
      for (int n = 0; n < kScoreColumns / 8; ++n) SPION_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float score = args.is_negated ? -s[n][i] : s[n][i];
        const float p = prim::exp2((score - highest[i / 2]) * args.score_factor);
        sums[first / 8 + n][i] += (real.contain(first / 8 + n, i) ? p : 0.0f) * weight[i / 2];
      }
    }
  }

  SPION_UNROLL
  for (int n = 0; n < kMapTile / 8; ++n) SPION_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row = query + i / 2 * 8;
    const int column = first_key + 8 * n + prim::lane_index() % 4 * 2 + i % 2;
    if (row < args.length && column < args.length)
      args.map[static_cast<int64_t>(row) * args.length + column] = sums[n][i];
  }
}

template <class Math, int D>
const char* launch_attention_map_of_width(const AttentionMapArgs& args, prim::Stream stream) {
  const auto tiles = static_cast<unsigned>((args.length + kMapTile - 1) / kMapTile);
  const auto batch_heads = static_cast<unsigned>(args.batch * args.heads);
  if (const char* error =
          prim::launch<attention_map_stats_kernel<Math, D>, map_stats_shared_bytes<Math, D>()>(
              {tiles, batch_heads}, kMapThreads, stream, args))
    return error;
  return prim::launch<attention_map_kernel<Math, D>, map_shared_bytes<Math, D>()>(
      {tiles, tiles}, kMapThreads, stream, args);
}

template <class Math>
const char* launch_attention_map(const AttentionMapArgs& args, prim::Stream stream) {
  if (args.width <= 32) return launch_attention_map_of_width<Math, 32>(args, stream);
  if (args.width <= 64) return launch_attention_map_of_width<Math, 64>(args, stream);
  return launch_attention_map_of_width<Math, 128>(args, stream);
}

}  // namespace spion_bench::cuda

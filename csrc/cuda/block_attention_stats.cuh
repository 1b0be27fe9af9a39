// First launch of the backward pass: what the other launch needs per query row and per score.
//
//   row_stats[row] = (lse * log2 e, sum_d dout * out - dlse)
//   keep_bits      the dropout mask of every kept block, one bit per score (if there is dropout)
//
// Mapping: one thread block per block row of one (batch, head). A row's 16-byte chunks lie on
// neighbouring lanes, which add up by shuffles; dropout words go to single threads, four Philox
// calls each. Drawing the bits again here instead of storing them in the forward pass keeps them
// out of the memory held between the passes; this launch only waits for memory otherwise.
// Grid: x = block rows, y = b * H + h. No shared memory.
// Cost: reads dout and out once, writes 8 bytes per row and E / 8 bytes for E kept scores.
// Test: tests/emulation.
#pragma once

#include "block_attention_lists.cuh"
#include "common/element.cuh"
#include "common/philox.cuh"

namespace spion_bench::cuda {

constexpr int kStatsThreads = 128;

template <class Math>
SPION_DEVICE float dot_of_chunks(const prim::Bits128& a, const prim::Bits128& b) {
  float sum = 0.0f;
  SPION_UNROLL
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(typename Math::Stored) == 4) {
      sum += prim::as_float(a.x[i]) * prim::as_float(b.x[i]);
    } else {
      sum +=
          Math::widen(static_cast<uint16_t>(a.x[i])) * Math::widen(static_cast<uint16_t>(b.x[i]));
      sum += Math::widen(static_cast<uint16_t>(a.x[i] >> 16)) *
             Math::widen(static_cast<uint16_t>(b.x[i] >> 16));
    }
  }
  return sum;
}

SPION_DEVICE void write_keep_bits(const BlockAttentionArgs& args, int block_row,
                                  const Head<true>& head) {
  const int n_words = keep_words(args.block_size), bytes = args.block_size < 32 ? 2 : 4;
  const auto [begin, end] = entries_of_row(args, head, block_row);
  const int per_tile = args.block_size * n_words;
  for (int i = prim::thread_index(); i < (end - begin) * per_tile; i += kStatsThreads) {
    const int tile = begin + i / per_tile, row = i % per_tile / n_words, word = i % n_words;
    const int first_key = (prim::load_constant(args.col + tile) << args.block_log2) + 32 * word;
    uint32_t bits = 0;
    for (int byte = 0; byte < bytes; ++byte)
      bits |= keep_byte(args.dropout, (block_row << args.block_log2) + row, first_key / 8 + byte,
                        head.batch_head)
              << 8 * byte;
    args.keep_bits[(static_cast<int64_t>(head.kept) * args.nnzb + begin) * per_tile + i] = bits;
  }
}

template <class Math, int D>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kStatsThreads, 8)
    block_attention_stats_kernel(SPION_KERNEL_ARGUMENT BlockAttentionArgs args) {
  using T = typename Math::Stored;
  constexpr int kPerChunk = 16 / static_cast<int>(sizeof(T)), kLanes = D / kPerChunk;
  constexpr int kRowsAtOnce = kStatsThreads / kLanes;
  const Head<true> head(args, prim::block_y());
  const int chunk = prim::thread_index() % kLanes * kPerChunk;
  for (int first = 0; first < args.block_size; first += kRowsAtOnce) {
    const int within = first + prim::thread_index() / kLanes;
    const int row = (prim::block_x() << args.block_log2) + within;
    float sum = 0.0f;
    if (within < args.block_size && chunk < args.width)
      sum = dot_of_chunks<Math>(
          prim::load_128(row_of<const T>(args.dout, head.b, head.h, row) + chunk),
          prim::load_128(row_of<const T>(args.out, head.b, head.h, row) + chunk));
    SPION_UNROLL
    for (int mask = kLanes / 2; mask > 0; mask /= 2) sum += prim::shuffle_xor(sum, mask);
    if (within < args.block_size && chunk == 0) {
      const int64_t index = static_cast<int64_t>(head.batch_head) * args.length + row;
      if (args.dlse != nullptr) sum -= args.dlse[index];
      *reinterpret_cast<prim::Bits64*>(args.row_stats + 2 * index) = {
          {prim::as_bits(args.lse[index] * kLog2E), prim::as_bits(sum)}};
    }
  }
  if (args.dropout.threshold > 0) write_keep_bits(args, prim::block_x(), head);
}

}  // namespace spion_bench::cuda

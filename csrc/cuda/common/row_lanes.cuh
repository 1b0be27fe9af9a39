// How the pipeline's row-wise kernels (softmax, dropout) cut a score row: eight keys to a lane.
//
// S / 8 lanes share a query row and a warp takes 256 / S neighbouring rows of one block row, so
// that a warp reads 512 or 1024 contiguous bytes of a tile, 16 at a time, and one call of Philox
// decides over a lane's keys.
#pragma once

#include "args.h"
#include "element.cuh"

namespace spion_bench::cuda {

constexpr int kRowThreads = 128;
constexpr int kLaneKeys = 8;

template <int kBlock>
struct RowLanes {
  static constexpr int kLanes = kBlock / kLaneKeys;
  static constexpr int kRows = prim::kWarp / kLanes;  // rows of a warp; a block row has whole warps
  static constexpr int kRowsOfBlock = kRows * (kRowThreads / prim::kWarp);
  static constexpr int kTile = kBlock * kBlock;

  int batch_head, query, group;  // group: keys 8 * group .. of every tile
  int begin, end;                // entries of the list
  int64_t first;                 // this lane's first value of tile `begin`, in elements
  bool exists;                   // false for all lanes of warps beyond the last row

  SPION_DEVICE explicit RowLanes(const BlockList& blocks) {
    const int lane = prim::lane_index();
    batch_head = prim::block_y();
    query = prim::block_x() * kRowsOfBlock + prim::warp_index() * kRows + lane / kLanes;
    group = lane % kLanes;
    exists = query < blocks.length;
    if (!exists) return;
    const int32_t* row = blocks.begin + query / kBlock;
    begin = prim::load_constant(row);
    end = prim::load_constant(row + 1);
    first = blocks.tile_offset(batch_head, begin) + query % kBlock * kBlock + kLaneKeys * group;
  }

  // The sum and the maximum over a row, the same in all of its lanes.
  SPION_DEVICE static float sum(float x) {
    SPION_UNROLL
    for (int mask = 1; mask < kLanes; mask *= 2) x += prim::shuffle_xor(x, mask);
    return x;
  }
  SPION_DEVICE static float highest(float x) {
    SPION_UNROLL
    for (int mask = 1; mask < kLanes; mask *= 2) x = prim::max(x, prim::shuffle_xor(x, mask));
    return x;
  }
};

template <class Math>
SPION_DEVICE void load_keys_of_lane(float (&x)[kLaneKeys], const typename Math::Stored* from) {
  constexpr int kPerLoad = 16 / static_cast<int>(sizeof(typename Math::Stored));
  SPION_UNROLL
  for (int i = 0; i < kLaneKeys; i += kPerLoad) {
    const prim::Bits128 bits = prim::load_128(from + i);
    SPION_UNROLL
    for (int j = 0; j < kPerLoad; ++j) {
      if constexpr (kPerLoad == kLaneKeys)
        x[j] = Math::widen(static_cast<uint16_t>(bits.x[j / 2] >> 16 * (j % 2)));
      else
        x[i + j] = prim::as_float(bits.x[j]);
    }
  }
}

template <class Math>
SPION_DEVICE void store_keys_of_lane(typename Math::Stored* to, const float (&x)[kLaneKeys]) {
  constexpr int kPerStore = 16 / static_cast<int>(sizeof(typename Math::Stored));
  SPION_UNROLL
  for (int i = 0; i < kLaneKeys; i += kPerStore) {
    prim::Bits128 bits;
    SPION_UNROLL
    for (int j = 0; j < 4; ++j) {
      if constexpr (kPerStore == kLaneKeys)
        bits.x[j] = Math::pack(x[2 * j], x[2 * j + 1]);
      else
        bits.x[j] = prim::as_bits(x[i + j]);
    }
    prim::store_128(to + i, bits);
  }
}

}  // namespace spion_bench::cuda

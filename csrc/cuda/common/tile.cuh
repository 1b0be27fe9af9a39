// Tiles of q, k, v and their gradients in shared memory, and how they get there and back.
//
// Layout: rows of kRowBytes bytes in chunks of 16. Chunk c of row r lies at c ^ (r / 2 % 4) for
// rows of 64 bytes and at c ^ (r % 8) for longer ones, so that eight rows of one logical chunk
// (one phase of ldmatrix) lie in eight different groups of banks.
// Test: tests/emulation (bank conflicts are counted there).
#pragma once

#include "args.h"
#include "prim.cuh"

namespace spion_bench::cuda {

template <int kRowBytes>
struct Tile {
  static_assert(kRowBytes >= 64 && kRowBytes % 64 == 0);
  static constexpr int kChunks = kRowBytes / 16;
  prim::SharedAddress base;
  // What the lane adds to the addresses below; a loop may pass what it computed once.
  unsigned left_lane = lane_offset(prim::lane_index() % 16, prim::lane_index() / 16);
  unsigned right_lane =
      lane_offset(prim::lane_index() % 8 + prim::lane_index() / 16 * 8, prim::lane_index() / 8 % 2);

  SPION_DEVICE static unsigned swizzle(unsigned row) {
    return kRowBytes == 64 ? row / 2 % 4 : row % 8;
  }
  SPION_DEVICE prim::SharedAddress address(unsigned row, unsigned chunk) const {
    return base + row * kRowBytes + (chunk ^ swizzle(row)) * 16;
  }
  // Of results on their way out, which a warp stores in accumulator layout: one chunk of eight rows
  // at a time or, 8 bytes a lane, two chunks of four rows. Those of odd rows lie further apart.
  SPION_DEVICE prim::SharedAddress staged_address(unsigned row, unsigned chunk) const {
    const unsigned swizzled = kRowBytes == 64 ? swizzle(row) : row % 4 * 2 + row / 4 % 2;
    return base + row * kRowBytes + (chunk ^ swizzled) * 16;
  }
  // The row that this lane names to ldmatrix, for a first row that is a multiple of 8 and an even
  // first chunk. What depends on the lane is the same for all of them but for one XOR.
  // Left operands, and right ones with .trans: 16 rows, two chunks; matrices run down the rows
  // first.
  SPION_DEVICE prim::SharedAddress left_address(int first_row, int chunk) const {
    return lane_address(left_lane, first_row, chunk);
  }
  // Right operands: matrices run along the two chunks first.
  SPION_DEVICE prim::SharedAddress right_address(int first_row, int chunk) const {
    return lane_address(right_lane, first_row, chunk);
  }

 private:
  SPION_DEVICE static unsigned lane_offset(unsigned row, unsigned lane_chunk) {
    return row * kRowBytes + (lane_chunk ^ swizzle(row)) * 16;
  }
  SPION_DEVICE prim::SharedAddress lane_address(unsigned lane, int first_row, int chunk) const {
    return base + first_row * kRowBytes + chunk / 8 * 128 + (lane ^ chunk % 8 * 16);
  }
};

// The first element of row `row` of one (batch, head). Without signs, products with strides take
// fewer instructions.
template <typename T>
SPION_DEVICE T* row_of(const HeadsView& view, unsigned b, unsigned h, unsigned row) {
  return static_cast<T*>(view.data) + b * view.batch_stride + h * view.head_stride +
         row * view.row_stride;
}

// One thread's share of the copies that fill tiles with kRows rows of `width` values of a head;
// columns beyond become 0. A thread keeps to one column of chunks, and all that the rows do not
// change is computed once.
template <int kRows, int kThreads, typename T, int kRowBytes>
class TileCopies {
 public:
  SPION_DEVICE TileCopies(const T* head, int64_t row_stride, int width) : row_stride_(row_stride) {
    inside_ = static_cast<int>(chunk()) * kPerChunk < width;
    from_ = reinterpret_cast<const unsigned char*>(head + static_cast<int>(row()) * row_stride +
                                                   (inside_ ? chunk() * kPerChunk : 0));
    to_ = Tile<kRowBytes>{0}.address(row(), chunk());
  }
  // To be called before a loop; see prim::keep.
  SPION_DEVICE void keep() {
    from_ = prim::keep(from_);
    to_ = prim::keep(to_);
  }
  SPION_DEVICE void start(Tile<kRowBytes> tile, int first_row) const {
    const unsigned char* from =
        from_ + static_cast<uint64_t>(static_cast<uint32_t>(first_row * sizeof(T))) * row_stride_;
    SPION_UNROLL
    for (int i = 0; i < kRows; i += kRowsAtOnce) {
      // row() and i have no bit in common, so their swizzles have none either.
      const prim::SharedAddress to =
          tile.base + (to_ ^ Tile<kRowBytes>::swizzle(i) * 16) + i * kRowBytes;
      prim::cp_async_16(to, from, inside_);
      from += kRowsAtOnce * sizeof(T) * row_stride_;
    }
  }

 private:
  static constexpr int kChunks = Tile<kRowBytes>::kChunks, kRowsAtOnce = kThreads / kChunks;
  static constexpr int kPerChunk = 16 / static_cast<int>(sizeof(T));
  static_assert(kThreads % kChunks == 0 && kRows % kRowsAtOnce == 0);
  SPION_DEVICE static unsigned row() { return prim::thread_index() / kChunks; }
  SPION_DEVICE static unsigned chunk() { return prim::thread_index() % kChunks; }

  const unsigned char* from_;  // this thread's first chunk of a tile that begins at row 0
  int64_t row_stride_;
  prim::SharedAddress to_;  // where it goes in a tile
  bool inside_;
};

// Fills one tile from row pointer `from` on.
template <int kRows, int kThreads, int kRowBytes, typename T>
SPION_DEVICE void load_tile(Tile<kRowBytes> tile, const T* from, int64_t row_stride, int width) {
  TileCopies<kRows, kThreads, T, kRowBytes>(from, row_stride, width).start(tile, 0);
}

// Writes `factor * c` of a warp's 16 rows, [16][D] in accumulator layout, to global rows. The way
// leads through the warp's own rows of a tile, so that stores are 16 bytes wide.
template <class Math, int D, typename T>
SPION_DEVICE void store_rows(const float (&c)[D / 8][4], const float (&factor)[2],
                             Tile<D* static_cast<int>(sizeof(T))> tile, int first_row, T* to,
                             int64_t row_stride, int width) {
  constexpr int kChunks = D * static_cast<int>(sizeof(T)) / 16;
  constexpr int kPerChunk = 16 / static_cast<int>(sizeof(T));
  const unsigned lane = prim::lane_index(), g = lane / 4;
  prim::sync_warp();  // the tile's own rows may just have been read as operands
  SPION_UNROLL
  for (int n = 0; n < D / 8; ++n) {
    Math::template store_pair<D>(tile, first_row + g, n, c[n][0] * factor[0], c[n][1] * factor[0]);
    Math::template store_pair<D>(tile, first_row + g + 8, n, c[n][2] * factor[1],
                                 c[n][3] * factor[1]);
  }
  prim::sync_warp();
  // A lane keeps to one column of chunks.
  constexpr int kRowsAtOnce = prim::kWarp / kChunks;
  static_assert(prim::kWarp % kChunks == 0);
  const unsigned chunk = lane % kChunks;
  to += lane / kChunks * row_stride + chunk * kPerChunk;
  if (static_cast<int>(chunk) * kPerChunk >= width) return;
  SPION_UNROLL
  for (unsigned row = lane / kChunks; row < 16; row += kRowsAtOnce, to += kRowsAtOnce * row_stride)
    prim::store_128(to, prim::load_shared_128(tile.staged_address(first_row + row, chunk)));
}

// Padding of kCols keys from `first_key`, one bit each, set = real; every lane of the warp calls.
template <int kCols>
struct KeyWords {
  static constexpr int kWords = (kCols + 31) / 32;
  uint32_t word[kWords];

  SPION_DEVICE void read(const bool* mask, int first_key) {
    SPION_UNROLL
    for (int w = 0; w < kWords; ++w) {
      const int key = 32 * w + prim::lane_index();
      word[w] = prim::ballot(key >= kCols || mask[first_key + key]);
    }
  }
  SPION_DEVICE bool all_real() const {
    uint32_t all = ~0u;
    SPION_UNROLL
    for (int w = 0; w < kWords; ++w) all &= word[w];
    return all == ~0u;
  }
  SPION_DEVICE bool is_real(int key) const { return word[key / 32] >> key % 32 & 1u; }
};

}  // namespace spion_bench::cuda

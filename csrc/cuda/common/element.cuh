// How the kernels multiply: one policy per number format.
//
//   F16, BF16   16-bit values, m16n8k16, float32 sums
//   TF32        float32 values rounded to tf32 (10 bits of fraction), m16n8k8
//   TF32x3      float32 values as the sum of two tf32 values; of the four products the smallest is
//               left out: close to float32 (about 2^-21) at three times the work. Left operands are
//               rounded, so what is left out has no preferred sign, and right ones cut off,
//               which takes one instruction less. An infinite input gives NaN, as infinity minus
//               infinity is the rest that it leaves
//
// A "step" is 32 bytes of a row: 16 values of 16 bits or 8 of float32, so that tiles and ldmatrix
// addresses are the same for all. Products with a row-major right side (P V) take it through
// ldmatrix.trans; float32, which ldmatrix cannot transpose, takes rows 2t and 2t+1 by plain loads:
// the order of a sum is free, and with that order an accumulator is the left operand as it stands.
#pragma once

#include "formats.h"
#include "prim.cuh"
#include "tile.cuh"

namespace spion_bench::cuda {

constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLn2 = 0.693147180559945309f;
constexpr float kInfinity = __builtin_huge_valf();

template <bool kIsBFloat16>
struct Half {
  using Stored = uint16_t;
  static constexpr int kStep = 16;
  static constexpr uint32_t kSigns = 0x80008000u;  // of the values in 32 bits
  struct A {
    uint32_t r[4];
  };
  struct B {
    uint32_t r[2];
  };

  SPION_DEVICE static A left(const uint32_t (&r)[4]) { return {{r[0], r[1], r[2], r[3]}}; }

  SPION_DEVICE static uint32_t pack(float low, float high) {
    return kIsBFloat16 ? prim::pack_bf16(low, high) : prim::pack_f16(low, high);
  }
  SPION_DEVICE static float widen(uint16_t x) {
    return kIsBFloat16 ? prim::widen_bf16(x) : prim::widen_f16(x);
  }

  SPION_DEVICE static B right(uint32_t b0, uint32_t b1) { return {{b0, b1}}; }
  SPION_DEVICE static void multiply(float (&c)[4], const A& a, const B& b) {
    if constexpr (kIsBFloat16)
      prim::mma_bf16(c, a.r, b.r);
    else
      prim::mma_f16(c, a.r, b.r);
  }

  // c[m][16][D] += p[m][16][kCols] tile[kCols][D] for each of kTiles; `p` in accumulator layout.
  template <int kCols, int D, int kTiles = 1>
  SPION_DEVICE static void multiply_rows(float (*c)[D / 8][4], const float (*p)[kCols / 8][4],
                                         Tile<D * 2> tile, int first_row) {
    SPION_UNROLL
    for (int k = 0; k < kCols / 16; ++k) {
      A a[kTiles];
      SPION_UNROLL
      for (int m = 0; m < kTiles; ++m) {
        const float (&even)[4] = p[m][2 * k];
        const float (&odd)[4] = p[m][2 * k + 1];
        a[m] = {{pack(even[0], even[1]), pack(even[2], even[3]), pack(odd[0], odd[1]),
                 pack(odd[2], odd[3])}};
      }
      SPION_UNROLL
      for (int n = 0; n < D / 8; n += 2) {
        uint32_t b[4];
        prim::ldmatrix_x4_trans(b, tile.left_address(first_row + 16 * k, n));
        SPION_UNROLL
        for (int m = 0; m < kTiles; ++m) {
          multiply(c[m][n], a[m], right(b[0], b[1]));
          multiply(c[m][n + 1], a[m], right(b[2], b[3]));
        }
      }
    }
  }

  SPION_DEVICE static void store_global_pair(uint16_t* to, float low, float high) {
    *reinterpret_cast<uint32_t*>(to) = pack(low, high);
  }

  // Two neighbouring results of column group n (8 columns), columns 2t and 2t + 1, into a tile.
  template <int D>
  SPION_DEVICE static void store_pair(Tile<D * 2> tile, int row, int n, float low, float high) {
    prim::store_shared(tile.staged_address(row, n) + prim::lane_index() % 4 * 4, pack(low, high));
  }
};

template <bool kIsSplit>
struct Single {
  using Stored = float;
  static constexpr int kStep = 8;
  static constexpr uint32_t kSigns = 0x80000000u;
  struct A {
    uint32_t high[4];
    uint32_t low[kIsSplit ? 4 : 1];
  };
  struct B {
    uint32_t high[2];
    uint32_t low[kIsSplit ? 2 : 1];
  };

  SPION_DEVICE static A left(const uint32_t (&r)[4]) {
    A a;
    SPION_UNROLL
    for (int i = 0; i < 4; ++i) {
      a.high[i] = high_of(r[i]);
      if constexpr (kIsSplit) a.low[i] = rest_of(r[i], a.high[i]);
    }
    return a;
  }

  SPION_DEVICE static float widen(float x) { return x; }

  SPION_DEVICE static B right(uint32_t b0, uint32_t b1) {
    if constexpr (kIsSplit)
      return {{b0, b1}, {rest_of(b0, b0 & kTF32Bits), rest_of(b1, b1 & kTF32Bits)}};
    return {{high_of(b0), high_of(b1)}, {}};
  }
  SPION_DEVICE static void multiply(float (&c)[4], const A& a, const B& b) {
    if constexpr (kIsSplit) {
      prim::mma_tf32(c, a.high, b.low);
      prim::mma_tf32(c, a.low, b.high);
    }
    prim::mma_tf32(c, a.high, b.high);
  }

  template <int kCols, int D, int kTiles = 1>
  SPION_DEVICE static void multiply_rows(float (*c)[D / 8][4], const float (*p)[kCols / 8][4],
                                         Tile<D * 4> tile, int first_row) {
    const unsigned lane = prim::lane_index(), g = lane / 4, t = lane % 4;
    SPION_UNROLL
    for (int k = 0; k < kCols / 8; ++k) {
      A a[kTiles];
      SPION_UNROLL
      for (int m = 0; m < kTiles; ++m) {
        const float (&x)[4] = p[m][k];
        const uint32_t r[4] = {prim::as_bits(x[0]), prim::as_bits(x[2]), prim::as_bits(x[1]),
                               prim::as_bits(x[3])};
        a[m] = left(r);
      }
      const int row = first_row + 8 * k + 2 * t;
      SPION_UNROLL
      for (int n = 0; n < D / 8; ++n) {
        const int chunk = 2 * n + g / 4, within = g % 4 * 4;
        const B b = right(prim::load_shared(tile.address(row, chunk) + within),
                          prim::load_shared(tile.address(row + 1, chunk) + within));
        SPION_UNROLL
        for (int m = 0; m < kTiles; ++m) multiply(c[m][n], a[m], b);
      }
    }
  }

  SPION_DEVICE static void store_global_pair(float* to, float low, float high) {
    *reinterpret_cast<prim::Bits64*>(to) = {{prim::as_bits(low), prim::as_bits(high)}};
  }

  template <int D>
  SPION_DEVICE static void store_pair(Tile<D * 4> tile, int row, int n, float low, float high) {
    const int t = prim::lane_index() % 4;
    prim::store_shared_64(tile.staged_address(row, 2 * n + t / 2) + t % 2 * 8,
                          {{prim::as_bits(low), prim::as_bits(high)}});
  }

 private:
  static constexpr uint32_t kTF32Bits = ~0x1FFFu;  // those of a float that tf32 has

  // prim::round_tf32 takes care of infinity and NaN, for four instructions more a value. Of a split
  // value the rest does: it is NaN for them. Neither the rest nor a right operand loses its last
  // bits here, as tensor cores ignore those that tf32 lacks.
  SPION_DEVICE static uint32_t high_of(uint32_t x) {
    if constexpr (kIsSplit) return (x + 0x1000u) & kTF32Bits;
    return prim::round_tf32(prim::as_float(x));
  }
  SPION_DEVICE static uint32_t rest_of(uint32_t x, uint32_t high) {
    return prim::as_bits(prim::as_float(x) - prim::as_float(high));
  }
};

// The left operand of 16 rows and all of D, read where it is used or kept in registers.
template <class Math, int D, bool kIsResident>
struct LeftRows {
  static constexpr int kSteps = D / Math::kStep;
  using Rows = Tile<D* static_cast<int>(sizeof(typename Math::Stored))>;
  Rows tile;
  int first_row;
  typename Math::A kept[kIsResident ? kSteps : 1];
  uint32_t sign = 0;  // flips the bits of Math::kSigns where the operand is to be negated

  SPION_DEVICE void read() {
    if constexpr (kIsResident) {
      SPION_UNROLL
      for (int step = 0; step < kSteps; ++step) kept[step] = read_step(step);
    }
  }
  SPION_DEVICE typename Math::A read_step(int step) const {
    uint32_t r[4];
    prim::ldmatrix_x4(r, tile.left_address(first_row, 2 * step));
    SPION_UNROLL
    for (int i = 0; i < 4; ++i) r[i] ^= sign;
    return Math::left(r);
  }
  SPION_DEVICE typename Math::A step(int step) const {
    if constexpr (kIsResident)
      return kept[step];
    else
      return read_step(step);
  }
};

// c[m][16][kCols] += left[m][16][D] right[kCols][D]^T for each of kTiles, the right rows beginning
// at `first_row`.
template <int kCols, int kTiles = 1, class Math, int D, bool kIsResident, class Rows>
SPION_DEVICE void multiply_transposed(float (*c)[kCols / 8][4],
                                      const LeftRows<Math, D, kIsResident>* left, Rows right,
                                      int first_row) {
  const auto multiply_step = [&](int step) {
    typename Math::A a[kTiles];
    SPION_UNROLL
    for (int m = 0; m < kTiles; ++m) a[m] = left[m].step(step);
    SPION_UNROLL
    for (int n = 0; n < kCols / 8; n += 2) {
      uint32_t b[4];
      prim::ldmatrix_x4(b, right.right_address(first_row + 8 * n, 2 * step));
      const auto even = Math::right(b[0], b[1]), odd = Math::right(b[2], b[3]);
      SPION_UNROLL
      for (int m = 0; m < kTiles; ++m) {
        Math::multiply(c[m][n], a[m], even);
        Math::multiply(c[m][n + 1], a[m], odd);
      }
    }
  };
  if constexpr (kIsResident) {
    SPION_UNROLL
    for (int step = 0; step < D / Math::kStep; ++step) multiply_step(step);
  } else {  // fully unrolled, the compiler reads too many left operands ahead and spills
    SPION_UNROLL_4
    for (int step = 0; step < D / Math::kStep; ++step) multiply_step(step);
  }
}

// Key rows per step: half as many where float32 tiles of 128 columns would not fit.
template <class Math, int D, int kRows>
constexpr int kStepKeys = D * sizeof(typename Math::Stored) > 256 && kRows > 32 ? 32 : kRows;

// Left operands stay in registers unless they are too many.
template <class Math, int D>
constexpr bool kIsResident = sizeof(typename Math::A) * (D / Math::kStep) <= 128;

}  // namespace spion_bench::cuda

// Warp collectives of the emulator: shuffles, votes, ldmatrix and mma; see emulator.h.
//
// The last lane to arrive reads every lane's operands where they lie, on the lanes' stacks. Sums of
// an mma are float32, in the order of k; a GPU rounds differently inside a group of k, so results
// are compared with tolerances and never bit by bit.
#include <bit>

#include "block.h"

namespace spion_bench::emu {
namespace {

using Row = float __attribute__((vector_size(32)));  // the 8 columns of an mma's result

template <typename Operand>
const Operand& operand_of(const Warp& warp, int lane) {
  return *static_cast<const Operand*>(warp.operands[lane]);
}

struct Exchange {
  uint32_t x, result;
  int mask;
};

struct Vote {
  bool vote;
  uint32_t result;
};

struct MatrixLoad {
  uint32_t* r;
  uint32_t row;
};

struct Product {
  float* c;
  const uint32_t* a;
  const uint32_t* b;
};

// The matrices of one mma as stored: half formats have 16 columns of A and 16 rows of B, tf32
// has 8.
struct Operands {
  union {
    uint16_t a16[16][16];
    uint32_t a32[16][8];  // tf32, or pairs of a16
  };
  union {
    uint16_t b16[16][8];
    uint32_t b32[8][8];
  };
  float c[16][8];
};

// Compiled for AVX2 too, which the running CPU chooses: most of the emulator's time is spent here.
#define SPION_EMU_CLONES __attribute__((target_clones("arch=haswell", "default"), optimize("O3")))

SPION_EMU_CLONES void multiply(Operands& x, Format format) {
  float a[16][16];
  Row b[16];
  const int n_k = format == Format::kTF32 ? 8 : 16;
  for (int i = 0; i < 16 * n_k; ++i) {
    float& to = (&a[0][0])[i];
    if (format == Format::kTF32)
      to = as_float((&x.a32[0][0])[i] & ~0x1FFFu);  // the hardware ignores the bits tf32 lacks
    else if (format == Format::kBF16)
      to = as_float(static_cast<uint32_t>((&x.a16[0][0])[i]) << 16);
    else
      to = widen_f16((&x.a16[0][0])[i]);
  }
  for (int i = 0; i < 8 * n_k; ++i) {
    float& to = reinterpret_cast<float*>(b)[i];
    if (format == Format::kTF32)
      to = as_float((&x.b32[0][0])[i] & ~0x1FFFu);
    else if (format == Format::kBF16)
      to = as_float(static_cast<uint32_t>((&x.b16[0][0])[i]) << 16);
    else
      to = widen_f16((&x.b16[0][0])[i]);
  }
  for (int row = 0; row < 16; row += 4) {
    Row sums[4];
    std::memcpy(sums, x.c[row], sizeof(sums));
    const float* left = &a[0][0] + row * n_k;
    for (int k = 0; k < n_k; ++k)
      for (int i = 0; i < 4; ++i) sums[i] += left[i * n_k + k] * b[k];
    std::memcpy(x.c[row], sums, sizeof(sums));
  }
}

// Every lane's fragments go where the layouts in ../cuda/common/prim.cuh say.
template <bool kIsHalf>
void gather(const Warp& warp, Operands& x) {
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const Product& own = operand_of<Product>(warp, lane);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) x.a32[g + i % 2 * 8][t + i / 2 * 4] = own.a[i];
    for (int i = 0; i < 2; ++i) {
      if constexpr (kIsHalf) {
        x.b16[2 * t + i * 8][g] = static_cast<uint16_t>(own.b[i]);
        x.b16[2 * t + i * 8 + 1][g] = static_cast<uint16_t>(own.b[i] >> 16);
      } else {
        x.b32[t + i * 4][g] = own.b[i];
      }
    }
    std::memcpy(&x.c[g][2 * t], own.c, 8);
    std::memcpy(&x.c[g + 8][2 * t], own.c + 2, 8);
  }
}

}  // namespace

template <Format kFormat>
void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site) {
  const Product own{c, a, b};
  if (!meet(site, "mma", &own)) return;
  Warp& warp = *current->warp;
  Operands operands;
  gather<kFormat != Format::kTF32>(warp, operands);
  multiply(operands, kFormat);
  for (int lane = 0; lane < kWarpSize; ++lane) {
    float* own_c = operand_of<Product>(warp, lane).c;
    const int g = lane / 4, t = lane % 4;
    std::memcpy(own_c, &operands.c[g][2 * t], 8);
    std::memcpy(own_c + 2, &operands.c[g + 8][2 * t], 8);
  }
  ++Block::running->statistics.mma;
}
template void mma<Format::kF16>(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2], Site);
template void mma<Format::kBF16>(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2], Site);
template void mma<Format::kTF32>(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2], Site);

uint32_t shuffle_xor(uint32_t x, int mask, Site site) {
  Exchange own{x, 0, mask};
  if (meet(site, "shuffle_xor", &own)) {
    Warp& warp = *current->warp;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      Exchange& to = const_cast<Exchange&>(operand_of<Exchange>(warp, lane));
      if (to.mask != mask || mask < 0 || mask >= kWarpSize)
        fail(site, "shuffle_xor: lane %d has mask %d, lane %d has %d", lane, to.mask, current->lane,
             mask);
      to.result = operand_of<Exchange>(warp, lane ^ mask).x;
    }
  }
  return own.result;
}

uint32_t ballot(bool vote, Site site) {
  Vote own{vote, 0};
  if (meet(site, "ballot", &own)) {
    Warp& warp = *current->warp;
    uint32_t result = 0;
    for (int lane = 0; lane < kWarpSize; ++lane)
      result |= static_cast<uint32_t>(operand_of<Vote>(warp, lane).vote) << lane;
    for (int lane = 0; lane < kWarpSize; ++lane)
      const_cast<Vote&>(operand_of<Vote>(warp, lane)).result = result;
  }
  return own.result;
}

// Lane 8 m + i holds the address of row i of matrix m; each row has 8 values of 16 bits.
void ldmatrix_x4(uint32_t (&r)[4], uint32_t row, bool transposed, Site site) {
  const MatrixLoad own{r, row};
  if (!meet(site, transposed ? "ldmatrix.trans" : "ldmatrix", &own)) return;
  Block& block = *Block::running;
  Warp& warp = *current->warp;
  for (int m = 0; m < 4; ++m) {
    uint16_t values[8][8];
    unsigned banks = 0;
    for (int i = 0; i < 8; ++i) {
      const uint32_t address = operand_of<MatrixLoad>(warp, 8 * m + i).row;
      std::memcpy(values[i],
                  block.shared.access(address, 16, false, {warp.index, kWholeWarp}, warp, site),
                  16);
      banks |= 1u << (address / 16 % 8);
    }
    block.statistics.bank_conflicts += 8 - std::popcount(banks);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const uint32_t low = transposed ? values[2 * t][g] : values[g][2 * t];
      const uint32_t high = transposed ? values[2 * t + 1][g] : values[g][2 * t + 1];
      operand_of<MatrixLoad>(warp, lane).r[m] = low | high << 16;
    }
  }
  ++block.statistics.ldmatrix;
}

}  // namespace spion_bench::emu

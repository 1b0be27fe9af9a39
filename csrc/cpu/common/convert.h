// 16-bit floats to and from float32, exactly as IEEE 754 says: widening is exact, narrowing rounds
// to nearest even, infinities, NaN and denormals included. Integer arithmetic on the compiler's
// vectors, so that every instruction set gives the same bits.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace spion_bench::cpu::SPION_ISA {

template <int W>
using Bits = Vec<uint32_t, W>;
template <int W>
using Half = Vec<uint16_t, W>;

template <int W>
inline Vec<float, W> widen(Half<W> half, BFloat16) {
  return (Vec<float, W>)(__builtin_convertvector(half, Bits<W>) << 16);
}

template <int W>
inline Half<W> narrow(Vec<float, W> value, BFloat16) {
  const Bits<W> bits = (Bits<W>)value;
  const Bits<W> rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  const Bits<W> nan = (bits >> 16) | 0x40u;  // keep a NaN a NaN: rounding could make it infinite
  return __builtin_convertvector((bits & 0x7FFFFFFFu) > 0x7F800000u ? nan : rounded, Half<W>);
}

template <int W>
inline Vec<float, W> widen(Half<W> half, Float16) {
  const Bits<W> h = __builtin_convertvector(half, Bits<W>);
  // Exponent and mantissa at float32's place; the product with 2^112 moves the bias from 15 to 127
  // and normalises denormals. Infinity and NaN then only lack their exponent.
  const Vec<float, W> scaled = (Vec<float, W>)((h & 0x7FFFu) << 13) * 0x1p112f;
  const Bits<W> magnitude = (Bits<W>)scaled;
  const Bits<W> special = magnitude | 0x7F800000u;
  const Bits<W> bits = (h & 0x7C00u) == 0x7C00u ? special : magnitude;
  return (Vec<float, W>)(bits | ((h & 0x8000u) << 16));
}

template <int W>
inline Half<W> narrow(Vec<float, W> value, Float16) {
  const Bits<W> bits = (Bits<W>)value;
  const Bits<W> magnitude = bits & 0x7FFFFFFFu;
  // Normal results: the bias moves from 127 to 15, then 13 bits are rounded away.
  const Bits<W> normal = (magnitude - (112u << 23) + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13;
  // Denormal results: the sum with 1/2 lines the mantissa up with float16's and rounds it.
  const Bits<W> half_bits = Bits<W>{} + 0x3F000000u;
  const Bits<W> denormal =
      (Bits<W>)((Vec<float, W>)magnitude + (Vec<float, W>)half_bits) - half_bits;
  const Bits<W> infinity = Bits<W>{} + 0x7C00u;
  const Bits<W> nan = Bits<W>{} + 0x7E00u;
  Bits<W> result = magnitude < (113u << 23) ? denormal : normal;
  result = magnitude >= 0x477FF000u ? infinity : result;  // 65520 and more
  result = magnitude > 0x7F800000u ? nan : result;
  return __builtin_convertvector(result | ((bits >> 16) & 0x8000u), Half<W>);
}

// `count` elements; a multiple of 16, as head widths are.
template <typename E, int W>
void widen_all(const E* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; i += W)
    store<float, W>(to + i, widen<W>(load<uint16_t, W>(&from[i].bits), E{}));
}

template <typename E, int W>
void narrow_all(const float* from, E* to, int64_t count) {
  for (int64_t i = 0; i < count; i += W)
    store<uint16_t, W>(&to[i].bits, narrow<W>(load<float, W>(from + i), E{}));
}

}  // namespace spion_bench::cpu::SPION_ISA

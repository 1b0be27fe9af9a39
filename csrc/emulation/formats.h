// Number formats of the tensor cores in plain C++, rounding as the GPU's conversions do.
#pragma once

#include <cstdint>

namespace spion_bench::emu {

inline float as_float(uint32_t x) { return __builtin_bit_cast(float, x); }
inline uint32_t as_bits(float x) { return __builtin_bit_cast(uint32_t, x); }

inline float widen_f16(uint16_t x) {
  const uint32_t sign = static_cast<uint32_t>(x & 0x8000u) << 16;
  const uint32_t rest = static_cast<uint32_t>(x & 0x7FFFu) << 13;
  // The exponent is too small by 112; a product with 2^112 corrects it for denormals too.
  const uint32_t special = rest >= 0x0F800000u ? 0x7F800000u : 0u;  // infinity and NaN
  return as_float(as_bits(as_float(rest) * 0x1p112f) | special | sign);
}

// To nearest, ties to even; too large becomes infinity.
inline uint16_t narrow_f16(float x) {
  const uint32_t bits = as_bits(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7FFFFFFFu;
  uint32_t half;
  if (rest > 0x7F800000u)
    half = 0x7FFFu;
  else if (rest >= 0x477FF000u)
    half = 0x7C00u;
  else if (rest < 0x38800000u)  // denormal: adding 0.5 leaves the rounded multiple of 2^-24
    half = as_bits(as_float(rest) + 0.5f) - 0x3F000000u;
  else
    half = (rest - 0x38000000u + 0xFFFu + (rest >> 13 & 1u)) >> 13;
  return static_cast<uint16_t>(half | sign);
}

inline uint16_t narrow_bf16(float x) {
  const uint32_t bits = as_bits(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFF;
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

// To nearest, ties away from zero, as cvt.rna does; NaN stays NaN.
inline uint32_t round_tf32(float x) {
  const uint32_t bits = as_bits(x);
  if ((bits & 0x7F800000u) == 0x7F800000u) return bits;
  return (bits + 0x1000u) & ~0x1FFFu;
}

// ex2.approx.ftz: denormal inputs and results are 0.
inline float exp2_flushed(float x) {
  const float y = __builtin_exp2f(x);
  return y < 0x1p-126f ? 0.0f : y;
}

}  // namespace spion_bench::emu

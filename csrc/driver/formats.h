// The driver's own view of the element types, in double precision and independent of the kernels':
// bits by the definition of IEEE 754's formats, rounding to nearest, ties to even.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "../cpu/common/kernels.h"

namespace spion_bench::driver {

// `tolerance`: error that a result may have, relative to its largest element; two to four times the
// largest error of any case and instruction set.
template <typename E>
struct Format;
template <>
struct Format<double> {
  static constexpr const char* name = "float64";
  static constexpr double tolerance = 1e-14;
};
template <>
struct Format<float> {
  static constexpr const char* name = "float32";
  static constexpr double tolerance = 5e-6;
};
template <>
struct Format<cpu::BFloat16> {
  static constexpr const char* name = "bfloat16";
  static constexpr double tolerance = 0x1p-6;
  static constexpr int mantissa_bits = 7;
  static constexpr int min_exponent = -126;
};
template <>
struct Format<cpu::Float16> {
  static constexpr const char* name = "float16";
  static constexpr double tolerance = 0x1p-9;
  static constexpr int mantissa_bits = 10;
  static constexpr int min_exponent = -14;
};

template <typename E>
constexpr uint16_t kInfinityBits = 0x7FFF >> Format<E>::mantissa_bits << Format<E>::mantissa_bits;

inline double decode(double x) { return x; }
inline double decode(float x) { return x; }
template <typename E>
double decode(E x) {
  constexpr int kMantissa = Format<E>::mantissa_bits;
  const int magnitude = x.bits & 0x7FFF, field = magnitude >> kMantissa;
  const int mantissa = magnitude & ((1 << kMantissa) - 1);
  double value = std::ldexp(mantissa, Format<E>::min_exponent - kMantissa);
  if (magnitude > kInfinityBits<E>)
    value = std::numeric_limits<double>::quiet_NaN();
  else if (magnitude == kInfinityBits<E>)
    value = std::numeric_limits<double>::infinity();
  else if (field > 0)
    value =
        std::ldexp(mantissa + (1 << kMantissa), Format<E>::min_exponent - kMantissa + field - 1);
  return (x.bits & 0x8000) != 0 ? -value : value;
}

template <typename E>
E encode(double value) {
  if constexpr (requires { Format<E>::mantissa_bits; }) {
    constexpr int kMantissa = Format<E>::mantissa_bits;
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    if (std::isnan(value)) return {0x7FFF};
    if (std::isinf(value)) return {static_cast<uint16_t>(sign | kInfinityBits<E>)};
    const double magnitude = std::abs(value);
    const int exponent = std::max(std::ilogb(magnitude), Format<E>::min_exponent);
    // Steps of the format from 0 on: a carry into the exponent comes out right by itself.
    const double steps = std::nearbyint(std::ldexp(magnitude, kMantissa - exponent)) +
                         std::ldexp(exponent - Format<E>::min_exponent, kMantissa);
    const double bits = std::min<double>(steps, kInfinityBits<E>);
    return {static_cast<uint16_t>(sign | static_cast<uint16_t>(bits))};
  } else {
    return static_cast<E>(value);
  }
}

}  // namespace spion_bench::driver

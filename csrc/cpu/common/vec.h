// SIMD vectors as the compiler's own vector types, and the few functions the kernels need of them.
//
// The kernels are written once over Vec<T, W> and compiled once per instruction set (isa_*.cpp),
// so this header includes no library code that could leak AVX instructions into shared symbols:
// everything is inside SPION_ISA, a namespace of its own per instruction set.
#pragma once

#include <cstdint>

namespace spion_bench::cpu::SPION_ISA {

template <typename T, int W>
struct VecOf {
  typedef T type __attribute__((vector_size(W * sizeof(T))));
  typedef T unaligned __attribute__((vector_size(W * sizeof(T)), aligned(alignof(T)), may_alias));
};
template <typename T, int W>
using Vec = typename VecOf<T, W>::type;

template <typename T>
struct IntOf;
template <>
struct IntOf<float> {
  using type = int32_t;
};
template <>
struct IntOf<double> {
  using type = int64_t;
};

template <typename T, int W>
inline Vec<T, W> load(const T* p) {
  return *reinterpret_cast<const typename VecOf<T, W>::unaligned*>(p);
}

template <typename T, int W>
inline void store(T* p, Vec<T, W> x) {
  *reinterpret_cast<typename VecOf<T, W>::unaligned*>(p) = x;
}

template <typename T, int W>
inline Vec<T, W> splat(T x) {
  return x - Vec<T, W>{};  // x - 0 is x for every x, NaN and -0 included
}

template <typename T, int W>
inline Vec<T, W> max(Vec<T, W> a, Vec<T, W> b) {
  return a > b ? a : b;  // a NaN in b survives, as it does in a later product
}

template <typename T, int W>
inline T sum(Vec<T, W> x) {
  T total = 0;
  for (int i = 0; i < W; ++i) total += x[i];
  return total;
}

constexpr double kLog2E = 1.4426950408889634074;
constexpr double kLn2 = 0.69314718055994530942;

// Coefficients of the minimax-like (Chebyshev) polynomial of 2^f on [-1/2, 1/2], lowest first.
template <typename T>
struct Exp2;
template <>
struct Exp2<float> {
  static constexpr int kDegree = 6;  // relative error 2e-9
  static constexpr float kCoefficients[7] = {1.0f,
                                             0.69314720670283259577f,
                                             0.24022650922288758071f,
                                             0.055503272266703020589f,
                                             0.0096180566785246380754f,
                                             0.001340042817761583794f,
                                             0.00015461444698569129083f};
  // 1.5 * 2^23 + the exponent's bias: adding it rounds to an integer and leaves, in the low bits,
  // the exponent field of its power of two.
  static constexpr float kRound = 12582912.0f + 127;
  static constexpr float kLowest = -127.0f;  // its exponent field is 0, so the result is 0
  static constexpr int kMantissa = 23;
};
template <>
struct Exp2<double> {
  static constexpr int kDegree = 11;  // relative error 3e-18
  static constexpr double kCoefficients[12] = {
      0.99999999999999999693,    0.69314718055994530925,     0.24022650695910159567,
      0.055504108664821627039,   0.0096181291075872566681,   0.0013333558146406470697,
      0.00015403530463724354209, 0.000015252733841556772589, 1.3215432535912376166e-6,
      1.0178057087733941105e-7,  7.0741942972885210056e-9,   4.455817908336064493e-10};
  static constexpr double kRound = 6755399441055744.0 + 1023;  // 1.5 * 2^52 + the bias
  static constexpr double kLowest = -1023.0;
  static constexpr int kMantissa = 52;
};

// 2^x for x below the largest exponent, as a softmax needs it: 0 where the result would not be a
// normal number (-infinity included), NaN for NaN.
template <typename T, int W>
inline Vec<T, W> exp2(Vec<T, W> x) {
  using E = Exp2<T>;
  using I = typename IntOf<T>::type;
  const Vec<T, W> low = splat<T, W>(E::kLowest);
  const Vec<T, W> clamped = max<T, W>(low, x);
  const Vec<T, W> shifted = clamped + E::kRound;
  const Vec<T, W> fraction = clamped - (shifted - E::kRound);
  Vec<T, W> poly = splat<T, W>(E::kCoefficients[E::kDegree]);
  for (int i = E::kDegree - 1; i >= 0; --i) poly = poly * fraction + E::kCoefficients[i];
  return poly * (Vec<T, W>)((Vec<I, W>)shifted << E::kMantissa);
}

// Exchanges, between two rows, the lanes that a transpose has to exchange at distance kStep.
template <typename T, int W, int kStep>
[[gnu::always_inline]] inline void exchange(Vec<T, W>& a, Vec<T, W>& b) {
  using Lanes = Vec<typename IntOf<T>::type, W>;
  Lanes first, second;
  for (int i = 0; i < W; ++i) {
    first[i] = (i & kStep) == 0 ? i : W + i - kStep;
    second[i] = (i & kStep) == 0 ? i + kStep : W + i;
  }
#if defined(__clang__)
  Vec<T, W> a_new, b_new;
  for (int i = 0; i < W; ++i) {
    a_new[i] = (i & kStep) == 0 ? a[i] : b[i - kStep];
    b_new[i] = (i & kStep) == 0 ? a[i + kStep] : b[i];
  }
#else
  const Vec<T, W> a_new = __builtin_shuffle(a, b, first);
  const Vec<T, W> b_new = __builtin_shuffle(a, b, second);
#endif
  a = a_new;
  b = b_new;
}

// Transposes W vectors in registers: log2(W) rounds of exchanges.
template <typename T, int W, int kStep = W / 2>
[[gnu::always_inline]] inline void transpose_lanes(Vec<T, W> rows[W]) {
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i)
    if ((i & kStep) == 0) exchange<T, W, kStep>(rows[i], rows[i + kStep]);
  if constexpr (kStep > 1) transpose_lanes<T, W, kStep / 2>(rows);
}

// A block of 8 is narrower than a full vector of 16 floats; its rows take half vectors.
constexpr int kNarrowLanes = 8;

}  // namespace spion_bench::cpu::SPION_ISA

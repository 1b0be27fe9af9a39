// 16-bit floats to and from float32, bit by bit against formats.h.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>

#include "checks.h"
#include "verdict.h"
#include "workers.h"

namespace spion_bench::driver {
namespace {

constexpr int64_t kCounts[] = {0, 16, 32, 48, 80, 256};  // elements per call, in turns

// The pieces that the calls get: all `total` elements, whatever the counts.
std::vector<int64_t> starts_of_pieces(int64_t total) {
  std::vector<int64_t> starts{0};
  for (int64_t i = 0; starts.back() < total; ++i)
    starts.push_back(std::min(total, starts.back() + kCounts[i % std::size(kCounts)]));
  return starts;
}

template <typename From, typename To>
Buffer<To> convert(void (*kernel)(const From*, To*, int64_t), const Buffer<From>& from,
                   int threads) {
  Buffer<To> to(from.size());
  const std::vector<int64_t> starts = starts_of_pieces(from.size());
  run_units(threads, static_cast<int64_t>(starts.size()) - 1, [&](int64_t piece, int) {
    const int64_t first = starts[piece];
    kernel(from.data() + first, to.data() + first, starts[piece + 1] - first);
  });
  return to;
}

template <typename E>
std::string prefix(const char* what) {
  return std::string(cpu::kernels().capability) + " " + what + " " + Format<E>::name + " ";
}

template <typename E>
Buffer<E> every_value() {
  return Buffer<E>(1 << 16, [](int64_t i) { return E{static_cast<uint16_t>(i)}; });
}

template <typename E>
void check_widen() {
  const auto kernel = cpu::conversion_of<E>().widen;
  const Buffer<E> from = every_value<E>();
  const Buffer<float> one = convert(kernel, from, 1), several = convert(kernel, from, kSeveral);
  for (int64_t i = 0; i < from.size(); ++i) {
    const auto expected = static_cast<float>(decode(from[i]));
    const bool is_right = std::isnan(expected)
                              ? std::isnan(one[i])
                              : std::memcmp(&one[i], &expected, sizeof(float)) == 0;
    if (!is_right) fail(prefix<E>("widen"), "wrong for the bits " + std::to_string(i));
  }
  expect_same_bits(prefix<E>("widen"), one, several);
}

// Around every 16-bit value: itself, the boundary to the next one, and their float32 neighbours;
// then random bits. The last exponent's boundary is where results become infinite.
template <typename E>
Buffer<float> hard_floats() {
  constexpr float kUp = std::numeric_limits<float>::infinity();
  std::vector<float> values;
  const Buffer<E> halves = every_value<E>();
  for (const E half : halves) {
    const auto value = static_cast<float>(decode(half));
    const E next_half{static_cast<uint16_t>(half.bits + 1)};
    const auto boundary = static_cast<float>((decode(half) + decode(next_half)) / 2);
    for (const float x : {value, boundary})
      for (const float y : {std::nextafter(x, -kUp), x, std::nextafter(x, kUp)})
        values.push_back(y);
  }
  std::mt19937 generator(9);
  for (int i = 0; i < 1 << 16; ++i) {
    const uint32_t bits = generator();
    values.push_back(0);
    std::memcpy(&values.back(), &bits, sizeof bits);
  }
  return Buffer<float>(values);
}

template <typename E>
void check_narrow() {
  const auto kernel = cpu::conversion_of<E>().narrow;
  const Buffer<float> from = hard_floats<E>();
  const Buffer<E> one = convert(kernel, from, 1), several = convert(kernel, from, kSeveral);
  for (int64_t i = 0; i < from.size(); ++i) {
    const E expected = encode<E>(from[i]);
    const bool is_right =
        std::isnan(from[i]) ? std::isnan(decode(one[i])) : one[i].bits == expected.bits;
    if (!is_right)
      fail(prefix<E>("narrow"), std::to_string(from[i]) + ": expected the bits " +
                                    std::to_string(expected.bits) + ", got " +
                                    std::to_string(one[i].bits));
  }
  expect_same_bits(prefix<E>("narrow"), one, several);
}

}  // namespace

void check_conversions() {
  check_widen<cpu::BFloat16>();
  check_widen<cpu::Float16>();
  check_narrow<cpu::BFloat16>();
  check_narrow<cpu::Float16>();
}

}  // namespace spion_bench::driver

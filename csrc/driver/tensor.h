// [B, H, L, D] tensors in the layouts a model produces.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "buffer.h"
#include "formats.h"

namespace spion_bench::driver {

enum class Layout {
  contiguous,  // [B, H, L, D]
  heads_last,  // a view on [B, L, H, D]
  packed,      // the middle of a packed [B, L, 3, H, D]
};

struct Shape {
  int64_t batch, heads, length, width;

  int64_t numel() const { return batch * heads * length * width; }
};

template <typename E>
class Tensor {
 public:
  // Poison everywhere.
  Tensor(const Shape& shape, Layout layout)
      : shape_(shape),
        copies_(layout == Layout::packed ? 3 : 1),
        layout_(layout),
        memory_(copies_ * shape.numel()) {}

  Tensor(const Shape& shape, Layout layout, const std::vector<double>& values)
      : Tensor(shape, layout) {
    const cpu::HeadsView<E> target = view();
    for (int64_t i = 0; i < shape.numel(); ++i) *element(target, i) = encode<E>(values[i]);
  }

  cpu::HeadsView<E> view() { return strides(memory_.data()); }
  cpu::HeadsView<const E> view() const { return strides(memory_.data()); }
  const Buffer<E>& memory() const { return memory_; }

  std::vector<double> values() const {
    std::vector<double> result(shape_.numel());
    for (int64_t i = 0; i < shape_.numel(); ++i) result[i] = decode(*element(view(), i));
    return result;
  }

 private:
  template <typename P>
  cpu::HeadsView<P> strides(P* data) const {
    const auto& [B, H, L, D] = shape_;
    if (layout_ == Layout::contiguous) return {data, H * L * D, L * D, D};
    return {data + (copies_ / 2) * H * D, L * copies_ * H * D, D, copies_ * H * D};
  }

  template <typename P>
  P* element(const cpu::HeadsView<P>& view, int64_t i) const {
    const auto& [B, H, L, D] = shape_;
    return view.at(i / (H * L * D), i / (L * D) % H) + i / D % L * view.row_stride + i % D;
  }

  Shape shape_;
  int64_t copies_;
  Layout layout_;
  Buffer<E> memory_;
};

// Multiples of 1/16 from -2 up to 2, which every element type holds exactly, so that one expected
// result serves all of them; 0 from column `width` on, as the bindings pad heads.
inline std::vector<double> random_values(const Shape& shape, int64_t width, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<double> values(shape.numel());
  for (int64_t i = 0; i < shape.numel(); ++i) {
    const double value = (static_cast<double>(generator() % 64) - 32) / 16;
    values[i] = i % shape.width < width ? value : 0.0;
  }
  return values;
}

template <typename T>
std::vector<double> values_of(const Buffer<T>& buffer) {
  return {buffer.begin(), buffer.end()};
}

}  // namespace spion_bench::driver

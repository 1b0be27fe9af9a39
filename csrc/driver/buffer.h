// Memory as unforgiving as possible: exactly the asked size, so that AddressSanitizer sees the
// first element outside; 8 bytes off every vector's alignment, as tensors may be; and full of NaN,
// so that an element that is never written, or is read before it is written, shows in the results.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace spion_bench::driver {

constexpr int kPoison = 0xFF;  // this byte repeated is NaN in every float type, and no valid bool

template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t size)
      : size_(size), memory_(std::make_unique<std::byte[]>(kShift + bytes())) {
#if defined(__SANITIZE_ADDRESS__)
    ASAN_POISON_MEMORY_REGION(memory_.get(), kShift);
#endif
    poison();
  }

  template <typename ValueAt>
  Buffer(int64_t size, const ValueAt& value_at) : Buffer(size) {
    for (int64_t i = 0; i < size; ++i) data()[i] = value_at(i);
  }

  explicit Buffer(const std::vector<T>& values)
      : Buffer(static_cast<int64_t>(values.size()), [&](int64_t i) { return values[i]; }) {}

  void poison() { std::memset(data(), kPoison, bytes()); }

  T* data() { return reinterpret_cast<T*>(memory_.get() + kShift); }
  const T* data() const { return reinterpret_cast<const T*>(memory_.get() + kShift); }
  int64_t size() const { return size_; }
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }
  const T& operator[](int64_t i) const { return data()[i]; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }

 private:
  static constexpr std::size_t kShift = 8;
  int64_t size_;
  std::unique_ptr<std::byte[]> memory_;
};

// One buffer per thread, of exactly the size that the kernels ask for.
template <typename T>
class Scratch {
 public:
  Scratch(int threads, int64_t size) {
    for (int thread = 0; thread < threads; ++thread) buffers_.emplace_back(size);
  }

  // Poisoned anew: no unit may rely on what an earlier one left.
  T* fresh(int thread) {
    buffers_[thread].poison();
    return buffers_[thread].data();
  }

 private:
  std::vector<Buffer<T>> buffers_;
};

}  // namespace spion_bench::driver

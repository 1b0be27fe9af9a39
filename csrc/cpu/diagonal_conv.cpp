// Diagonal filter of an attention map (SPION figure "pattern generation"; SPION code,
// main_conv.py):
//
//   out[i][j] = sum over t = -h..h of map[i + t][j + t],   h = filter_size / 2,   0 outside the map
//
// map, out: [L, L], float32 or float64; sums in float64.
//
// Cost: three additions per element whatever the filter size, 2 reads and 1 write of the map; the
// arithmetic is in diagonal_conv_kernel.h. Threads share the (row group, panel of diagonals) pairs.
// Groups start at fixed rows: the result does not depend on the number of threads.

#include <ATen/Dispatch.h>
#include <torch/library.h>

#include "common/binding.h"

namespace spion_bench::cpu {
namespace {

template <typename T>
void run(const T* map, int64_t length, int64_t half, T* out) {
  const int64_t taps = 2 * half + 1;
  const int64_t n_groups = (length + taps - 1) / taps;
  const int64_t n_panels = (length + taps - 1 + kDiagonalPanel - 1) / kDiagonalPanel;
  const Scratch<double> scratch((taps + 1) * kDiagonalPanel);
  for_each_unit(n_groups, [&](int64_t group, int thread) {
    const int64_t first_row = group * taps;
    const int64_t leftmost = -(first_row + taps - 1);  // column 0 of the group's last row
    for (int64_t panel = 0; panel < n_panels; ++panel)
      kernels_of<T>().diagonal_panel(map, length, half, first_row,
                                     leftmost + panel * kDiagonalPanel, out, scratch.of(thread));
  });
}

at::Tensor diagonal_conv(const at::Tensor& attention_map, int64_t filter_size) {
  check_float(attention_map, "attention_map");
  check_square(attention_map, "attention_map");
  TORCH_CHECK(filter_size > 0 && filter_size % 2 == 1,
              "filter_size: expected a positive odd number, got ", filter_size);
  const at::Tensor map = attention_map.contiguous();
  at::Tensor out = empty_result(map.sizes(), map.options());
  const int64_t length = map.size(0);
  if (length == 0) return out;

  // Taps beyond L - 1 only ever see zeros.
  const int64_t half = std::min(filter_size / 2, length - 1);
  AT_DISPATCH_FLOATING_TYPES(map.scalar_type(), "diagonal_conv", [&] {
    run(map.const_data_ptr<scalar_t>(), length, half, out.mutable_data_ptr<scalar_t>());
  });
  return out;
}

}  // namespace
}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) {
  m.impl("diagonal_conv", &spion_bench::cpu::diagonal_conv);
}

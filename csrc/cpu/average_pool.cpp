// Average of each block of an attention map, the step from tokens to blocks in pattern generation
// (SPION code, main_conv.py: an average pooling whose stride is its width).
//
//   pooled[r][c] = mean of map[r S .. r S + S - 1][c S .. c S + S - 1]
//
// map: [L, L], float32 or float64; pooled: [L / S, L / S] in the same type; sums in float64, first
// down the columns, then along the row. One read of the map. Threads share the block rows.

#include <ATen/Dispatch.h>
#include <torch/library.h>

#include "common/binding.h"

namespace spion_bench::cpu {
namespace {

at::Tensor average_pool(const at::Tensor& attention_map, int64_t block_size) {
  check_float(attention_map, "attention_map");
  check_square(attention_map, "attention_map");
  const int64_t length = attention_map.size(0);
  TORCH_CHECK(block_size > 0 && length % block_size == 0,
              "block_size: expected a divisor of the map's length ", length, ", got ", block_size);
  const at::Tensor map = attention_map.contiguous();
  const int64_t nb = length / block_size;
  at::Tensor pooled = at::empty({nb, nb}, map.options());
  const Scratch<double> scratch(length);
  AT_DISPATCH_FLOATING_TYPES(map.scalar_type(), "average_pool", [&] {
    const scalar_t* values = map.const_data_ptr<scalar_t>();
    scalar_t* out = pooled.mutable_data_ptr<scalar_t>();
    for_each_unit(nb, [&](int64_t row, int thread) {
      kernels_of<scalar_t>().pool_block_row(values + row * block_size * length, length, block_size,
                                            out + row * nb, scratch.of(thread));
    });
  });
  return pooled;
}

}  // namespace
}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) { m.impl("average_pool", &spion_bench::cpu::average_pool); }

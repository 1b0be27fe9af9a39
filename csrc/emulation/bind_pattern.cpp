// torch.ops.spion_bench_emulated: the pattern operators, by the emulator.
#include "../cuda/bind_pattern.h"

#include <ATen/ops/isnan.h>
#include <torch/library.h>

#include "binding.h"

namespace spion_bench::emulation {
namespace {

at::Tensor attention_map(const at::Tensor& q, const at::Tensor& k,
                         const std::optional<at::Tensor>& key_padding_mask, double scale) {
  return cuda::attention_map(q, k, key_padding_mask, scale, {});
}

at::Tensor diagonal_conv(const at::Tensor& attention_map, int64_t filter_size) {
  return cuda::diagonal_conv(attention_map, filter_size, {});
}

at::Tensor average_pool(const at::Tensor& attention_map, int64_t block_size) {
  return cuda::average_pool(attention_map, block_size, {});
}

// On a GPU nobody looks for NaN: that would wait for the device.
at::Tensor flood_fill(const at::Tensor& pooled, double threshold, std::string_view selection) {
  TORCH_CHECK_VALUE(!at::isnan(pooled).any().item<bool>(), "pooled: expected numbers, got NaN");
  return cuda::flood_fill(pooled, threshold, selection, {});
}

}  // namespace
}  // namespace spion_bench::emulation

TORCH_LIBRARY_FRAGMENT(spion_bench_emulated, m) {
  using namespace spion_bench::emulation;
  for (const char* name : {"attention_map", "diagonal_conv", "average_pool", "flood_fill"})
    m.def(schema_of(name));
}

TORCH_LIBRARY_IMPL(spion_bench_emulated, CPU, m) {
  using namespace spion_bench::emulation;
  m.impl("attention_map", &attention_map);
  m.impl("diagonal_conv", &diagonal_conv);
  m.impl("average_pool", &average_pool);
  m.impl("flood_fill", &flood_fill);
}

// torch.ops.spion_bench_emulated: the CUDA kernels on CPU tensors, by the emulator. Here the fused
// operator; bind_pipeline.cpp and its neighbours add the others.
//
// The schemas are those of spion_bench, whose library has to be loaded before this one.
#include <torch/library.h>

#include "../cuda/bind.h"
#include "binding.h"
#include "emulator.h"

namespace spion_bench::emulation {
namespace {

using cuda::AttentionInputs;

std::tuple<at::Tensor, at::Tensor> block_attention_forward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& crow,
    const at::Tensor& col, const at::Tensor& /*t_crow*/, const at::Tensor& /*t_row*/,
    const at::Tensor& /*t_tile*/, int64_t block_size, bool zero_logit,
    const std::optional<at::Tensor>& key_padding_mask, double scale, double dropout_p,
    int64_t dropout_seed) {
  AttentionInputs inputs(q, k, v, crow, col, block_size, zero_logit, key_padding_mask, scale,
                         dropout_p, dropout_seed);
  check_pattern_values(crow, col);
  return cuda::attention_forward(std::move(inputs), q.size(3), {});
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> block_attention_backward(
    const at::Tensor& dout, const std::optional<at::Tensor>& dlse, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const at::Tensor& crow, const at::Tensor& col, const at::Tensor& t_crow,
    const at::Tensor& t_row, const at::Tensor& t_tile, int64_t block_size, bool zero_logit,
    const std::optional<at::Tensor>& key_padding_mask, double scale, double dropout_p,
    int64_t dropout_seed) {
  AttentionInputs inputs(q, k, v, crow, col, block_size, zero_logit, key_padding_mask, scale,
                         dropout_p, dropout_seed);
  const cuda::AttentionGradients given{dout, out, lse, dlse, t_crow, t_row, t_tile};
  cuda::check_gradients(given, inputs, q);
  check_pattern_values(crow, col);
  check_pattern_values(t_crow, t_row);
  return cuda::attention_backward(std::move(inputs), given, q.size(3), {});
}

std::tuple<int64_t, int64_t, int64_t, int64_t> take_statistics() {
  const emu::Statistics s = emu::take_statistics();
  const auto number = [](uint64_t n) { return static_cast<int64_t>(n); };
  return {number(s.launches), number(s.mma), number(s.ldmatrix), number(s.bank_conflicts)};
}

}  // namespace
}  // namespace spion_bench::emulation

TORCH_LIBRARY(spion_bench_emulated, m) {
  using namespace spion_bench::emulation;
  for (const char* name : {"block_attention_forward", "block_attention_backward"})
    m.def(schema_of(name));
  // What the kernels did since the last call; no operator of spion_bench.
  m.def("take_statistics() -> (int launches, int mma, int ldmatrix, int bank_conflicts)",
        [] { return take_statistics(); });
}

TORCH_LIBRARY_IMPL(spion_bench_emulated, CPU, m) {
  using namespace spion_bench::emulation;
  m.impl("block_attention_forward", &block_attention_forward);
  m.impl("block_attention_backward", &block_attention_backward);
}

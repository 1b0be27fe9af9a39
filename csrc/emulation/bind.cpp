// torch.ops.spion_bench_emulated: the CUDA kernels on CPU tensors, by the emulator, after checks of
// the values that kernels trust; on a GPU nothing looks at those, which would wait for the device.
//
// The schemas are those of spion_bench, whose library has to be loaded before this one.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/isnan.h>
#include <torch/library.h>

#include <algorithm>
#include <string>

#include "../cuda/attention_map_bind.h"
#include "../cuda/average_pool_bind.h"
#include "../cuda/block_attention_bind.h"
#include "../cuda/block_dropout_bind.h"
#include "../cuda/block_sddmm_bind.h"
#include "../cuda/block_softmax_bind.h"
#include "../cuda/block_spmm_bind.h"
#include "../cuda/diagonal_conv_bind.h"
#include "../cuda/flood_fill_bind.h"
#include "../operators.h"
#include "emulator.h"

namespace spion_bench::emulation {
namespace {

using cuda::AttentionInputs;

std::tuple<at::Tensor, at::Tensor> block_attention_forward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& crow,
    const at::Tensor& col, const at::Tensor& t_crow, const at::Tensor& /*t_row*/,
    const at::Tensor& /*t_tile*/, int64_t block_size, int64_t groups, bool causal, bool zero_logit,
    const std::optional<at::Tensor>& key_padding_mask, double scale, double dropout_p,
    int64_t dropout_seed) {
  AttentionInputs inputs(q, k, v, crow, col, t_crow, block_size, groups, causal, zero_logit,
                         key_padding_mask, scale, dropout_p, dropout_seed);
  check_list_values(crow, col, inputs.sizes.pattern_columns, kByRow);
  return cuda::block_attention_forward(std::move(inputs), {});
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> block_attention_backward(
    const at::Tensor& dout, const std::optional<at::Tensor>& dlse, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const at::Tensor& crow, const at::Tensor& col, const at::Tensor& t_crow,
    const at::Tensor& t_row, const at::Tensor& t_tile, int64_t block_size, int64_t groups,
    bool causal, bool zero_logit, const std::optional<at::Tensor>& key_padding_mask, double scale,
    double dropout_p, int64_t dropout_seed) {
  AttentionInputs inputs(q, k, v, crow, col, t_crow, block_size, groups, causal, zero_logit,
                         key_padding_mask, scale, dropout_p, dropout_seed);
  const cuda::AttentionGradients given{dout, out, lse, dlse, t_crow, t_row, t_tile};
  cuda::check_gradients(given, inputs, q);
  check_list_values(crow, col, inputs.sizes.pattern_columns, kByRow);
  check_list_values(t_crow, t_row, inputs.sizes.pattern_rows, kByColumn);
  check_transposed_values(crow, col, t_crow, t_row, t_tile, groups);
  return cuda::block_attention_backward(std::move(inputs), given, {});
}

// Values are looked at before ../cuda/*_bind.h checks the other arguments in full.
void check_whole_list(const at::Tensor& begin, const at::Tensor& other, int64_t block_size,
                      ListNames names = kByRow) {
  check_list(begin, other, block_size, names);
  check_list_values(begin, other, names);
}

at::Tensor block_sddmm(const at::Tensor& q, const at::Tensor& k, const at::Tensor& crow,
                       const at::Tensor& col, const at::Tensor& /*t_crow*/,
                       const at::Tensor& /*t_row*/, const at::Tensor& /*t_tile*/,
                       int64_t block_size, double scale) {
  check_whole_list(crow, col, block_size);
  return cuda::block_sddmm(q, k, crow, col, block_size, scale, {});
}

std::tuple<at::Tensor, at::Tensor> block_softmax(
    const at::Tensor& scores, const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
    bool zero_logit, const std::optional<at::Tensor>& key_padding_mask) {
  check_whole_list(crow, col, block_size);
  return cuda::block_softmax(scores, crow, col, block_size, zero_logit, key_padding_mask, {});
}

at::Tensor block_softmax_backward(const at::Tensor& dprobs, const std::optional<at::Tensor>& dlse,
                                  const at::Tensor& probs, const at::Tensor& crow,
                                  int64_t block_size) {
  check_begin(crow, "crow_indices", block_size);
  TORCH_CHECK(probs.dim() == 5, "probs: expected [B, H, nnzb, S, S], got ", probs.dim(),
              " dimensions");
  check_begin_values(crow, "crow_indices", probs.size(2));
  return cuda::block_softmax_backward(dprobs, dlse, probs, crow, block_size, {});
}

at::Tensor block_spmm(const at::Tensor& probs, const at::Tensor& v, const at::Tensor& crow,
                      const at::Tensor& col, const at::Tensor& /*t_crow*/,
                      const at::Tensor& /*t_row*/, const at::Tensor& /*t_tile*/,
                      int64_t block_size) {
  check_whole_list(crow, col, block_size);
  return cuda::block_spmm(probs, v, crow, col, block_size, {});
}

at::Tensor block_spmm_transposed(const at::Tensor& probs, const at::Tensor& v,
                                 const at::Tensor& t_crow, const at::Tensor& t_row,
                                 const at::Tensor& t_tile, int64_t block_size) {
  check_whole_list(t_crow, t_row, block_size, kByColumn);
  check_tiles_of(t_tile, t_row);
  check_index_values(t_tile, "t_tile_indices", t_row.size(0));
  return cuda::block_spmm_transposed(probs, v, t_crow, t_row, t_tile, block_size, {});
}

at::Tensor block_dropout(const at::Tensor& probs, const at::Tensor& crow, const at::Tensor& col,
                         int64_t block_size, double p, int64_t seed) {
  check_whole_list(crow, col, block_size);
  return cuda::block_dropout(probs, crow, col, block_size, p, seed, {});
}

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

at::Tensor flood_fill(const at::Tensor& pooled, double threshold, std::string_view selection) {
  TORCH_CHECK_VALUE(!at::isnan(pooled).any().item<bool>(), "pooled: expected numbers, got NaN");
  return cuda::flood_fill(pooled, threshold, selection, {});
}

// The schema of an operator of spion_bench, whose library has to be loaded before this one.
c10::FunctionSchema schema_of(const char* name) {
  const auto original = c10::Dispatcher::singleton().findSchemaOrThrow(
      (std::string("spion_bench::") + name).c_str(), "");
  return original.schema().cloneWithName(std::string("spion_bench_emulated::") + name, "");
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
#define SPION_DEFINE(name) m.def(schema_of(#name));
  SPION_OPERATORS(SPION_DEFINE)
#undef SPION_DEFINE
  // What the kernels did since the last call; no operator of spion_bench.
  m.def("take_statistics() -> (int launches, int mma, int ldmatrix, int bank_conflicts)",
        [] { return take_statistics(); });
}

TORCH_LIBRARY_IMPL(spion_bench_emulated, CPU, m) {
  using namespace spion_bench::emulation;
#define SPION_BIND(name) m.impl(#name, &name);
  SPION_OPERATORS(SPION_BIND)
#undef SPION_BIND
}

// torch.ops.spion_bench_emulated: the paper's pipeline, by the emulator.
#include "../cuda/bind_pipeline.h"

#include <torch/library.h>

#include "binding.h"

namespace spion_bench::emulation {
namespace {

// Values that cannot be right without sizes that are: ../cuda/bind_pipeline.h checks those in full.
void check_list(const at::Tensor& begin, const at::Tensor& other, int64_t block_size) {
  check_index(begin, "crow_indices");
  check_pattern(begin, other, block_size, (begin.size(0) - 1) * block_size);
  check_pattern_values(begin, other);
}

at::Tensor block_sddmm(const at::Tensor& q, const at::Tensor& k, const at::Tensor& crow,
                       const at::Tensor& col, const at::Tensor& /*t_crow*/,
                       const at::Tensor& /*t_row*/, const at::Tensor& /*t_tile*/,
                       int64_t block_size, double scale) {
  check_list(crow, col, block_size);
  return cuda::block_sddmm(q, k, crow, col, block_size, scale, {});
}

std::tuple<at::Tensor, at::Tensor> block_softmax(
    const at::Tensor& scores, const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
    bool zero_logit, const std::optional<at::Tensor>& key_padding_mask) {
  check_list(crow, col, block_size);
  return cuda::block_softmax(scores, crow, col, block_size, zero_logit, key_padding_mask, {});
}

at::Tensor block_softmax_backward(const at::Tensor& dprobs, const std::optional<at::Tensor>& dlse,
                                  const at::Tensor& probs, const at::Tensor& crow,
                                  int64_t block_size) {
  check_index(crow, "crow_indices");
  const int32_t* c = crow.const_data_ptr<int32_t>();
  const int64_t nb = crow.size(0) - 1;
  TORCH_CHECK(probs.dim() == 5 && nb >= 0 && c[0] == 0 && c[nb] == probs.size(2) &&
                  std::is_sorted(c, c + nb + 1),
              "crow_indices: expected to rise from 0 to the number of tiles");
  return cuda::block_softmax_backward(dprobs, dlse, probs, crow, block_size, {});
}

at::Tensor block_spmm(const at::Tensor& probs, const at::Tensor& v, const at::Tensor& crow,
                      const at::Tensor& col, const at::Tensor& /*t_crow*/,
                      const at::Tensor& /*t_row*/, const at::Tensor& /*t_tile*/,
                      int64_t block_size) {
  check_list(crow, col, block_size);
  return cuda::block_spmm(probs, v, crow, col, block_size, {});
}

at::Tensor block_spmm_transposed(const at::Tensor& probs, const at::Tensor& v,
                                 const at::Tensor& t_crow, const at::Tensor& t_row,
                                 const at::Tensor& t_tile, int64_t block_size) {
  check_list(t_crow, t_row, block_size);
  check_index(t_tile, "t_tile_indices");
  const int32_t* tile = t_tile.const_data_ptr<int32_t>();
  const int64_t n = t_tile.size(0);
  TORCH_CHECK(std::all_of(tile, tile + n, [n](int32_t i) { return 0 <= i && i < n; }),
              "t_tile_indices: expected values from 0 to ", n - 1);
  return cuda::block_spmm_transposed(probs, v, t_crow, t_row, t_tile, block_size, {});
}

at::Tensor block_dropout(const at::Tensor& probs, const at::Tensor& crow, const at::Tensor& col,
                         int64_t block_size, double p, int64_t seed) {
  check_list(crow, col, block_size);
  return cuda::block_dropout(probs, crow, col, block_size, p, seed, {});
}

}  // namespace
}  // namespace spion_bench::emulation

TORCH_LIBRARY_FRAGMENT(spion_bench_emulated, m) {
  using namespace spion_bench::emulation;
  for (const char* name : {"block_sddmm", "block_softmax", "block_softmax_backward", "block_spmm",
                           "block_spmm_transposed", "block_dropout"})
    m.def(schema_of(name));
}

TORCH_LIBRARY_IMPL(spion_bench_emulated, CPU, m) {
  using namespace spion_bench::emulation;
  m.impl("block_sddmm", &block_sddmm);
  m.impl("block_softmax", &block_softmax);
  m.impl("block_softmax_backward", &block_softmax_backward);
  m.impl("block_spmm", &block_spmm);
  m.impl("block_spmm_transposed", &block_spmm_transposed);
  m.impl("block_dropout", &block_dropout);
}

// Row softmax over the kept tiles, with the pruned entries as logits of 0 or absent, and its
// backward pass.

#include <torch/library.h>

#include <tuple>

#include "common/binding.h"

namespace spion_bench::cpu {
namespace {

void check_tiles(const at::Tensor& tiles, const char* name, int64_t nnzb, int64_t block_size) {
  check_float(tiles, name);
  TORCH_CHECK(tiles.dim() == 5, name, ": expected [B, H, nnzb, S, S], got ", tiles.dim(),
              " dimensions");
  check_shape(tiles, name, {tiles.size(0), tiles.size(1), nnzb, block_size, block_size});
}

template <typename T>
void run_forward(const at::Tensor& scores, const at::Tensor& crow, const at::Tensor& col,
                 int64_t block_size, bool zero_logit, const std::optional<at::Tensor>& mask,
                 at::Tensor& probs, at::Tensor& lse) {
  const int64_t heads = scores.size(1), nb = crow.size(0) - 1, nnzb = col.size(0);
  const int64_t length = nb * block_size, tile = block_size * block_size;
  const int32_t* c = crow.const_data_ptr<int32_t>();
  const int32_t* columns = col.const_data_ptr<int32_t>();
  const bool* padding = mask ? mask->const_data_ptr<bool>() : nullptr;
  const T* in = scores.const_data_ptr<T>();
  T* out = probs.mutable_data_ptr<T>();
  T* lse_out = lse.mutable_data_ptr<T>();
  for_each_unit(scores.size(0) * heads * nb, [&](int64_t unit, int) {
    const int64_t bh = unit / nb, row = unit % nb, count = c[row + 1] - c[row];
    const int64_t first = (bh * nnzb + c[row]) * tile;
    kernels_of<T>().softmax_row(block_size, count, static_cast<double>(length - count * block_size),
                                zero_logit, in + first, columns + c[row],
                                padding ? padding + bh / heads * length : nullptr, out + first,
                                lse_out + unit * block_size);
  });
}

std::tuple<at::Tensor, at::Tensor> block_softmax(
    const at::Tensor& scores, const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
    bool zero_logit, const std::optional<at::Tensor>& key_padding_mask) {
  check_list(crow, col, block_size);
  check_list_values(crow, col);
  const int64_t length = (crow.size(0) - 1) * block_size;
  check_tiles(scores, "scores", col.size(0), block_size);
  if (key_padding_mask) check_key_padding_mask(*key_padding_mask, scores.size(0), length);
  const auto mask = key_padding_mask ? std::optional(key_padding_mask->contiguous()) : std::nullopt;
  const at::Tensor in = scores.contiguous();
  at::Tensor probs = empty_result(scores.sizes(), scores.options());
  at::Tensor lse = at::empty({scores.size(0), scores.size(1), length}, scores.options());
  if (scores.scalar_type() == at::kFloat)
    run_forward<float>(in, crow, col, block_size, zero_logit, mask, probs, lse);
  else
    run_forward<double>(in, crow, col, block_size, zero_logit, mask, probs, lse);
  return {probs, lse};
}

template <typename T>
void run_backward(const at::Tensor& dprobs, const std::optional<at::Tensor>& dlse,
                  const at::Tensor& probs, const at::Tensor& crow, int64_t block_size,
                  at::Tensor& dscores) {
  const int64_t nb = crow.size(0) - 1, nnzb = probs.size(2), tile = block_size * block_size;
  const int32_t* c = crow.const_data_ptr<int32_t>();
  const T* dp = dprobs.const_data_ptr<T>();
  const T* p = probs.const_data_ptr<T>();
  const T* dl = dlse ? dlse->const_data_ptr<T>() : nullptr;
  T* ds = dscores.mutable_data_ptr<T>();
  for_each_unit(probs.size(0) * probs.size(1) * nb, [&](int64_t unit, int) {
    const int64_t bh = unit / nb, row = unit % nb, first = (bh * nnzb + c[row]) * tile;
    kernels_of<T>().softmax_backward_row(block_size, c[row + 1] - c[row], dp + first,
                                         dl ? dl + unit * block_size : nullptr, p + first,
                                         ds + first);
  });
}

at::Tensor block_softmax_backward(const at::Tensor& dprobs, const std::optional<at::Tensor>& dlse,
                                  const at::Tensor& probs, const at::Tensor& crow,
                                  int64_t block_size) {
  check_begin(crow, "crow_indices", block_size);
  TORCH_CHECK(probs.dim() == 5, "probs: expected [B, H, nnzb, S, S], got ", probs.dim(),
              " dimensions");
  check_begin_values(crow, "crow_indices", probs.size(2));
  const int64_t nb = crow.size(0) - 1;
  check_tiles(probs, "probs", probs.size(2), block_size);
  check_same(dprobs, "dprobs", probs, "probs");
  check_shape(dprobs, "dprobs", probs.sizes());
  if (dlse) check_shape(*dlse, "dlse", {probs.size(0), probs.size(1), nb * block_size});
  if (dlse) check_same(*dlse, "dlse", probs, "probs");
  const auto dlse_ = dlse ? std::optional(dlse->contiguous()) : std::nullopt;
  at::Tensor dscores = empty_result(probs.sizes(), probs.options());
  if (probs.numel() == 0) return dscores;  // no tiles, however many batch items
  if (probs.scalar_type() == at::kFloat)
    run_backward<float>(dprobs.contiguous(), dlse_, probs.contiguous(), crow, block_size, dscores);
  else
    run_backward<double>(dprobs.contiguous(), dlse_, probs.contiguous(), crow, block_size, dscores);
  return dscores;
}

}  // namespace
}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) {
  m.impl("block_softmax", &spion_bench::cpu::block_softmax);
  m.impl("block_softmax_backward", &spion_bench::cpu::block_softmax_backward);
}

// Block softmax and its backward pass for torch tensors; see common/bind.h.
#pragma once

#include "block_softmax.h"
#include "common/bind_tiles.h"

namespace spion_bench::cuda {

inline std::tuple<at::Tensor, at::Tensor> block_softmax(
    const at::Tensor& scores_in, const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
    bool zero_logit, const std::optional<at::Tensor>& key_padding_mask, prim::Stream stream) {
  check_list(crow, col, block_size);
  const int64_t length = (crow.size(0) - 1) * block_size;
  check_tiles(scores_in, "scores", col.size(0), block_size);
  const int64_t batch = scores_in.size(0), heads = scores_in.size(1);
  if (key_padding_mask) check_key_padding_mask(*key_padding_mask, batch, length);
  const auto mask = key_padding_mask ? std::optional(key_padding_mask->contiguous()) : std::nullopt;
  const at::Tensor scores = aligned_tiles(scores_in);
  const at::Tensor probs = at::empty(scores.sizes(), scores.options());
  const at::Tensor lse = at::empty({batch, heads, length}, scores.options().dtype(at::kFloat));
  BlockSoftmaxArgs args;
  args.blocks = block_list(batch, heads, crow, col, block_size);
  args.zero_logit = zero_logit;
  args.key_padding_mask = mask ? mask->const_data_ptr<bool>() : nullptr;
  args.scores = scores.const_data_ptr();
  args.probs = probs.mutable_data_ptr();
  args.lse = lse.mutable_data_ptr<float>();
  if (lse.numel() > 0)  // rows without tiles have a log-sum-exp too
    check_launch("block_softmax", with_row_type(scores, [&]<class Math>(Math*) {
                   return launch_block_softmax<Math>(args, stream);
                 }));
  return {probs, lse};
}

inline at::Tensor block_softmax_backward(const at::Tensor& dprobs_in,
                                         const std::optional<at::Tensor>& dlse_in,
                                         const at::Tensor& probs_in, const at::Tensor& crow,
                                         int64_t block_size, prim::Stream stream) {
  check_begin(crow, "crow_indices", block_size);
  TORCH_CHECK(probs_in.dim() == 5, "probs: expected [B, H, nnzb, S, S], got ", probs_in.dim(),
              " dimensions");
  check_tiles(probs_in, "probs", probs_in.size(2), block_size);
  check_same(dprobs_in, "dprobs", probs_in, "probs");
  check_shape(dprobs_in, "dprobs", probs_in.sizes());
  const int64_t batch = probs_in.size(0), heads = probs_in.size(1);
  if (dlse_in) {
    check_shape(*dlse_in, "dlse", {batch, heads, (crow.size(0) - 1) * block_size});
    check_dtype(*dlse_in, "dlse", caffe2::TypeMeta::Make<float>());
  }
  const at::Tensor dprobs = aligned_tiles(dprobs_in), probs = aligned_tiles(probs_in);
  const auto dlse = dlse_in ? std::optional(dlse_in->contiguous()) : std::nullopt;
  const at::Tensor dscores = at::empty(probs.sizes(), probs.options());
  BlockSoftmaxBackwardArgs args;
  args.blocks = block_list(batch, heads, crow, probs.size(2), block_size);
  args.dprobs = dprobs.const_data_ptr();
  args.probs = probs.const_data_ptr();
  args.dlse = dlse ? dlse->const_data_ptr<float>() : nullptr;
  args.dscores = dscores.mutable_data_ptr();
  if (dscores.numel() > 0)
    check_launch("block_softmax_backward", with_row_type(probs, [&]<class Math>(Math*) {
                   return launch_block_softmax_backward<Math>(args, stream);
                 }));
  return dscores;
}

}  // namespace spion_bench::cuda

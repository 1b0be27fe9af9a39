// The averaged attention map for torch tensors; see common/bind.h.
#pragma once

#include "attention_map.h"
#include "common/bind_maps.h"

namespace spion_bench::cuda {

inline at::Tensor attention_map(const at::Tensor& q_in, const at::Tensor& k_in,
                                const std::optional<at::Tensor>& key_padding_mask, double scale,
                                prim::Stream stream) {
  check_heads(q_in, "q");
  check_heads(k_in, "k");
  check_same(k_in, "k", q_in, "q");
  check_shape(k_in, "k", q_in.sizes());
  const int64_t batch = q_in.size(0), heads = q_in.size(1), length = q_in.size(2);
  TORCH_CHECK(batch * heads > 0, "q: expected at least one batch item and head, got shape ",
              q_in.sizes());
  TORCH_CHECK(q_in.scalar_type() == at::kFloat, "q: expected float32 on CUDA, got ",
              q_in.scalar_type(), "; move the tensors to the CPU or cast them");
  check_scale(scale);
  check_supported(q_in, "q", 16);  // any block size would do
  check_map_length(length, "q");
  if (key_padding_mask) check_key_padding_mask(*key_padding_mask, batch, length);
  const auto mask = key_padding_mask ? std::optional(key_padding_mask->contiguous()) : std::nullopt;
  const at::Tensor map = at::empty({length, length}, q_in.options());
  if (length == 0) return map;
  const at::Tensor q = with_16_byte_rows(q_in), k = with_16_byte_rows(k_in);
  const at::Tensor row_stats = at::empty({batch * heads, length, 2}, q.options());

  AttentionMapArgs args;
  args.batch = static_cast<int>(batch);
  args.heads = static_cast<int>(heads);
  args.length = static_cast<int>(length);
  args.width = static_cast<int>(q.size(3));
  args.key_padding_mask = mask ? mask->const_data_ptr<bool>() : nullptr;
  args.score_factor = static_cast<float>(
      std::max<double>(std::fabs(scale) * M_LOG2E, std::numeric_limits<float>::min()));
  args.is_negated = scale < 0;
  args.share = 1.0f / static_cast<float>(batch * heads);
  args.q = heads_view(q);
  args.k = heads_view(k);
  args.row_stats = row_stats.mutable_data_ptr<float>();
  args.map = map.mutable_data_ptr<float>();
  check_launch("attention_map", allows_tf32() ? launch_attention_map<TF32>(args, stream)
                                              : launch_attention_map<TF32x3>(args, stream));
  return map;
}

}  // namespace spion_bench::cuda

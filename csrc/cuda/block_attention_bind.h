// Fused block-sparse attention for torch tensors; see common/bind.h.
#pragma once

#include "../padding.h"
#include "block_attention.h"
#include "common/bind.h"

namespace spion_bench::cuda {

// Columns are cut where fewer (batch, head)s than this would leave a long one running alone.
constexpr int64_t kFewBatchHeads = 16;
constexpr int64_t kShortestCut = 8;

// The tensors that both passes are given, checked and ready for the kernels.
struct AttentionInputs {
  AttentionSizes sizes;
  at::Tensor q, k, v;
  std::optional<at::Tensor> mask;
  BlockAttentionArgs args;

  AttentionInputs(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                  const at::Tensor& crow, const at::Tensor& col, const at::Tensor& t_crow,
                  int64_t block_size, int64_t groups, bool causal, bool zero_logit,
                  const std::optional<at::Tensor>& key_padding_mask, double scale, double dropout_p,
                  int64_t dropout_seed)
      : sizes(check_attention(q_in, k_in, v_in, crow, col, t_crow, block_size, groups, causal,
                              key_padding_mask, scale)) {
    check_supported(q_in, "q", block_size);
    check_supported(k_in, "k", block_size);
    q = with_16_byte_rows(pad_blocks(q_in, block_size));
    k = with_16_byte_rows(pad_blocks(k_in, block_size));
    v = with_16_byte_rows(pad_blocks(v_in, block_size));
    mask = pad_mask(key_padding_mask, sizes.batch, sizes.key_length, k.size(2), q.options());
    args.batch = static_cast<int>(q.size(0));
    args.heads = static_cast<int>(q.size(1));
    args.length = static_cast<int>(q.size(2));
    args.width = static_cast<int>(q.size(3));
    args.block_size = static_cast<int>(block_size);
    while (1 << args.block_log2 < block_size) ++args.block_log2;
    args.key_length = static_cast<int>(k.size(2));
    args.n_keys = static_cast<int>(sizes.key_length);
    args.heads_per_kv = static_cast<int>(sizes.heads / std::max<int64_t>(sizes.kv_heads, 1));
    args.n_blocks = static_cast<int>(sizes.row_blocks);
    args.n_key_blocks = static_cast<int>(sizes.column_blocks);
    args.heads_per_group = static_cast<int>(sizes.heads / groups);
    args.pattern_rows = static_cast<int>(sizes.pattern_rows);
    args.pattern_columns = static_cast<int>(sizes.pattern_columns);
    args.causal = causal;
    args.is_cut = causal || sizes.pattern_rows > sizes.row_blocks ||
                  sizes.pattern_columns > sizes.column_blocks;
    args.reaches = args.is_cut || groups > 1 || args.heads_per_kv > 1 ||
                   args.length != args.key_length || args.n_keys != args.key_length;
    args.nnzb = static_cast<int>(col.size(0));
    args.crow = crow.const_data_ptr<int32_t>();
    args.col = col.const_data_ptr<int32_t>();
    args.key_padding_mask = mask ? mask->const_data_ptr<bool>() : nullptr;
    args.scale = static_cast<float>(scale);
    args.score_factor = static_cast<float>(
        std::max<double>(std::fabs(scale) * M_LOG2E, std::numeric_limits<float>::min()));
    args.is_negated = scale < 0;
    args.zero_logit = zero_logit;
    args.dropout = make_dropout(dropout_p, dropout_seed);
    args.q = heads_view(q);
    args.k = heads_view(k);
    args.v = heads_view(v);
  }
};

inline std::tuple<at::Tensor, at::Tensor> block_attention_forward(AttentionInputs inputs,
                                                                  prim::Stream stream) {
  const at::Tensor& q = inputs.q;
  const at::Tensor out = at::empty(q.sizes(), q.options());
  const at::Tensor lse =
      at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kFloat));
  inputs.args.out = heads_view(out);
  inputs.args.lse = lse.mutable_data_ptr<float>();
  if (q.numel() > 0)
    check_launch("block_attention", with_precision(q, [&]<class Math>(Math*) {
                   return launch_block_attention_forward<Math>(inputs.args, stream);
                 }));
  return {unpad(out, inputs.sizes.length, inputs.sizes.width),
          lse.narrow(2, 0, inputs.sizes.length).contiguous()};
}

// What only the backward pass is given.
struct AttentionGradients {
  at::Tensor dout, out, lse;
  std::optional<at::Tensor> dlse;
  at::Tensor t_crow, t_row, t_tile;
};

inline void check_gradients(const AttentionGradients& given, const AttentionInputs& inputs,
                            const at::Tensor& q) {
  for (const auto& [x, name] : {std::pair{&given.dout, "dout"}, {&given.out, "out"}}) {
    check_same(*x, name, q, "q");
    check_shape(*x, name, q.sizes());
  }
  check_shape(given.lse, "lse", {q.size(0), q.size(1), q.size(2)});
  check_dtype(given.lse, "lse", caffe2::TypeMeta::Make<float>());
  if (given.dlse) check_shape(*given.dlse, "dlse", given.lse.sizes());
  if (given.dlse) check_dtype(*given.dlse, "dlse", given.lse.dtype());
  check_list(given.t_crow, given.t_row, inputs.args.block_size, kByColumn);
  check_shape(given.t_row, "t_row_indices", {inputs.args.nnzb});
  check_tiles_of(given.t_tile, given.t_row);
}

inline std::tuple<at::Tensor, at::Tensor, at::Tensor> block_attention_backward(
    AttentionInputs inputs, const AttentionGradients& given, prim::Stream stream) {
  BlockAttentionArgs& args = inputs.args;
  const at::Tensor& q = inputs.q;
  // Queries that fill the last block have dout = 0 and a finite lse, so they add nothing.
  const auto padded = [&](const at::Tensor& x) { return pad_blocks(x, args.block_size); };
  const at::Tensor dout = with_16_byte_rows(padded(given.dout));
  const at::Tensor out = with_16_byte_rows(padded(given.out));
  const at::Tensor lse = padded(given.lse).contiguous();
  const auto dlse = given.dlse ? std::optional(padded(*given.dlse).contiguous()) : std::nullopt;
  const at::Tensor dq = at::empty(q.sizes(), q.options());
  // A head of k and v has a gradient from each head of q that it serves.
  const std::vector<int64_t> by_head{q.size(0), q.size(1), inputs.k.size(2), q.size(3)};
  const at::Tensor dk = at::empty(by_head, q.options());
  const at::Tensor dv = at::empty(by_head, q.options());
  const int64_t batch_heads = q.size(0) * q.size(1);
  const auto floats = q.options().dtype(at::kFloat);
  const at::Tensor stats = at::empty({batch_heads, q.size(2), 2}, floats);
  args.t_crow = given.t_crow.const_data_ptr<int32_t>();
  args.t_row = given.t_row.const_data_ptr<int32_t>();
  args.t_tile = given.t_tile.const_data_ptr<int32_t>();
  args.dout = heads_view(dout);
  args.out = heads_view(out);
  args.lse = const_cast<float*>(lse.const_data_ptr<float>());  // only read here
  args.dlse = dlse ? dlse->const_data_ptr<float>() : nullptr;
  args.dq = heads_view(dq);
  args.dk = heads_view(dk);
  args.dv = heads_view(dv);
  args.row_stats = stats.mutable_data_ptr<float>();

  at::Tensor bits, parts;
  if (args.dropout.threshold > 0) {
    bits = at::empty(
        {q.size(0) * args.heads_per_group, args.nnzb, args.block_size, keep_words(args.block_size)},
        q.options().dtype(at::kInt));
    args.keep_bits = reinterpret_cast<uint32_t*>(bits.mutable_data_ptr<int32_t>());
  }
  if (batch_heads < kFewBatchHeads) {
    const int64_t columns = given.t_crow.size(0) - 1;
    const int64_t mean = (args.nnzb + columns - 1) / std::max<int64_t>(columns, 1);
    args.cut_every = static_cast<int>(std::max(kShortestCut, 4 * mean));
    parts = at::empty(
        {batch_heads, 2 * n_cuts(args.nnzb, args.cut_every), 2, args.block_size, args.width},
        floats);
    args.parts = parts.mutable_data_ptr<float>();
  }
  if (q.numel() > 0) {
    check_launch("block_attention", with_precision(q, [&]<class Math>(Math*) {
                   return launch_block_attention_backward<Math>(args, stream);
                 }));
  } else {
    dk.zero_();
    dv.zero_();
  }
  const AttentionSizes& sizes = inputs.sizes;
  const auto of_keys = [&](const at::Tensor& x) {
    return unpad(sum_heads(x, sizes.kv_heads), sizes.key_length, sizes.width);
  };
  return {unpad(dq, sizes.length, sizes.width), of_keys(dk), of_keys(dv)};
}

}  // namespace spion_bench::cuda

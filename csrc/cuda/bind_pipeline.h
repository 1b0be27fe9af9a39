// The pipeline's operators for torch tensors: checks, memory and the choice of a kernel, the same
// for a CUDA device and for the emulator. Bindings only add where to run.
//
// Nothing here reads device memory or waits for the device. Tiles have the operands' own type: of
// 16-bit operands the scores and probabilities are rounded to 16 bits on their way from kernel to
// kernel, which the fused operator does not do. The log-sum-exp is float32.
#pragma once

#include "bind.h"
#include "pipeline_launch.h"

namespace spion_bench::cuda {

inline void check_tiles(const at::Tensor& tiles, const char* name, int64_t nnzb,
                        int64_t block_size) {
  TORCH_CHECK(tiles.dim() == 5, name, ": expected [B, H, nnzb, S, S], got ", tiles.dim(),
              " dimensions");
  check_shape(tiles, name, {tiles.size(0), tiles.size(1), nnzb, block_size, block_size});
  // As [B, H, L, D] of the same type, with an L and a D that say nothing.
  check_supported(at::empty({tiles.size(0), tiles.size(1), 0, 1}, tiles.options()), name,
                  block_size);
}

// Tiles that a kernel reads 16 bytes at a time: x itself if it is contiguous and begins so.
inline at::Tensor aligned_tiles(const at::Tensor& x) {
  const bool is_aligned = reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
  return is_aligned ? x.contiguous() : x.clone(at::MemoryFormat::Contiguous);
}

inline BlockList block_list(int64_t batch, int64_t heads, const at::Tensor& begin, int64_t nnzb,
                            int64_t block_size) {
  const int64_t length = (begin.size(0) - 1) * block_size;
  TORCH_CHECK(length <= std::numeric_limits<int32_t>::max(),
              "crow_indices: expected a sequence of less than 2^31 tokens, got ", length);
  BlockList blocks;
  blocks.batch_heads = static_cast<int>(batch * heads);
  blocks.heads = static_cast<int>(heads);
  blocks.length = static_cast<int>(length);
  while (1 << blocks.block_log2 < block_size) ++blocks.block_log2;
  blocks.nnzb = static_cast<int>(nnzb);
  blocks.begin = begin.const_data_ptr<int32_t>();
  return blocks;
}

inline BlockList block_list(int64_t batch, int64_t heads, const at::Tensor& begin,
                            const at::Tensor& other, int64_t block_size) {
  BlockList blocks = block_list(batch, heads, begin, other.size(0), block_size);
  blocks.other = other.const_data_ptr<int32_t>();
  return blocks;
}

inline void check_pipeline_launch(const char* op, const char* error) {
  TORCH_CHECK(error == nullptr, op, ": the kernel could not be launched: ", error);
}

// body(static_cast<Math*>(nullptr)) for kernels without products, where float32 is exact whatever
// torch says about TF32.
template <typename Body>
const char* with_row_type(const at::Tensor& x, const Body& body) {
  if (x.scalar_type() == at::kHalf) return body(static_cast<F16*>(nullptr));
  if (x.scalar_type() == at::kBFloat16) return body(static_cast<BF16*>(nullptr));
  return body(static_cast<TF32*>(nullptr));
}

inline at::Tensor block_sddmm(const at::Tensor& q_in, const at::Tensor& k_in,
                              const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
                              double scale, prim::Stream stream) {
  check_heads(q_in, "q", kWithHalf);
  check_heads(k_in, "k", kWithHalf);
  check_same(k_in, "k", q_in, "q");
  check_shape(k_in, "k", q_in.sizes());
  check_pattern(crow, col, block_size, q_in.size(2));
  check_supported(q_in, "q", block_size);
  const at::Tensor q = with_16_byte_rows(q_in), k = with_16_byte_rows(k_in);
  const at::Tensor tiles =
      at::empty({q.size(0), q.size(1), col.size(0), block_size, block_size}, q.options());
  SddmmArgs args;
  args.blocks = block_list(q.size(0), q.size(1), crow, col, block_size);
  args.width = static_cast<int>(q.size(3));
  args.scale = static_cast<float>(scale);
  args.q = heads_view(q);
  args.k = heads_view(k);
  args.tiles = tiles.mutable_data_ptr();
  if (tiles.numel() > 0)
    check_pipeline_launch("block_sddmm", with_precision(q, [&]<class Math>(Math*) {
                            return launch_sddmm<Math>(args, stream);
                          }));
  return tiles;
}

inline std::tuple<at::Tensor, at::Tensor> block_softmax(
    const at::Tensor& scores_in, const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
    bool zero_logit, const std::optional<at::Tensor>& key_padding_mask, prim::Stream stream) {
  check_index(crow, "crow_indices");
  const int64_t length = (crow.size(0) - 1) * block_size;
  check_pattern(crow, col, block_size, length);
  check_tiles(scores_in, "scores", col.size(0), block_size);
  const int64_t batch = scores_in.size(0), heads = scores_in.size(1);
  if (key_padding_mask) check_key_padding_mask(*key_padding_mask, batch, length);
  const auto mask = key_padding_mask ? std::optional(key_padding_mask->contiguous()) : std::nullopt;
  const at::Tensor scores = aligned_tiles(scores_in);
  const at::Tensor probs = at::empty(scores.sizes(), scores.options());
  const at::Tensor lse = at::empty({batch, heads, length}, scores.options().dtype(at::kFloat));
  SoftmaxArgs args;
  args.blocks = block_list(batch, heads, crow, col, block_size);
  args.zero_logit = zero_logit;
  args.key_padding_mask = mask ? mask->const_data_ptr<bool>() : nullptr;
  args.scores = scores.const_data_ptr();
  args.probs = probs.mutable_data_ptr();
  args.lse = lse.mutable_data_ptr<float>();
  if (lse.numel() > 0)  // rows without tiles have a log-sum-exp too
    check_pipeline_launch("block_softmax", with_row_type(scores, [&]<class Math>(Math*) {
                            return launch_softmax<Math>(args, stream);
                          }));
  return {probs, lse};
}

inline at::Tensor block_softmax_backward(const at::Tensor& dprobs_in,
                                         const std::optional<at::Tensor>& dlse_in,
                                         const at::Tensor& probs_in, const at::Tensor& crow,
                                         int64_t block_size, prim::Stream stream) {
  check_index(crow, "crow_indices");
  check_block_size(block_size);
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
  SoftmaxBackwardArgs args;
  args.blocks = block_list(batch, heads, crow, probs.size(2), block_size);
  args.dprobs = dprobs.const_data_ptr();
  args.probs = probs.const_data_ptr();
  args.dlse = dlse ? dlse->const_data_ptr<float>() : nullptr;
  args.dscores = dscores.mutable_data_ptr();
  if (dscores.numel() > 0)
    check_pipeline_launch("block_softmax_backward", with_row_type(probs, [&]<class Math>(Math*) {
                            return launch_softmax_backward<Math>(args, stream);
                          }));
  return dscores;
}

// `tile_of`: null for the list by rows, which is in the order of the tiles.
inline at::Tensor multiply_tiles(const char* op, const at::Tensor& probs_in, const at::Tensor& v_in,
                                 const at::Tensor& begin, const at::Tensor& other,
                                 const int32_t* tile_of, int64_t block_size, prim::Stream stream) {
  check_heads(v_in, "v", kWithHalf);
  check_pattern(begin, other, block_size, v_in.size(2));
  check_supported(v_in, "v", block_size);
  check_same(probs_in, "probs", v_in, "v");
  check_shape(probs_in, "probs",
              {v_in.size(0), v_in.size(1), other.size(0), block_size, block_size});
  const at::Tensor probs = aligned_tiles(probs_in), v = with_16_byte_rows(v_in);
  const at::Tensor out = at::empty(v.sizes(), v.options());
  SpmmArgs args;
  args.blocks = block_list(v.size(0), v.size(1), begin, other, block_size);
  args.width = static_cast<int>(v.size(3));
  args.tile_of = tile_of;
  args.tiles = probs.const_data_ptr();
  args.v = heads_view(v);
  args.out = heads_view(out);
  if (out.numel() > 0)
    check_pipeline_launch(
        op, with_precision(v, [&]<class Math>(Math*) { return launch_spmm<Math>(args, stream); }));
  return without_padding(out, v_in.size(3));
}

inline at::Tensor block_spmm(const at::Tensor& probs, const at::Tensor& v, const at::Tensor& crow,
                             const at::Tensor& col, int64_t block_size, prim::Stream stream) {
  return multiply_tiles("block_spmm", probs, v, crow, col, nullptr, block_size, stream);
}

inline at::Tensor block_spmm_transposed(const at::Tensor& probs, const at::Tensor& v,
                                        const at::Tensor& t_crow, const at::Tensor& t_row,
                                        const at::Tensor& t_tile, int64_t block_size,
                                        prim::Stream stream) {
  check_index(t_tile, "t_tile_indices");
  check_shape(t_tile, "t_tile_indices", t_row.sizes());
  return multiply_tiles("block_spmm_transposed", probs, v, t_crow, t_row,
                        t_tile.const_data_ptr<int32_t>(), block_size, stream);
}

inline at::Tensor block_dropout(const at::Tensor& probs_in, const at::Tensor& crow,
                                const at::Tensor& col, int64_t block_size, double p, int64_t seed,
                                prim::Stream stream) {
  check_index(crow, "crow_indices");
  check_pattern(crow, col, block_size, (crow.size(0) - 1) * block_size);
  check_tiles(probs_in, "probs", col.size(0), block_size);
  const at::Tensor probs = aligned_tiles(probs_in);
  const at::Tensor out = at::empty(probs.sizes(), probs.options());
  DropoutArgs args;
  args.blocks = block_list(probs.size(0), probs.size(1), crow, col, block_size);
  args.dropout = make_dropout(p, seed);
  args.probs = probs.const_data_ptr();
  args.out = out.mutable_data_ptr();
  if (out.numel() > 0)
    check_pipeline_launch("block_dropout", with_row_type(probs, [&]<class Math>(Math*) {
                            return launch_dropout<Math>(args, stream);
                          }));
  return out;
}

}  // namespace spion_bench::cuda

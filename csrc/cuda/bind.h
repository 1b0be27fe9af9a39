// Fused block-sparse attention for torch tensors: checks, memory and the choice of a kernel, the
// same for a CUDA device and for the emulator. Bindings only add where to run.
//
// Nothing here reads device memory or waits for the device.
#pragma once

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>

#include "../checks.h"
#include "attention_launch.h"

namespace spion_bench::cuda {

constexpr int64_t kMaxWidth = 128;
constexpr int64_t kMaxBatchHeads = 65535;  // grid.y
// Columns are cut where fewer (batch, head)s than this would leave a long one running alone.
constexpr int64_t kFewBatchHeads = 16;
constexpr int64_t kShortestCut = 8;

inline void check_supported(const at::Tensor& x, const char* name, int64_t block_size) {
  const auto type = x.scalar_type();
  TORCH_CHECK(type == at::kFloat || type == at::kHalf || type == at::kBFloat16, name,
              ": expected float32, float16 or bfloat16, got ", type,
              "; the CUDA kernels have no other type, move the tensors to the CPU or cast them");
  TORCH_CHECK(x.size(3) <= kMaxWidth, name, ": expected a head width up to ", kMaxWidth,
              " on CUDA, got ", x.size(3), "; use more heads");
  TORCH_CHECK(block_size >= 16, "block_size: expected 16, 32, 64 or 128 on CUDA, got ", block_size,
              "; tensor cores work on 16 rows at a time");
  TORCH_CHECK(x.size(0) * x.size(1) <= kMaxBatchHeads, name, ": expected at most ", kMaxBatchHeads,
              " batch items times heads, got ", x.size(0) * x.size(1));
  TORCH_CHECK(x.size(2) <= std::numeric_limits<int32_t>::max(), name, ": sequence too long");
}

// x with a width that is a multiple of 16 bytes and rows that begin at multiples of 16 bytes: x
// itself if it is so already (any D of 8 halves or 4 floats, any such strides), else a copy.
inline at::Tensor with_16_byte_rows(at::Tensor x) {
  const int64_t multiple = 16 / x.element_size();
  if (const int64_t rest = x.size(3) % multiple; rest != 0)
    x = at::constant_pad_nd(x, {0, multiple - rest});
  bool fits = x.size(3) == 1 || x.stride(3) == 1;
  fits = fits && reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
  for (int dim = 0; dim < 3; ++dim)
    fits = fits && (x.size(dim) == 1 || x.stride(dim) % multiple == 0);
  return fits ? x : x.clone(at::MemoryFormat::Contiguous);
}

inline HeadsView heads_view(const at::Tensor& x) {
  return {const_cast<void*>(x.const_data_ptr()), x.stride(0), x.stride(1), x.stride(2)};
}

inline at::Tensor without_padding(const at::Tensor& x, int64_t width) {
  return x.size(3) == width ? x : x.narrow(3, 0, width).contiguous();
}

inline Dropout make_dropout(double p, int64_t seed) {
  TORCH_CHECK(p >= 0 && p < 1, "dropout_p: expected 0 <= p < 1, got ", p);
  const auto threshold = static_cast<uint32_t>(std::lround(p * 65536));
  TORCH_CHECK(threshold < 65536, "dropout_p: ", p, " rounds to 1 in 16 bits; use a smaller value");
  Dropout dropout;
  dropout.threshold = threshold;
  dropout.key[0] = static_cast<uint32_t>(seed);
  dropout.key[1] = static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32);
  dropout.keep_scale = static_cast<float>(65536.0 / (65536.0 - threshold));
  return dropout;
}

// The tensors that both passes are given, checked and ready for the kernels.
struct AttentionInputs {
  at::Tensor q, k, v;
  std::optional<at::Tensor> mask;
  AttentionArgs args;

  AttentionInputs(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                  const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
                  bool zero_logit, const std::optional<at::Tensor>& key_padding_mask, double scale,
                  double dropout_p, int64_t dropout_seed) {
    for (const auto& [x, name] : {std::pair{&q_in, "q"}, {&k_in, "k"}, {&v_in, "v"}}) {
      check_heads(*x, name, kWithHalf);
      check_same(*x, name, q_in, "q");
      check_shape(*x, name, q_in.sizes());
    }
    check_pattern(crow, col, block_size, q_in.size(2));
    check_supported(q_in, "q", block_size);
    if (key_padding_mask) {
      check_key_padding_mask(*key_padding_mask, q_in.size(0), q_in.size(2));
      mask = key_padding_mask->contiguous();
    }
    q = with_16_byte_rows(q_in);
    k = with_16_byte_rows(k_in);
    v = with_16_byte_rows(v_in);
    args.batch = static_cast<int>(q.size(0));
    args.heads = static_cast<int>(q.size(1));
    args.length = static_cast<int>(q.size(2));
    args.width = static_cast<int>(q.size(3));
    args.block_size = static_cast<int>(block_size);
    while (1 << args.block_log2 < block_size) ++args.block_log2;
    args.n_blocks = static_cast<int>(crow.size(0) - 1);
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

// body(static_cast<Math*>(nullptr)) with the precision for the type of x. float32 means 3xTF32
// unless torch is told to use TF32 for matrix products.
template <typename Body>
const char* with_precision(const at::Tensor& x, const Body& body) {
  if (x.scalar_type() == at::kHalf) return body(static_cast<F16*>(nullptr));
  if (x.scalar_type() == at::kBFloat16) return body(static_cast<BF16*>(nullptr));
  if (at::globalContext().allowTF32CuBLAS()) return body(static_cast<TF32*>(nullptr));
  return body(static_cast<TF32x3*>(nullptr));
}

inline void check_launch(const char* error) {
  TORCH_CHECK(error == nullptr, "block_attention: the kernel could not be launched: ", error);
}

inline std::tuple<at::Tensor, at::Tensor> attention_forward(AttentionInputs inputs, int64_t width,
                                                            prim::Stream stream) {
  const at::Tensor& q = inputs.q;
  const at::Tensor out = at::empty(q.sizes(), q.options());
  const at::Tensor lse =
      at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kFloat));
  inputs.args.out = heads_view(out);
  inputs.args.lse = lse.mutable_data_ptr<float>();
  if (q.numel() > 0)
    check_launch(with_precision(
        q, [&]<class Math>(Math*) { return launch_forward<Math>(inputs.args, stream); }));
  return {without_padding(out, width), lse};
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
  for (const auto& [x, name] : {std::pair{&given.t_crow, "t_crow_indices"},
                                {&given.t_row, "t_row_indices"},
                                {&given.t_tile, "t_tile_indices"}})
    check_index(*x, name);
  check_shape(given.t_crow, "t_crow_indices", {inputs.args.n_blocks + 1});
  check_shape(given.t_row, "t_row_indices", {inputs.args.nnzb});
  check_shape(given.t_tile, "t_tile_indices", {inputs.args.nnzb});
}

inline std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(
    AttentionInputs inputs, const AttentionGradients& given, int64_t width, prim::Stream stream) {
  AttentionArgs& args = inputs.args;
  const at::Tensor& q = inputs.q;
  const at::Tensor dout = with_16_byte_rows(given.dout), out = with_16_byte_rows(given.out);
  const at::Tensor lse = given.lse.contiguous();
  const auto dlse = given.dlse ? std::optional(given.dlse->contiguous()) : std::nullopt;
  const at::Tensor dq = at::empty(q.sizes(), q.options());
  const at::Tensor dk = at::empty(q.sizes(), q.options());
  const at::Tensor dv = at::empty(q.sizes(), q.options());
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
    bits = at::empty({batch_heads, args.nnzb, args.block_size, keep_words(args.block_size)},
                     q.options().dtype(at::kInt));
    args.keep_bits = reinterpret_cast<uint32_t*>(bits.mutable_data_ptr<int32_t>());
  }
  if (batch_heads < kFewBatchHeads) {
    const int64_t mean = (args.nnzb + args.n_blocks - 1) / args.n_blocks;
    args.cut_every = static_cast<int>(std::max(kShortestCut, 4 * mean));
    parts = at::empty(
        {batch_heads, 2 * n_cuts(args.nnzb, args.cut_every), 2, args.block_size, args.width},
        floats);
    args.parts = parts.mutable_data_ptr<float>();
  }
  if (q.numel() > 0)
    check_launch(
        with_precision(q, [&]<class Math>(Math*) { return launch_backward<Math>(args, stream); }));
  return {without_padding(dq, width), without_padding(dk, width), without_padding(dv, width)};
}

}  // namespace spion_bench::cuda

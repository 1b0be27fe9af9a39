// Fused block-sparse attention on the CPU: checks, memory, threads and registration. How work is
// cut is in block_attention_scheme.h, the arithmetic in block_attention_kernel.h.

#include <torch/library.h>

#include <tuple>

#include "../padding.h"
#include "block_attention_scheme.h"
#include "common/binding.h"

namespace spion_bench::cpu {
namespace {

// The tensors and options of either pass, checked and ready for the kernels: lengths and widths
// padded with zeros to whole blocks and vectors, the padding of keys masked.
struct AttentionInputs {
  AttentionSizes sizes;
  at::Tensor q, k, v;
  std::optional<at::Tensor> mask;
  const int32_t *crow, *col;
  int64_t block_size, groups;
  bool causal, zero_logit;
  double scale;
  Dropout dropout;

  AttentionInputs(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                  const at::Tensor& crow_in, const at::Tensor& col_in, const at::Tensor& t_crow,
                  int64_t block_size, int64_t groups, bool causal, bool zero_logit,
                  const std::optional<at::Tensor>& key_padding_mask, double scale, double dropout_p,
                  int64_t dropout_seed)
      : sizes(check_attention(q_in, k_in, v_in, crow_in, col_in, t_crow, block_size, groups, causal,
                              key_padding_mask, scale)),
        q(pad_blocks(pad_width(q_in), block_size)),
        k(pad_blocks(pad_width(k_in), block_size)),
        v(pad_blocks(pad_width(v_in), block_size)),
        crow(crow_in.const_data_ptr<int32_t>()),
        col(col_in.const_data_ptr<int32_t>()),
        block_size(block_size),
        groups(groups),
        causal(causal),
        zero_logit(zero_logit),
        scale(scale),
        dropout(make_dropout(dropout_p, dropout_seed)) {
    check_list_values(crow_in, col_in, sizes.pattern_columns, kByRow);
    mask = pad_mask(key_padding_mask, sizes.batch, sizes.key_length, k.size(2), q.options());
  }
};

// body(problem) for the heads of each group, with what both passes are given.
template <typename E, typename Body>
void for_each_group(const AttentionInputs& inputs, const Body& body) {
  const AttentionSizes& sizes = inputs.sizes;
  AttentionProblem<E> problem;
  auto& args = problem.args;
  args.batch = sizes.batch;
  args.heads = sizes.heads;
  args.length = inputs.q.size(2);
  args.width = inputs.q.size(3);
  args.key_length = inputs.k.size(2);
  args.n_keys = sizes.key_length;
  args.heads_per_kv = sizes.heads / sizes.kv_heads;
  args.causal = inputs.causal;
  args.block_size = inputs.block_size;
  args.key_padding_mask = inputs.mask ? inputs.mask->const_data_ptr<bool>() : nullptr;
  args.scale = inputs.scale;
  args.zero_logit = inputs.zero_logit;
  args.dropout = inputs.dropout;
  problem.q = view_in<E>(inputs.q);
  problem.k = view_in<E>(inputs.k);
  problem.v = view_in<E>(inputs.v);
  problem.group_heads = sizes.heads / inputs.groups;
  for (int64_t group = 0; group < inputs.groups; ++group) {
    const ExistingBlocks blocks(inputs.crow + group * sizes.pattern_rows, inputs.col,
                                sizes.row_blocks, sizes.column_blocks, inputs.causal);
    args.crow = blocks.crow.data();
    args.col = blocks.col.data();
    problem.first_head = group * problem.group_heads;
    body(problem);
  }
}

template <typename E>
void run_forward(AttentionProblem<E> problem, at::Tensor& out, at::Tensor& lse) {
  using T = Compute<E>;
  problem.out = view_out<E>(out);
  problem.args.lse = lse.mutable_data_ptr<T>();
  const AttentionScheme scheme(problem);
  const Scratch<T> scratch(scheme_scratch<E>(problem.args, /*backward=*/false));
  for_each_unit(scheme.units(), [&](int64_t unit, int thread) {
    forward_unit(problem, scheme, unit, scratch.of(thread));
  });
}

template <typename E>
void run_backward(AttentionProblem<E> problem, const at::Tensor& dout, const at::Tensor& out,
                  const at::Tensor& lse, const std::optional<at::Tensor>& dlse, at::Tensor& dq,
                  at::Tensor& dk, at::Tensor& dv) {
  using T = Compute<E>;
  problem.dout = view_in<E>(dout);
  problem.out_given = view_in<E>(out);
  problem.dq = view_out<E>(dq);
  problem.dk = view_out<E>(dk);
  problem.dv = view_out<E>(dv);
  // The kernels only read lse here; the struct has one field for both passes.
  problem.args.lse = const_cast<T*>(lse.const_data_ptr<T>());
  problem.args.dlse = dlse ? dlse->const_data_ptr<T>() : nullptr;
  const AttentionScheme scheme(problem);
  const Scratch<T> scratch(scheme_scratch<E>(problem.args, /*backward=*/true));
  const int64_t tile = problem.args.block_size * problem.args.width;
  const std::vector<int64_t> parts_shape{scheme.batch_heads, scheme.slots, tile};
  const at::Tensor dk_tensor = empty_result(parts_shape, lse.options());
  const at::Tensor dv_tensor = empty_result(parts_shape, lse.options());
  T* dk_parts = dk_tensor.mutable_data_ptr<T>();
  T* dv_parts = dv_tensor.mutable_data_ptr<T>();
  for_each_unit(scheme.units(), [&](int64_t unit, int thread) {
    backward_unit(problem, scheme, unit, dk_parts, dv_parts, scratch.of(thread));
  });
  const auto n_shared = static_cast<int64_t>(scheme.shared.size());
  for_each_unit(scheme.batch_heads * n_shared, [&](int64_t index, int thread) {
    add_chunks(problem, scheme, index, dk_parts, problem.dk, scratch.of(thread));
    add_chunks(problem, scheme, index, dv_parts, problem.dv, scratch.of(thread));
  });
}

// Calls body(E{}) with the stored type of `x`.
template <typename Body>
void dispatch(const at::Tensor& x, const Body& body) {
  switch (x.scalar_type()) {
    case at::kDouble:
      return body(double{});
    case at::kBFloat16:
      return body(BFloat16{});
    case at::kHalf:
      return body(Float16{});
    default:
      return body(float{});
  }
}

at::TensorOptions lse_options(const at::Tensor& q) {
  return q.options().dtype(q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

std::tuple<at::Tensor, at::Tensor> block_attention_forward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& crow,
    const at::Tensor& col, const at::Tensor& t_crow, const at::Tensor& /*t_row*/,
    const at::Tensor& /*t_tile*/, int64_t block_size, int64_t groups, bool causal, bool zero_logit,
    const std::optional<at::Tensor>& key_padding_mask, double scale, double dropout_p,
    int64_t dropout_seed) {
  const AttentionInputs inputs(q, k, v, crow, col, t_crow, block_size, groups, causal, zero_logit,
                               key_padding_mask, scale, dropout_p, dropout_seed);
  at::Tensor out = empty_result(inputs.q.sizes(), q.options());
  at::Tensor lse = at::empty({q.size(0), q.size(1), inputs.q.size(2)}, lse_options(q));
  if (q.numel() > 0)
    dispatch(q, [&](auto element) {
      for_each_group<decltype(element)>(
          inputs, [&](const auto& problem) { run_forward(problem, out, lse); });
    });
  return {unpad(out, q.size(2), q.size(3)), lse.narrow(2, 0, q.size(2)).contiguous()};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> block_attention_backward(
    const at::Tensor& dout, const std::optional<at::Tensor>& dlse, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const at::Tensor& crow, const at::Tensor& col, const at::Tensor& t_crow,
    const at::Tensor& /*t_row*/, const at::Tensor& /*t_tile*/, int64_t block_size, int64_t groups,
    bool causal, bool zero_logit, const std::optional<at::Tensor>& key_padding_mask, double scale,
    double dropout_p, int64_t dropout_seed) {
  const AttentionInputs inputs(q, k, v, crow, col, t_crow, block_size, groups, causal, zero_logit,
                               key_padding_mask, scale, dropout_p, dropout_seed);
  for (const auto& [x, name] : {std::pair{&dout, "dout"}, std::pair{&out, "out"}}) {
    check_same(*x, name, q, "q");
    check_shape(*x, name, q.sizes());
  }
  check_shape(lse, "lse", {q.size(0), q.size(1), q.size(2)});
  check_dtype(lse, "lse", lse_options(q).dtype());
  if (dlse) check_shape(*dlse, "dlse", lse.sizes());
  if (dlse) check_dtype(*dlse, "dlse", lse.dtype());
  const auto padded = [&](const at::Tensor& x) {
    return pad_blocks(pad_width(x.stride(3) == 1 ? x : x.contiguous()), block_size);
  };
  const at::Tensor dout_ = padded(dout), out_ = padded(out.contiguous());
  // Queries that fill the last block have dout = 0 and a finite lse, so they add nothing.
  const at::Tensor lse_ = pad_blocks(lse, block_size).contiguous();
  const auto dlse_ =
      dlse ? std::optional(pad_blocks(*dlse, block_size).contiguous()) : std::nullopt;
  at::Tensor dq = empty_result(inputs.q.sizes(), q.options());
  // A head of k and v has a gradient from each head of q that it serves.
  const std::vector<int64_t> by_head{q.size(0), q.size(1), inputs.k.size(2), inputs.k.size(3)};
  at::Tensor dk = empty_result(by_head, q.options());
  at::Tensor dv = empty_result(by_head, q.options());
  if (q.numel() == 0) {
    dk.zero_();
    dv.zero_();
  } else {
    dispatch(q, [&](auto element) {
      for_each_group<decltype(element)>(inputs, [&](const auto& problem) {
        run_backward(problem, dout_, out_, lse_, dlse_, dq, dk, dv);
      });
    });
  }
  return {unpad(dq, q.size(2), q.size(3)), unpad(sum_heads(dk, k.size(1)), k.size(2), k.size(3)),
          unpad(sum_heads(dv, k.size(1)), k.size(2), k.size(3))};
}

}  // namespace
}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) {
  m.impl("block_attention_forward", &spion_bench::cpu::block_attention_forward);
  m.impl("block_attention_backward", &spion_bench::cpu::block_attention_backward);
}

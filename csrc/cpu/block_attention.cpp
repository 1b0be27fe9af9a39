// Fused block-sparse attention on the CPU: checks, memory, threads and registration. How work is
// cut is in block_attention_scheme.h, the arithmetic in block_attention_kernel.h.

#include <torch/library.h>

#include <tuple>

#include "block_attention_scheme.h"
#include "common/binding.h"

namespace spion_bench::cpu {
namespace {

void check_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
                     const std::optional<at::Tensor>& mask, double scale) {
  check_heads(q, "q", kWithHalf);
  check_heads(k, "k", kWithHalf);
  check_heads(v, "v", kWithHalf);
  check_same(k, "k", q, "q");
  check_same(v, "v", q, "q");
  check_shape(k, "k", q.sizes());
  check_shape(v, "v", q.sizes());
  check_pattern(crow, col, block_size, q.size(2));
  check_list_values(crow, col);
  if (mask) check_key_padding_mask(*mask, q.size(0), q.size(2));
  check_scale(scale);
}

std::optional<at::Tensor> contiguous(const std::optional<at::Tensor>& x) {
  return x ? std::optional<at::Tensor>(x->contiguous()) : std::nullopt;
}

// Everything but the tensors themselves.
struct Options {
  at::Tensor crow, col;
  int64_t block_size;
  bool zero_logit;
  std::optional<at::Tensor> mask;
  double scale;
  Dropout dropout;
};

template <typename E>
AttentionProblem<E> make_problem(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const Options& options) {
  AttentionProblem<E> problem;
  auto& args = problem.args;
  args.batch = q.size(0);
  args.heads = q.size(1);
  args.length = q.size(2);
  args.width = q.size(3);
  args.block_size = options.block_size;
  args.crow = options.crow.const_data_ptr<int32_t>();
  args.col = options.col.const_data_ptr<int32_t>();
  args.key_padding_mask = options.mask ? options.mask->const_data_ptr<bool>() : nullptr;
  args.scale = options.scale;
  args.zero_logit = options.zero_logit;
  args.dropout = options.dropout;
  problem.q = view_in<E>(q);
  problem.k = view_in<E>(k);
  problem.v = view_in<E>(v);
  return problem;
}

template <typename E>
void run_forward(AttentionProblem<E> problem, at::Tensor& out, at::Tensor& lse) {
  using T = Compute<E>;
  problem.out = view_out<E>(out);
  problem.args.lse = lse.mutable_data_ptr<T>();
  const AttentionScheme scheme(problem.args);
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
  const AttentionScheme scheme(problem.args);
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
    const at::Tensor& col, const at::Tensor& /*t_crow*/, const at::Tensor& /*t_row*/,
    const at::Tensor& /*t_tile*/, int64_t block_size, bool zero_logit,
    const std::optional<at::Tensor>& key_padding_mask, double scale, double dropout_p,
    int64_t dropout_seed) {
  check_attention(q, k, v, crow, col, block_size, key_padding_mask, scale);
  const Options options{crow,
                        col,
                        block_size,
                        zero_logit,
                        contiguous(key_padding_mask),
                        scale,
                        make_dropout(dropout_p, dropout_seed)};
  const at::Tensor q_ = pad_width(q), k_ = pad_width(k), v_ = pad_width(v);
  at::Tensor out = empty_result(q_.sizes(), q.options());
  at::Tensor lse = at::empty({q.size(0), q.size(1), q.size(2)}, lse_options(q));
  if (q.numel() > 0)
    dispatch(q, [&](auto element) {
      run_forward(make_problem<decltype(element)>(q_, k_, v_, options), out, lse);
    });
  return {unpad_width(out, q.size(3)), lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> block_attention_backward(
    const at::Tensor& dout, const std::optional<at::Tensor>& dlse, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const at::Tensor& crow, const at::Tensor& col, const at::Tensor& /*t_crow*/,
    const at::Tensor& /*t_row*/, const at::Tensor& /*t_tile*/, int64_t block_size, bool zero_logit,
    const std::optional<at::Tensor>& key_padding_mask, double scale, double dropout_p,
    int64_t dropout_seed) {
  check_attention(q, k, v, crow, col, block_size, key_padding_mask, scale);
  for (const auto& [x, name] : {std::pair{&dout, "dout"}, std::pair{&out, "out"}}) {
    check_same(*x, name, q, "q");
    check_shape(*x, name, q.sizes());
  }
  check_shape(lse, "lse", {q.size(0), q.size(1), q.size(2)});
  check_dtype(lse, "lse", lse_options(q).dtype());
  if (dlse) check_shape(*dlse, "dlse", lse.sizes());
  if (dlse) check_dtype(*dlse, "dlse", lse.dtype());
  const Options options{crow,
                        col,
                        block_size,
                        zero_logit,
                        contiguous(key_padding_mask),
                        scale,
                        make_dropout(dropout_p, dropout_seed)};
  const at::Tensor q_ = pad_width(q), k_ = pad_width(k), v_ = pad_width(v);
  const at::Tensor dout_ = pad_width(dout.stride(3) == 1 ? dout : dout.contiguous());
  const at::Tensor out_ = pad_width(out.contiguous());
  const at::Tensor lse_ = lse.contiguous();
  const auto dlse_ = contiguous(dlse);
  at::Tensor dq = empty_result(q_.sizes(), q.options());
  at::Tensor dk = empty_result(q_.sizes(), q.options());
  at::Tensor dv = empty_result(q_.sizes(), q.options());
  if (q.numel() > 0)
    dispatch(q, [&](auto element) {
      run_backward(make_problem<decltype(element)>(q_, k_, v_, options), dout_, out_, lse_, dlse_,
                   dq, dk, dv);
    });
  const int64_t width = q.size(3);
  return {unpad_width(dq, width), unpad_width(dk, width), unpad_width(dv, width)};
}

}  // namespace
}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) {
  m.impl("block_attention_forward", &spion_bench::cpu::block_attention_forward);
  m.impl("block_attention_backward", &spion_bench::cpu::block_attention_backward);
}

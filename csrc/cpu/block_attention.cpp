// Fused block-sparse attention on the CPU: threads, memory and registration. The arithmetic is in
// block_attention_kernel.h.
//
// Work is split by (batch, head) and, when those are few, also into chunks of block rows with about
// equal numbers of blocks. The split depends on shape and pattern only, so results do not depend on
// the number of threads. In the backward pass each chunk sums dk and dv into tiles of its own,
// which are then added in the order of the chunks: no atomics.

#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <numeric>
#include <tuple>
#include <vector>

#include "binding.h"

namespace spion_bench::cpu {
namespace {

constexpr int64_t kMinUnits = 32;  // enough pieces to balance any CPU at a small overhead

// Block-row bounds of the chunks that one (batch, head) is split into.
std::vector<int64_t> split_rows(const int32_t* crow, int64_t nb, int64_t batch_heads) {
  const int64_t chunks = std::clamp<int64_t>((kMinUnits + batch_heads - 1) / batch_heads, 1, nb);
  const int64_t total = crow[nb] + nb;  // a row costs its blocks and a little for itself
  std::vector<int64_t> bounds{0};
  for (int64_t r = 1; r < nb; ++r) {
    const auto next = static_cast<int64_t>(bounds.size());
    if ((crow[r] + r) * chunks >= next * total && next < chunks) bounds.push_back(r);
  }
  bounds.push_back(nb);
  return bounds;
}

// For every chunk, the tile that each block column's dk and dv are summed in (-1: untouched).
struct ColumnSlots {
  std::vector<int32_t> slot;  // [chunks][nb]
  int64_t count = 0;

  ColumnSlots(const std::vector<int64_t>& bounds, const int32_t* crow, const int32_t* col,
              int64_t nb) {
    const auto chunks = static_cast<int64_t>(bounds.size()) - 1;
    slot.assign(chunks * nb, -1);
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      for (int64_t t = crow[bounds[chunk]]; t < crow[bounds[chunk + 1]]; ++t) {
        int32_t& s = slot[chunk * nb + col[t]];
        if (s < 0) s = static_cast<int32_t>(count++);
      }
  }
};

template <typename T>
AttentionArgs<T> make_args(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
                           bool zero_logit, const std::optional<at::Tensor>& mask, double scale,
                           const Dropout& dropout) {
  AttentionArgs<T> args;
  args.batch = q.size(0);
  args.heads = q.size(1);
  args.length = q.size(2);
  args.width = q.size(3);
  args.block_size = block_size;
  args.crow = crow.const_data_ptr<int32_t>();
  args.col = col.const_data_ptr<int32_t>();
  args.key_padding_mask = mask ? mask->const_data_ptr<bool>() : nullptr;
  args.scale = scale;
  args.zero_logit = zero_logit;
  args.dropout = dropout;
  args.q = view_in<T>(q);
  args.k = view_in<T>(k);
  args.v = view_in<T>(v);
  return args;
}

void check_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
                     const std::optional<at::Tensor>& mask) {
  check_heads(q, "q");
  check_heads(k, "k");
  check_heads(v, "v");
  check_same(k, "k", q, "q");
  check_same(v, "v", q, "q");
  check_shape(k, "k", q.sizes());
  check_shape(v, "v", q.sizes());
  check_pattern(crow, col, block_size, q.size(2));
  check_pattern_values(crow, col);
  if (mask) check_key_padding_mask(*mask, q.size(0), q.size(2));
}

std::optional<at::Tensor> contiguous(const std::optional<at::Tensor>& x) {
  return x ? std::optional<at::Tensor>(x->contiguous()) : std::nullopt;
}

template <typename T>
void run_forward(AttentionArgs<T> args, at::Tensor& out, at::Tensor& lse) {
  args.out = view_out<T>(out);
  args.lse = lse.mutable_data_ptr<T>();
  const int64_t batch_heads = args.batch * args.heads;
  const auto bounds = split_rows(args.crow, args.length / args.block_size, batch_heads);
  const auto chunks = static_cast<int64_t>(bounds.size()) - 1;
  const Scratch<T> scratch(attention_scratch(args.width, args.block_size), out);
  for_each_unit(batch_heads * chunks, [&](int64_t unit, int thread) {
    const int64_t bh = unit / chunks, chunk = unit % chunks;
    kernels_of<T>().attention_forward(args, bh / args.heads, bh % args.heads, bounds[chunk],
                                      bounds[chunk + 1], scratch.of(thread));
  });
}

// dk and dv of every block column: the sum of its chunks' tiles, in the order of the chunks.
template <typename T>
void add_chunks(const AttentionArgs<T>& args, const ColumnSlots& slots, int64_t chunks,
                const T* tiles, T* grad) {
  const int64_t nb = args.length / args.block_size;
  const int64_t tile = args.block_size * args.width;
  for_each_unit(args.batch * args.heads * nb, [&](int64_t unit, int) {
    const int64_t bh = unit / nb, column = unit % nb;
    T* sum = grad + unit * tile;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int32_t slot = slots.slot[chunk * nb + column];
      if (slot < 0) continue;
      const T* part = tiles + (bh * slots.count + slot) * tile;
      for (int64_t i = 0; i < tile; ++i) sum[i] += part[i];
    }
  });
}

template <typename T>
void run_backward(AttentionArgs<T> args, at::Tensor& dq, at::Tensor& dk, at::Tensor& dv) {
  args.dq = view_out<T>(dq);
  const int64_t batch_heads = args.batch * args.heads, nb = args.length / args.block_size;
  const auto bounds = split_rows(args.crow, nb, batch_heads);
  const auto chunks = static_cast<int64_t>(bounds.size()) - 1;
  const Scratch<T> scratch(attention_scratch(args.width, args.block_size), dq);
  const int64_t head = args.length * args.width;
  if (chunks == 1) {
    for_each_unit(batch_heads, [&](int64_t bh, int thread) {
      const ColumnTiles<T> columns{dk.mutable_data_ptr<T>() + bh * head,
                                   dv.mutable_data_ptr<T>() + bh * head, nullptr};
      kernels_of<T>().attention_backward(args, bh / args.heads, bh % args.heads, 0, nb, columns,
                                         scratch.of(thread));
    });
    return;
  }
  const ColumnSlots slots(bounds, args.crow, args.col, nb);
  const int64_t tiles = slots.count * args.block_size * args.width;
  const at::Tensor dk_tiles = at::zeros({batch_heads, tiles}, dq.options());
  const at::Tensor dv_tiles = at::zeros({batch_heads, tiles}, dq.options());
  for_each_unit(batch_heads * chunks, [&](int64_t unit, int thread) {
    const int64_t bh = unit / chunks, chunk = unit % chunks;
    const ColumnTiles<T> columns{dk_tiles.mutable_data_ptr<T>() + bh * tiles,
                                 dv_tiles.mutable_data_ptr<T>() + bh * tiles,
                                 slots.slot.data() + chunk * nb};
    kernels_of<T>().attention_backward(args, bh / args.heads, bh % args.heads, bounds[chunk],
                                       bounds[chunk + 1], columns, scratch.of(thread));
  });
  add_chunks<T>(args, slots, chunks, dk_tiles.const_data_ptr<T>(), dk.mutable_data_ptr<T>());
  add_chunks<T>(args, slots, chunks, dv_tiles.const_data_ptr<T>(), dv.mutable_data_ptr<T>());
}

std::tuple<at::Tensor, at::Tensor> block_attention_forward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& crow,
    const at::Tensor& col, int64_t block_size, bool zero_logit,
    const std::optional<at::Tensor>& key_padding_mask, double scale, double dropout_p,
    int64_t dropout_seed) {
  check_attention(q, k, v, crow, col, block_size, key_padding_mask);
  const Dropout dropout = make_dropout(dropout_p, dropout_seed);
  const at::Tensor q_ = pad_width(q), k_ = pad_width(k), v_ = pad_width(v);
  const auto mask = contiguous(key_padding_mask);
  at::Tensor out = at::empty(q_.sizes(), q.options());
  at::Tensor lse = at::empty({q.size(0), q.size(1), q.size(2)}, q.options());
  if (q.numel() > 0) {
    if (q.scalar_type() == at::kFloat)
      run_forward(
          make_args<float>(q_, k_, v_, crow, col, block_size, zero_logit, mask, scale, dropout),
          out, lse);
    else
      run_forward(
          make_args<double>(q_, k_, v_, crow, col, block_size, zero_logit, mask, scale, dropout),
          out, lse);
  }
  return {unpad_width(out, q.size(3)), lse};
}

template <typename T>
void backward_as(AttentionArgs<T> args, const at::Tensor& dout, const at::Tensor& out,
                 const at::Tensor& lse, const std::optional<at::Tensor>& dlse, at::Tensor& dq,
                 at::Tensor& dk, at::Tensor& dv) {
  args.dout = view_in<T>(dout);
  // The kernels only read out and lse here; the struct has one field for both passes.
  args.out = {const_cast<T*>(out.const_data_ptr<T>()), out.stride(0), out.stride(1), out.stride(2)};
  args.lse = const_cast<T*>(lse.const_data_ptr<T>());
  args.dlse = dlse ? dlse->const_data_ptr<T>() : nullptr;
  run_backward(args, dq, dk, dv);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> block_attention_backward(
    const at::Tensor& dout, const std::optional<at::Tensor>& dlse, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const at::Tensor& crow, const at::Tensor& col, const at::Tensor& /*t_crow*/,
    const at::Tensor& /*t_row*/, const at::Tensor& /*t_tile*/, int64_t block_size, bool zero_logit,
    const std::optional<at::Tensor>& key_padding_mask, double scale, double dropout_p,
    int64_t dropout_seed) {
  check_attention(q, k, v, crow, col, block_size, key_padding_mask);
  for (const auto& [x, name] : {std::pair{&dout, "dout"}, std::pair{&out, "out"}}) {
    check_same(*x, name, q, "q");
    check_shape(*x, name, q.sizes());
  }
  check_shape(lse, "lse", {q.size(0), q.size(1), q.size(2)});
  if (dlse) check_shape(*dlse, "dlse", lse.sizes());
  const Dropout dropout = make_dropout(dropout_p, dropout_seed);
  const at::Tensor q_ = pad_width(q), k_ = pad_width(k), v_ = pad_width(v);
  const at::Tensor dout_ = pad_width(dout.stride(3) == 1 ? dout : dout.contiguous());
  const at::Tensor out_ = pad_width(out.contiguous());
  const at::Tensor lse_ = lse.contiguous();
  const auto mask = contiguous(key_padding_mask);
  const auto dlse_ = contiguous(dlse);
  at::Tensor dq = at::empty(q_.sizes(), q.options());
  at::Tensor dk = at::zeros(q_.sizes(), q.options());
  at::Tensor dv = at::zeros(q_.sizes(), q.options());
  if (q.numel() > 0) {
    if (q.scalar_type() == at::kFloat)
      backward_as(
          make_args<float>(q_, k_, v_, crow, col, block_size, zero_logit, mask, scale, dropout),
          dout_, out_, lse_, dlse_, dq, dk, dv);
    else
      backward_as(
          make_args<double>(q_, k_, v_, crow, col, block_size, zero_logit, mask, scale, dropout),
          dout_, out_, lse_, dlse_, dq, dk, dv);
  }
  const int64_t width = q.size(3);
  return {unpad_width(dq, width), unpad_width(dk, width), unpad_width(dv, width)};
}

}  // namespace
}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) {
  m.impl("block_attention_forward", &spion_bench::cpu::block_attention_forward);
  m.impl("block_attention_backward", &spion_bench::cpu::block_attention_backward);
}

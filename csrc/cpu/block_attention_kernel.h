// Fused block-sparse attention on one (batch, head): online softmax over a block row's tiles,
// log-sum-exp kept for the backward pass, nothing of size [L, L] stored.
//
// Mapping: a panel of query rows lies along the vector lanes and everything is transposed:
//   S^T = K Q^T,  P^T = 2^(S^T - m),  O^T += V^T P^T          (forward)
//   dV += P^T dO,  dS^T = P^T (V dO^T - delta),  dK += dS^T Q,  dQ^T += K^T dS^T   (backward)
// so K and V are read in place by broadcasts and the softmax is vertical. Scores are kept in base-2
// units (q is scaled by scale * log2 e once, when it is packed).
//
// Cost per kept block: 4 * D * S^2 FLOPs forward, 10 * D * S^2 backward. Test: tests/ops/
// test_block_attention.py. Time:
// the kernel pass of any profile.
#pragma once

#include "common/kernels.h"
#include "common/philox.h"
#include "common/tile.h"

namespace spion_bench::cpu::SPION_ISA {

template <typename T>
constexpr T kInfinity = static_cast<T>(__builtin_inf());

// One block row of one (batch, head), as the panels below see it.
template <typename T>
struct Row {
  const AttentionArgs<T>& args;
  int64_t b, h, block;
  const T *q, *k, *v;
  const bool* mask;  // this batch item's keys, or null

  Row(const AttentionArgs<T>& a, int64_t batch, int64_t head, int64_t row)
      : args(a),
        b(batch),
        h(head),
        block(row),
        q(a.q.at(batch, head)),
        k(a.k.at(batch, head / a.heads_per_kv)),
        v(a.v.at(batch, head / a.heads_per_kv)),
        mask(a.key_padding_mask ? a.key_padding_mask + batch * a.key_length : nullptr) {}

  int64_t bh() const { return b * args.heads + h; }
  int64_t first_tile() const { return args.crow[block]; }
  int64_t last_tile() const { return args.crow[block + 1]; }
  // Scores of a query that exist outside the kept blocks. Only the last block of the list can reach
  // beyond the keys that the query sees.
  int64_t absent(int64_t query) const {
    const int64_t seen = args.causal ? query + 1 : args.n_keys;
    int64_t stored = (last_tile() - first_tile()) * args.block_size;
    if (stored == 0) return seen;
    const int64_t end = (args.col[last_tile() - 1] + 1) * args.block_size;
    if (end > seen) stored -= end - seen;
    return seen - stored;
  }
};

// S^T of one panel and one key block; scores of padded keys, and of keys that a query does not see,
// become -infinity.
template <typename T, int W, int NV>
inline void scores_panel(const Row<T>& row, int64_t query, int64_t key, const T* q_panel,
                         T* scores) {
  constexpr int P = W * NV;
  const AttentionArgs<T>& args = row.args;
  const int64_t stride = args.k.row_stride;
  product<T, W, false>(args.block_size, P, args.width, row.k + key * stride, stride, 1, q_panel, P,
                       scores, P);
  if (args.causal && key + args.block_size > query)
    for (int64_t j = 0; j < args.block_size; ++j)
      for (int64_t i = 0; i < P && query + i < key + j; ++i) scores[j * P + i] = -kInfinity<T>;
  if (row.mask == nullptr) return;
  for (int64_t j = 0; j < args.block_size; ++j)
    if (!row.mask[key + j])
      for (int n = 0; n < NV; ++n) store<T, W>(scores + j * P + n * W, splat<T, W>(-kInfinity<T>));
}

// One step of the online softmax on W query rows: scores become 2^(score - maximum).
// Returns the factor by which everything summed so far has to be rescaled.
template <typename T, int W>
inline Vec<T, W> softmax_step(int64_t keys, int64_t stride, T* scores, T* maximum, T* denominator) {
  const Vec<T, W> before = load<T, W>(maximum);
  Vec<T, W> highest = before;
  for (int64_t j = 0; j < keys; ++j) highest = max<T, W>(highest, load<T, W>(scores + j * stride));
  store<T, W>(maximum, highest);
  // A row without a finite score yet has maximum -infinity; 0 keeps -inf - base from being NaN.
  const Vec<T, W> zero = {};
  const Vec<T, W> base = highest == splat<T, W>(-kInfinity<T>) ? zero : highest;
  const Vec<T, W> rescale = exp2<T, W>(before - base);
  Vec<T, W> total = load<T, W>(denominator) * rescale;
  for (int64_t j = 0; j < keys; ++j) {
    const Vec<T, W> p = exp2<T, W>(load<T, W>(scores + j * stride) - base);
    total += p;
    store<T, W>(scores + j * stride, p);
  }
  store<T, W>(denominator, total);
  return rescale;
}

// values[j][i] *= keep factor, for the S keys from `key` and W query rows from `query`.
template <typename T, int W>
inline void apply_dropout(const Row<T>& row, int64_t query, int64_t key, T* values,
                          int64_t stride) {
  T factors[8 * W];
  for (int64_t j = 0; j < row.args.block_size; j += 8) {
    dropout_factors<T, W>(row.args.dropout, query, key + j, row.bh(), factors, W);
    for (int jj = 0; jj < 8; ++jj) {
      T* value = values + (j + jj) * stride;
      store<T, W>(value, load<T, W>(value) * load<T, W>(factors + jj * W));
    }
  }
}

template <typename T, int W, int NV>
inline void forward_panel(const Row<T>& row, int64_t query, T* scratch) {
  constexpr int P = W * NV;
  const AttentionArgs<T>& args = row.args;
  const int64_t S = args.block_size, D = args.width;
  T* q_panel = scratch;
  T* out_panel = q_panel + D * P;
  T* scores = out_panel + D * P;
  T* maximum = scores + S * P;
  T* denominator = maximum + P;

  transpose<T, W>(P, D, row.q + query * args.q.row_stride, args.q.row_stride, q_panel, P,
                  static_cast<T>(args.scale * kLog2E));
  // Pruned scores count as logits of 0: the softmax starts from their maximum and their count.
  for (int i = 0; i < P; ++i) {
    const int64_t absent = args.zero_logit ? row.absent(query + i) : 0;
    maximum[i] = absent > 0 ? T{0} : -kInfinity<T>;
    denominator[i] = static_cast<T>(absent);
  }
  for (int64_t i = 0; i < D * P; ++i) out_panel[i] = T{0};

  for (int64_t tile = row.first_tile(); tile < row.last_tile(); ++tile) {
    const int64_t key = args.col[tile] * S;
    scores_panel<T, W, NV>(row, query, key, q_panel, scores);
    for (int n = 0; n < NV; ++n) {
      const Vec<T, W> rescale =
          softmax_step<T, W>(S, P, scores + n * W, maximum + n * W, denominator + n * W);
      for (int64_t d = 0; d < D; ++d) {
        T* value = out_panel + d * P + n * W;
        store<T, W>(value, load<T, W>(value) * rescale);
      }
      if (args.dropout.enabled) apply_dropout<T, W>(row, query + n * W, key, scores + n * W, P);
    }
    const int64_t stride = args.v.row_stride;
    product<T, W, true>(D, P, S, row.v + key * stride, 1, stride, scores, P, out_panel, P);
  }

  T* lse = args.lse + row.bh() * args.length + query;
  for (int i = 0; i < P; ++i) {
    const bool empty = denominator[i] == T{0};
    lse[i] =
        empty ? kInfinity<T> : static_cast<T>((maximum[i] + __builtin_log2(denominator[i])) * kLn2);
    denominator[i] = empty ? T{0} : T{1} / denominator[i];
  }
  for (int64_t d = 0; d < D; ++d)
    for (int n = 0; n < NV; ++n) {
      T* value = out_panel + d * P + n * W;
      store<T, W>(value, load<T, W>(value) * load<T, W>(denominator + n * W));
    }
  transpose<T, W>(D, P, out_panel, P, args.out.at(row.b, row.h) + query * args.out.row_stride,
                  args.out.row_stride, T{1});
}

// delta = sum_d dout * out - dlse: what the softmax's backward pass subtracts from every dP.
template <typename T, int W>
inline void delta_panel(const Row<T>& row, int64_t query, int64_t count, T* delta) {
  const AttentionArgs<T>& args = row.args;
  const T* dout = args.dout.at(row.b, row.h) + query * args.dout.row_stride;
  const T* out = args.out.at(row.b, row.h) + query * args.out.row_stride;
  const T* dlse = args.dlse ? args.dlse + row.bh() * args.length + query : nullptr;
  for (int64_t i = 0; i < count; ++i) {
    Vec<T, W> total = {};
    for (int64_t d = 0; d < args.width; d += W)
      total += load<T, W>(dout + i * args.dout.row_stride + d) *
               load<T, W>(out + i * args.out.row_stride + d);
    delta[i] = sum<T, W>(total) - (dlse ? dlse[i] : T{0});
  }
}

// From scores and dprobs (dP^T) of a panel to probs and dscores, in place.
template <typename T, int W, int NV>
inline void softmax_backward_panel(const Row<T>& row, int64_t query, int64_t key, const T* lse2,
                                   const T* delta, T* scores, T* dprobs) {
  constexpr int P = W * NV;
  const AttentionArgs<T>& args = row.args;
  const Vec<T, W> scale = splat<T, W>(static_cast<T>(args.scale));
  for (int n = 0; n < NV; ++n) {
    const Vec<T, W> lse_n = load<T, W>(lse2 + n * W);
    const Vec<T, W> delta_n = load<T, W>(delta + n * W);
    if (args.dropout.enabled) apply_dropout<T, W>(row, query + n * W, key, dprobs + n * W, P);
    for (int64_t j = 0; j < args.block_size; ++j) {
      T* score = scores + j * P + n * W;
      T* dprob = dprobs + j * P + n * W;
      const Vec<T, W> p = exp2<T, W>(load<T, W>(score) - lse_n);
      store<T, W>(score, p);
      store<T, W>(dprob, p * (load<T, W>(dprob) - delta_n) * scale);
    }
    if (args.dropout.enabled) apply_dropout<T, W>(row, query + n * W, key, scores + n * W, P);
  }
}

template <typename T, int W, int NV>
inline void backward_panel(const Row<T>& row, int64_t query, ColumnTiles<T> columns, T* scratch) {
  constexpr int P = W * NV;
  const AttentionArgs<T>& args = row.args;
  const int64_t S = args.block_size, D = args.width;
  T* q_panel = scratch;
  T* dout_panel = q_panel + D * P;
  T* dq_panel = dout_panel + D * P;
  T* scores = dq_panel + D * P;
  T* dprobs = scores + S * P;
  T* lse2 = dprobs + S * P;
  T* delta = lse2 + P;

  const T* q = row.q + query * args.q.row_stride;
  const T* dout = args.dout.at(row.b, row.h) + query * args.dout.row_stride;
  transpose<T, W>(P, D, q, args.q.row_stride, q_panel, P, static_cast<T>(args.scale * kLog2E));
  transpose<T, W>(P, D, dout, args.dout.row_stride, dout_panel, P, T{1});
  delta_panel<T, W>(row, query, P, delta);
  for (int i = 0; i < P; ++i)
    lse2[i] = args.lse[row.bh() * args.length + query + i] * static_cast<T>(kLog2E);
  for (int64_t i = 0; i < D * P; ++i) dq_panel[i] = T{0};

  for (int64_t tile = row.first_tile(); tile < row.last_tile(); ++tile) {
    const int64_t column = args.col[tile], key = column * S;
    const int32_t slot = columns.slot[column];
    T* dk = slot >= 0 ? columns.dk_parts + slot * S * D : columns.dk + key * D;
    T* dv = slot >= 0 ? columns.dv_parts + slot * S * D : columns.dv + key * D;
    const int64_t k_row = args.k.row_stride, v_row = args.v.row_stride;
    scores_panel<T, W, NV>(row, query, key, q_panel, scores);
    product<T, W, false>(S, P, D, row.v + key * v_row, v_row, 1, dout_panel, P, dprobs, P);
    softmax_backward_panel<T, W, NV>(row, query, key, lse2, delta, scores, dprobs);
    // The first share of a column's tile overwrites it: nothing has to be zeroed beforehand.
    const auto add = columns.touched[column] ? product<T, W, true> : product<T, W, false>;
    columns.touched[column] = true;
    add(S, D, P, scores, P, 1, dout, args.dout.row_stride, dv, D);
    add(S, D, P, dprobs, P, 1, q, args.q.row_stride, dk, D);
    product<T, W, true>(D, P, S, row.k + key * k_row, 1, k_row, dprobs, P, dq_panel, P);
  }
  transpose<T, W>(D, P, dq_panel, P, args.dq.at(row.b, row.h) + query * args.dq.row_stride,
                  args.dq.row_stride, T{1});
}

template <typename T, int W>
inline void attention_forward_lanes(const AttentionArgs<T>& args, int64_t b, int64_t h,
                                    int64_t row_begin, int64_t row_end, T* scratch) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const Row<T> row(args, b, h, r);
    const int64_t begin = r * args.block_size, end = begin + args.block_size;
    if (args.block_size >= 2 * W)
      for (int64_t query = begin; query < end; query += 2 * W)
        forward_panel<T, W, 2>(row, query, scratch);
    else
      forward_panel<T, W, 1>(row, begin, scratch);
  }
}

template <typename T, int W>
inline void attention_backward_lanes(const AttentionArgs<T>& args, int64_t b, int64_t h,
                                     int64_t row_begin, int64_t row_end, ColumnTiles<T> columns,
                                     T* scratch) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const Row<T> row(args, b, h, r);
    const int64_t begin = r * args.block_size, end = begin + args.block_size;
    if (args.block_size >= 2 * W)
      for (int64_t query = begin; query < end; query += 2 * W)
        backward_panel<T, W, 2>(row, query, columns, scratch);
    else
      backward_panel<T, W, 1>(row, begin, columns, scratch);
  }
}

// A block of 8 rows is narrower than a full vector of 16 floats; it takes half vectors.
template <typename T, int W>
void attention_forward(const AttentionArgs<T>& args, int64_t b, int64_t h, int64_t row_begin,
                       int64_t row_end, T* scratch) {
  constexpr int kNarrow = W < 8 ? W : 8;
  if (args.block_size < W)
    attention_forward_lanes<T, kNarrow>(args, b, h, row_begin, row_end, scratch);
  else
    attention_forward_lanes<T, W>(args, b, h, row_begin, row_end, scratch);
}

template <typename T, int W>
void attention_backward(const AttentionArgs<T>& args, int64_t b, int64_t h, int64_t row_begin,
                        int64_t row_end, ColumnTiles<T> columns, T* scratch) {
  constexpr int kNarrow = W < 8 ? W : 8;
  if (args.block_size < W)
    attention_backward_lanes<T, kNarrow>(args, b, h, row_begin, row_end, columns, scratch);
  else
    attention_backward_lanes<T, W>(args, b, h, row_begin, row_end, columns, scratch);
}

}  // namespace spion_bench::cpu::SPION_ISA

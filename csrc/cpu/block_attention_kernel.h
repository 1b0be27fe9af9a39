// Fused block-sparse attention on one (batch, head): online softmax over a block row's tiles,
// log-sum-exp kept for the backward pass, nothing of size [L, L] stored.
//
// Mapping: a panel of query rows lies along the vector lanes and everything is transposed:
//   S^T = K Q^T,  P^T = 2^(S^T - m),  O += P V                                   (forward)
//   dV += P^T dO,  dS^T = P^T (V dO^T - delta),  dK += dS^T Q,  dQ += dS K        (backward)
// so K and V are read in place, the softmax is vertical, and what is summed lies as it is stored.
// Scores are kept in base-2 units (q is scaled by scale * log2 e once, when it is packed).
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

// S^T of one panel and one key block, into columns of [keys][queries]; scores of padded keys, and
// of keys that a query does not see, become -infinity.
template <typename T, int W, int NV>
inline void scores_panel(const Row<T>& row, int64_t query, int64_t key, const T* q_panel,
                         T* scores) {
  constexpr int P = W * NV;
  const AttentionArgs<T>& args = row.args;
  const int64_t k_row = args.k.row_stride, stride = args.block_size;
  product<T, W, false>(args.block_size, P, args.width, row.k + key * k_row, k_row, 1, q_panel, P,
                       scores, stride);
  if (args.causal && key + args.block_size > query)
    for (int64_t j = 0; j < args.block_size; ++j)
      for (int64_t i = 0; i < P && query + i < key + j; ++i) scores[j * stride + i] = -kInfinity<T>;
  if (row.mask == nullptr) return;
  for (int64_t j = 0; j < args.block_size; ++j)
    if (!row.mask[key + j])
      for (int n = 0; n < NV; ++n)
        store<T, W>(scores + j * stride + n * W, splat<T, W>(-kInfinity<T>));
}

// One step of the online softmax on W query rows: scores become 2^(score - maximum). `rescale` gets
// the factor by which everything summed so far has to be rescaled.
template <typename T, int W>
inline void softmax_step(int64_t stride, T* scores, T* maximum, T* denominator, T* rescale) {
  const Vec<T, W> before = load<T, W>(maximum);
  Vec<T, W> highest = before;
  for (int64_t j = 0; j < stride; ++j)
    highest = max<T, W>(highest, load<T, W>(scores + j * stride));
  store<T, W>(maximum, highest);
  // A row without a finite score yet has maximum -infinity; 0 keeps -inf - base from being NaN.
  const Vec<T, W> zero = {};
  const Vec<T, W> base = highest == splat<T, W>(-kInfinity<T>) ? zero : highest;
  const Vec<T, W> factor = exp2<T, W>(before - base);
  store<T, W>(rescale, factor);
  Vec<T, W> total = load<T, W>(denominator) * factor;
  for (int64_t j = 0; j < stride; ++j) {
    const Vec<T, W> p = exp2<T, W>(load<T, W>(scores + j * stride) - base);
    total += p;
    store<T, W>(scores + j * stride, p);
  }
  store<T, W>(denominator, total);
}

// values[j][i] *= keep factor, for the S keys from `key` and W query rows from `query`.
template <typename T, int W>
inline void apply_dropout(const Row<T>& row, int64_t query, int64_t key, T* values) {
  const int64_t stride = row.args.block_size;
  T factors[8 * W];
  for (int64_t j = 0; j < row.args.block_size; j += 8) {
    dropout_factors<T, W>(row.args.dropout, query, key + j, row.bh(), factors, W);
    for (int jj = 0; jj < 8; ++jj) {
      T* value = values + (j + jj) * stride;
      store<T, W>(value, load<T, W>(value) * load<T, W>(factors + jj * W));
    }
  }
}

// rows[i][...] *= factors[i]
template <typename T, int W>
inline void scale_rows(int64_t count, int64_t width, const T* factors, T* rows, int64_t stride) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t d = 0; d < width; d += W) {
      T* value = rows + i * stride + d;
      store<T, W>(value, load<T, W>(value) * splat<T, W>(factors[i]));
    }
}

template <typename T>
inline void clear_rows(int64_t count, int64_t width, T* rows, int64_t stride) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t d = 0; d < width; ++d) rows[i * stride + d] = T{0};
}

template <typename T, int W, int NV>
inline void forward_row(const Row<T>& row, T* scratch) {
  constexpr int P = W * NV;
  const AttentionArgs<T>& args = row.args;
  const int64_t S = args.block_size, D = args.width, query = row.block * S;
  const int64_t q_row = args.q.row_stride, v_row = args.v.row_stride;
  const int64_t out_row = args.out.row_stride;
  T* q_panels = scratch;         // [S / P][D][P]
  T* scores = q_panels + S * D;  // [keys][queries]
  T* maximum = scores + S * S;
  T* denominator = maximum + S;
  T* rescale = denominator + S;
  T* out = args.out.at(row.b, row.h) + query * out_row;

  for (int64_t i = 0; i < S; i += P)
    transpose<T, W>(P, D, row.q + (query + i) * q_row, q_row, q_panels + i * D, P,
                    static_cast<T>(args.scale * kLog2E));
  // Pruned scores count as logits of 0: the softmax starts from their maximum and their count.
  for (int64_t i = 0; i < S; ++i) {
    const int64_t absent = args.zero_logit ? row.absent(query + i) : 0;
    maximum[i] = absent > 0 ? T{0} : -kInfinity<T>;
    denominator[i] = static_cast<T>(absent);
  }
  if (row.first_tile() == row.last_tile()) clear_rows(S, D, out, out_row);

  for (int64_t tile = row.first_tile(); tile < row.last_tile(); ++tile) {
    const int64_t key = args.col[tile] * S;
    for (int64_t i = 0; i < S; i += P) {
      scores_panel<T, W, NV>(row, query + i, key, q_panels + i * D, scores + i);
      for (int64_t n = i; n < i + P; n += W) {
        softmax_step<T, W>(S, scores + n, maximum + n, denominator + n, rescale + n);
        if (args.dropout.enabled) apply_dropout<T, W>(row, query + n, key, scores + n);
      }
    }
    // The first tile overwrites the output: nothing has to be zeroed or rescaled for it.
    const bool is_first = tile == row.first_tile();
    if (!is_first) scale_rows<T, W>(S, D, rescale, out, out_row);
    const auto add = is_first ? product<T, W, false> : product<T, W, true>;
    add(S, D, S, scores, 1, S, row.v + key * v_row, v_row, out, out_row);
  }

  T* lse = args.lse + row.bh() * args.length + query;
  for (int64_t i = 0; i < S; ++i) {
    const bool empty = denominator[i] == T{0};
    lse[i] =
        empty ? kInfinity<T> : static_cast<T>((maximum[i] + __builtin_log2(denominator[i])) * kLn2);
    denominator[i] = empty ? T{0} : T{1} / denominator[i];
  }
  scale_rows<T, W>(S, D, denominator, out, out_row);
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

// From scores and scaled dprobs (scale * dP^T) of W queries to probs and dscores, in place.
template <typename T, int W>
inline void softmax_backward_lanes(const Row<T>& row, int64_t query, int64_t key, const T* lse2,
                                   const T* delta, T* scores, T* dprobs) {
  const int64_t S = row.args.block_size;
  const bool has_dropout = row.args.dropout.enabled;
  const Vec<T, W> lse = load<T, W>(lse2), scaled_delta = load<T, W>(delta);
  if (has_dropout) apply_dropout<T, W>(row, query, key, dprobs);
  for (int64_t j = 0; j < S; ++j) {
    const Vec<T, W> p = exp2<T, W>(load<T, W>(scores + j * S) - lse);
    store<T, W>(scores + j * S, p);
    store<T, W>(dprobs + j * S, p * (load<T, W>(dprobs + j * S) - scaled_delta));
  }
  if (has_dropout) apply_dropout<T, W>(row, query, key, scores);
}

// A whole block row: sums over its queries (dK, dV) are as deep as a block, which keeps them in
// registers longer than those of a panel. Only what lies along the lanes is cut into panels.
template <typename T, int W, int NV>
inline void backward_row(const Row<T>& row, ColumnTiles<T> columns, T* scratch) {
  constexpr int P = W * NV;
  const AttentionArgs<T>& args = row.args;
  const int64_t S = args.block_size, D = args.width, query = row.block * S;
  const int64_t q_row = args.q.row_stride, dout_row = args.dout.row_stride;
  const int64_t k_row = args.k.row_stride, v_row = args.v.row_stride;
  T* q_panels = scratch;  // [S / P][D][P], as are those of dout
  T* dout_panels = q_panels + S * D;
  T* scores = dout_panels + S * D;  // [keys][queries], as are dprobs
  T* dprobs = scores + S * S;
  T* lse2 = dprobs + S * S;
  T* delta = lse2 + S;

  const T scale = static_cast<T>(args.scale);
  const T* q = row.q + query * q_row;
  const T* dout = args.dout.at(row.b, row.h) + query * dout_row;
  T* dq = args.dq.at(row.b, row.h) + query * args.dq.row_stride;
  for (int64_t i = 0; i < S; i += P) {
    transpose<T, W>(P, D, q + i * q_row, q_row, q_panels + i * D, P,
                    static_cast<T>(args.scale * kLog2E));
    transpose<T, W>(P, D, dout + i * dout_row, dout_row, dout_panels + i * D, P, scale);
  }
  delta_panel<T, W>(row, query, S, delta);
  for (int64_t i = 0; i < S; ++i) {
    delta[i] *= scale;
    lse2[i] = args.lse[row.bh() * args.length + query + i] * static_cast<T>(kLog2E);
  }
  if (row.first_tile() == row.last_tile()) clear_rows(S, D, dq, args.dq.row_stride);

  for (int64_t tile = row.first_tile(); tile < row.last_tile(); ++tile) {
    const int64_t column = args.col[tile], key = column * S;
    const int32_t slot = columns.slot[column];
    T* dk = slot >= 0 ? columns.dk_parts + slot * S * D : columns.dk + key * D;
    T* dv = slot >= 0 ? columns.dv_parts + slot * S * D : columns.dv + key * D;
    const T *k = row.k + key * k_row, *v = row.v + key * v_row;
    for (int64_t i = 0; i < S; i += P) {
      scores_panel<T, W, NV>(row, query + i, key, q_panels + i * D, scores + i);
      product<T, W, false>(S, P, D, v, v_row, 1, dout_panels + i * D, P, dprobs + i, S);
      for (int64_t n = i; n < i + P; n += W)
        softmax_backward_lanes<T, W>(row, query + n, key, lse2 + n, delta + n, scores + n,
                                     dprobs + n);
    }
    // The first share of a tile of dk, dv or dq overwrites it: nothing is zeroed beforehand.
    const auto add = columns.touched[column] ? product<T, W, true> : product<T, W, false>;
    columns.touched[column] = true;
    add(S, D, S, scores, S, 1, dout, dout_row, dv, D);
    add(S, D, S, dprobs, S, 1, q, q_row, dk, D);
    const auto add_dq = tile == row.first_tile() ? product<T, W, false> : product<T, W, true>;
    add_dq(S, D, S, dprobs, 1, S, k, k_row, dq, args.dq.row_stride);
  }
}

template <typename T, int W>
inline void attention_forward_lanes(const AttentionArgs<T>& args, int64_t b, int64_t h,
                                    int64_t row_begin, int64_t row_end, T* scratch) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const Row<T> row(args, b, h, r);
    if (args.block_size >= 2 * W)
      forward_row<T, W, 2>(row, scratch);
    else
      forward_row<T, W, 1>(row, scratch);
  }
}

template <typename T, int W>
inline void attention_backward_lanes(const AttentionArgs<T>& args, int64_t b, int64_t h,
                                     int64_t row_begin, int64_t row_end, ColumnTiles<T> columns,
                                     T* scratch) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const Row<T> row(args, b, h, r);
    if (args.block_size >= 2 * W)
      backward_row<T, W, 2>(row, columns, scratch);
    else
      backward_row<T, W, 1>(row, columns, scratch);
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

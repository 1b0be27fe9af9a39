// How fused attention is cut into units of work, torch-free: the bindings run the units on OpenMP
// threads, the standalone driver (../driver) on std::threads.
//
// The heads of a group share a pattern; each group is a problem of its own. A unit is one chunk of
// block rows of one (batch, head). There is one chunk per (batch, head), or several of about equal
// numbers of blocks where (batch, head)s are few. The cut depends on shape and pattern only, and
// sums have a fixed order, so results do not depend on the number of threads. In the backward pass
// each chunk sums dk and dv into tiles of its own, which are then added in the order of the chunks:
// no atomics.
//
// 16-bit tensors are widened to float32 as a unit needs them (the rows of its chunk and the key
// blocks that its pattern touches), so that the kernels only know float and double.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "common/kernels.h"

namespace spion_bench::cpu {

constexpr int64_t kMinUnits = 32;  // enough pieces to balance any CPU at a small overhead

// The blocks of one group that have scores in them, which is all that the kernels are given.
struct ExistingBlocks {
  std::vector<int32_t> crow{0}, col;

  // `crow_in` begins with the group's first row; a larger pattern is cropped.
  ExistingBlocks(const int32_t* crow_in, const int32_t* col_in, int64_t rows, int64_t columns,
                 bool causal) {
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t end = causal ? std::min(r + 1, columns) : columns;
      for (int32_t t = crow_in[r]; t < crow_in[r + 1]; ++t)
        if (col_in[t] < end) col.push_back(col_in[t]);
      crow.push_back(static_cast<int32_t>(col.size()));
    }
  }
};

// Tensors in their stored type E; args says all the rest, with lse and dlse in Compute<E>. dk and
// dv have a head for each head of q.
template <typename E>
struct AttentionProblem {
  AttentionArgs<Compute<E>> args;
  int64_t first_head = 0, group_heads = 0;  // the heads that args.crow and args.col are for
  HeadsView<const E> q, k, v, dout, out_given;
  HeadsView<E> out, dq, dk, dv;
};

class AttentionScheme {
 public:
  template <typename E>
  explicit AttentionScheme(const AttentionProblem<E>& problem)
      : nb(problem.args.length / problem.args.block_size),
        columns(problem.args.key_length / problem.args.block_size),
        batch_heads(problem.args.batch * problem.group_heads) {
    split_rows(problem.args.crow);
    assign_slots(problem.args.crow, problem.args.col);
  }

  int64_t chunks() const { return static_cast<int64_t>(bounds.size()) - 1; }
  int64_t units() const { return batch_heads * chunks(); }
  int64_t nb, columns, batch_heads;  // block rows and columns
  std::vector<int64_t> bounds;       // [chunks + 1] block rows
  std::vector<int32_t> slot;         // [chunks][columns]: what a chunk does with one, see below
  int64_t slots = 0;                 // tiles that chunks need for shared columns
  std::vector<int32_t> shared;       // the columns that several chunks touch
  std::vector<int32_t> untouched;    // the columns that none touches

 private:
  void split_rows(const int32_t* crow) {
    const int64_t count = std::clamp<int64_t>((kMinUnits + batch_heads - 1) / batch_heads, 1, nb);
    const int64_t total = crow[nb] + nb;  // a row costs its blocks and a little for itself
    bounds.push_back(0);
    for (int64_t r = 1; r < nb; ++r) {
      const auto next = static_cast<int64_t>(bounds.size());
      if ((crow[r] + r) * count >= next * total && next < count) bounds.push_back(r);
    }
    bounds.push_back(nb);
  }

  void assign_slots(const int32_t* crow, const int32_t* col) {
    slot.assign(chunks() * columns, kUntouched);
    std::vector<int32_t> touching(columns, 0);
    for (int64_t chunk = 0; chunk < chunks(); ++chunk)
      for (int64_t t = crow[bounds[chunk]]; t < crow[bounds[chunk + 1]]; ++t) {
        int32_t& s = slot[chunk * columns + col[t]];
        if (s == kUntouched) ++touching[col[t]];
        s = kInPlace;
      }
    for (int64_t c = 0; c < columns; ++c) {
      if (touching[c] == 0) untouched.push_back(static_cast<int32_t>(c));
      if (touching[c] < 2) continue;
      shared.push_back(static_cast<int32_t>(c));
      for (int64_t chunk = 0; chunk < chunks(); ++chunk)
        if (int32_t& s = slot[chunk * columns + c]; s == kInPlace)
          s = static_cast<int32_t>(slots++);
    }
  }
};

template <typename E>
constexpr bool kIsStaged = !std::is_same_v<E, Compute<E>>;

// Rows of a buffer for a staged tensor, which holds queries or keys.
template <typename T>
int64_t staged_rows(const AttentionArgs<T>& args) {
  return std::max(args.length, args.key_length);
}

// Scratch elements (of Compute<E>) of one thread: the kernels' own, then buffers for staged
// tensors, then room for a flag per block column.
template <typename E>
int64_t scheme_scratch(const AttentionArgs<Compute<E>>& args, bool backward) {
  const int64_t buffers = !kIsStaged<E> ? 0 : backward ? 8 : 4;
  return attention_scratch(args.width, args.block_size) + buffers * staged_rows(args) * args.width +
         args.key_length / args.block_size;
}

// One unit's view of the problem: staged buffers or, for float and double, the tensors themselves.
template <typename E>
class Unit {
 public:
  using T = Compute<E>;

  Unit(const AttentionProblem<E>& problem, const AttentionScheme& scheme, int64_t unit, T* scratch)
      : problem_(problem),
        scheme_(scheme),
        args(problem.args),
        chunk(unit % scheme.chunks()),
        b(unit / scheme.chunks() / problem.group_heads),
        h(problem.first_head + unit / scheme.chunks() % problem.group_heads),
        row_begin(scheme.bounds[chunk]),
        row_end(scheme.bounds[chunk + 1]),
        slot(scheme.slot.data() + chunk * scheme.columns),
        kernel_scratch(scratch),
        next_(scratch + attention_scratch(args.width, args.block_size)) {}

  // The rows of the chunk / the touched key blocks of an input, ready for the kernels.
  HeadsView<const T> rows_of(const HeadsView<const E>& input) {
    if constexpr (!kIsStaged<E>) {
      return input;
    } else {
      T* buffer = take_buffer();
      for (int64_t r = row_begin; r < row_end; ++r) widen_block(input, h, r, buffer);
      return {buffer, 0, 0, args.width};
    }
  }
  HeadsView<const T> keys_of(const HeadsView<const E>& input) {
    if constexpr (!kIsStaged<E>) {
      return input;
    } else {
      T* buffer = take_buffer();
      for (int64_t c = 0; c < scheme_.columns; ++c)
        if (slot[c] != kUntouched) widen_block(input, h / args.heads_per_kv, c, buffer);
      return {buffer, 0, 0, args.width};
    }
  }
  // Where the kernels write an output, and its way to the tensor afterwards.
  HeadsView<T> target_of(const HeadsView<E>& output) {
    if constexpr (!kIsStaged<E>)
      return output;
    else
      return {take_buffer(), 0, 0, args.width};
  }
  void store_block(const HeadsView<T>& from, int64_t block, const HeadsView<E>& output) const {
    if constexpr (kIsStaged<E>) {
      const int64_t first = block * args.block_size;
      E* to = output.at(b, h) + first * output.row_stride;
      for (int64_t i = 0; i < args.block_size; ++i)
        conversion_of<E>().narrow(from.data + (first + i) * args.width, to + i * output.row_stride,
                                  args.width);
    }
  }
  bool* flags() { return reinterpret_cast<bool*>(next_); }

 private:
  const AttentionProblem<E>& problem_;
  const AttentionScheme& scheme_;

 public:
  AttentionArgs<T> args;
  int64_t chunk, b, h, row_begin, row_end;
  const int32_t* slot;
  T* kernel_scratch;

 private:
  T* take_buffer() {
    T* buffer = next_;
    next_ += staged_rows(args) * args.width;
    return buffer;
  }
  void widen_block(const HeadsView<const E>& input, int64_t head, int64_t block, T* buffer) const {
    const int64_t first = block * args.block_size;
    const E* from = input.at(b, head) + first * input.row_stride;
    for (int64_t i = 0; i < args.block_size; ++i)
      conversion_of<E>().widen(from + i * input.row_stride, buffer + (first + i) * args.width,
                               args.width);
  }

  T* next_;
};

template <typename E>
void forward_unit(const AttentionProblem<E>& problem, const AttentionScheme& scheme, int64_t index,
                  Compute<E>* scratch) {
  Unit<E> unit(problem, scheme, index, scratch);
  unit.args.q = unit.rows_of(problem.q);
  unit.args.k = unit.keys_of(problem.k);
  unit.args.v = unit.keys_of(problem.v);
  unit.args.out = unit.target_of(problem.out);
  kernels_of<Compute<E>>().attention_forward(unit.args, unit.b, unit.h, unit.row_begin,
                                             unit.row_end, unit.kernel_scratch);
  for (int64_t r = unit.row_begin; r < unit.row_end; ++r)
    unit.store_block(unit.args.out, r, problem.out);
}

// `dk_parts`, `dv_parts`: [batch_heads][slots][S][D], the tiles of shared columns. dk and dv are
// contiguous [B, H, Lk, D].
template <typename E>
void backward_unit(const AttentionProblem<E>& problem, const AttentionScheme& scheme, int64_t index,
                   Compute<E>* dk_parts, Compute<E>* dv_parts, Compute<E>* scratch) {
  using T = Compute<E>;
  Unit<E> unit(problem, scheme, index, scratch);
  AttentionArgs<T>& args = unit.args;
  args.q = unit.rows_of(problem.q);
  args.k = unit.keys_of(problem.k);
  args.v = unit.keys_of(problem.v);
  args.dout = unit.rows_of(problem.dout);
  const HeadsView<const T> out = unit.rows_of(problem.out_given);
  args.out = {const_cast<T*>(out.data), out.batch_stride, out.head_stride, out.row_stride};
  args.dq = unit.target_of(problem.dq);
  const HeadsView<T> dk = unit.target_of(problem.dk), dv = unit.target_of(problem.dv);

  const int64_t tile = args.block_size * args.width;
  const int64_t batch_head = unit.b * problem.group_heads + unit.h - problem.first_head;
  const int64_t own_parts = batch_head * scheme.slots * tile;
  ColumnTiles<T> columns;
  columns.dk = dk.at(unit.b, unit.h);
  columns.dv = dv.at(unit.b, unit.h);
  columns.dk_parts = dk_parts + own_parts;
  columns.dv_parts = dv_parts + own_parts;
  columns.slot = unit.slot;
  columns.touched = unit.flags();
  std::fill_n(columns.touched, scheme.columns, false);
  kernels_of<T>().attention_backward(args, unit.b, unit.h, unit.row_begin, unit.row_end, columns,
                                     unit.kernel_scratch);

  for (int64_t r = unit.row_begin; r < unit.row_end; ++r) unit.store_block(args.dq, r, problem.dq);
  const auto store_column = [&](int64_t c) {
    unit.store_block(dk, c, problem.dk);
    unit.store_block(dv, c, problem.dv);
  };
  for (int64_t c = 0; c < scheme.columns; ++c)
    if (unit.slot[c] == kInPlace) store_column(c);
  if (unit.chunk > 0) return;
  for (const int32_t c : scheme.untouched) {
    std::fill_n(columns.dk + c * tile, tile, T{0});
    std::fill_n(columns.dv + c * tile, tile, T{0});
    store_column(c);
  }
}

// dk or dv of one shared block column: the sum of its chunks' tiles, in the order of the chunks.
// `index` counts (batch, head)s of the group and shared columns.
template <typename E>
void add_chunks(const AttentionProblem<E>& problem, const AttentionScheme& scheme, int64_t index,
                const Compute<E>* parts, const HeadsView<E>& grad, Compute<E>* scratch) {
  using T = Compute<E>;
  const AttentionArgs<T>& args = problem.args;
  const auto n_shared = static_cast<int64_t>(scheme.shared.size());
  const int64_t bh = index / n_shared, column = scheme.shared[index % n_shared];
  const int64_t tile = args.block_size * args.width;
  const int64_t b = bh / problem.group_heads, h = problem.first_head + bh % problem.group_heads;
  E* target = grad.at(b, h) + column * tile;
  T* sum = scratch;
  if constexpr (!kIsStaged<E>) sum = target;
  bool is_first = true;
  for (int64_t chunk = 0; chunk < scheme.chunks(); ++chunk) {
    const int32_t slot = scheme.slot[chunk * scheme.columns + column];
    if (slot == kUntouched) continue;
    const T* part = parts + (bh * scheme.slots + slot) * tile;
    if (is_first)
      std::copy_n(part, tile, sum);
    else
      for (int64_t i = 0; i < tile; ++i) sum[i] += part[i];
    is_first = false;
  }
  if constexpr (kIsStaged<E>) conversion_of<E>().narrow(sum, target, tile);
}

}  // namespace spion_bench::cpu

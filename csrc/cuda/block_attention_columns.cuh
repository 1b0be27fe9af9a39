// Long columns, cut into pieces that different thread blocks work on.
//
// The list of all kept blocks by column, of all groups, is cut at every multiple of `cut_every`; a
// column that a cut falls into has several pieces, whose shares of dk and dv are float32 in `parts`
// until block_attention_reduce_kernel adds them in the order of the list. The cuts depend on the
// pattern only, and so do all results, bit by bit. Nothing has to be known on the host but the
// list's length.
#pragma once

#include "block_attention_lists.cuh"

namespace spion_bench::cuda {

struct ColumnPiece {
  int column;
  Entries entries;  // of the list by column
  int slot;         // in `parts`; -1: the piece is the whole column
  bool exists;
};

// Where the columns of a group begin and end in the list.
template <bool kReaches>
SPION_DEVICE const int32_t* columns_of(const BlockAttentionArgs& args, const Head<kReaches>& head) {
  return kReaches ? args.t_crow + head.group * args.pattern_columns : args.t_crow;
}

// The column that owns entry `entry`: t_crow[column] <= entry < t_crow[column + 1]; one that does
// not own it if none does.
SPION_DEVICE int column_of(const BlockAttentionArgs& args, const int32_t* t_crow, int entry) {
  int low = 0, high = args.n_key_blocks;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (prim::load_constant(t_crow + middle) <= entry)
      low = middle;
    else
      high = middle;
  }
  return low;
}

// Pieces 0 .. n_key_blocks - 1 begin with a column, piece n_key_blocks + i with cut i if that lies
// inside one.
template <bool kReaches>
SPION_DEVICE ColumnPiece column_piece(const BlockAttentionArgs& args, const Head<kReaches>& head,
                                      int piece) {
  const int32_t* t_crow = columns_of(args, head);
  const int cut = args.cut_every;
  if (piece < args.n_key_blocks) {
    const int begin = prim::load_constant(t_crow + piece);
    const int end = prim::load_constant(t_crow + piece + 1);
    const int next = cut == 0 ? end : (begin / cut + 1) * cut;
    if (next >= end) return {piece, {begin, end}, -1, true};
    return {piece, {begin, next}, 2 * (next / cut - 1), true};
  }
  const int index = piece - args.n_key_blocks, begin = (index + 1) * cut;
  const int column = column_of(args, t_crow, begin);
  const int column_end = prim::load_constant(t_crow + column + 1);
  const int end = begin + cut < column_end ? begin + cut : column_end;
  const bool is_inside = prim::load_constant(t_crow + column) < begin && begin < column_end;
  return {column, {begin, end}, 2 * index + 1, is_inside};
}

}  // namespace spion_bench::cuda

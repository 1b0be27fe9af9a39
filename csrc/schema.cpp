// The schemas of every spion_bench operator; nothing else.
//
// Implementations register themselves beside their kernels (cpu/<op>.cpp). Fake kernels, autograd
// and autocast rules are registered from Python (spion_bench/ops/<op>.py).
//
// Symbols in all schemas: B batch, H heads, L sequence length, D head width, S block size,
// nb = L / S block rows, nnzb kept blocks. `crow_indices` int32 [nb + 1] and `col_indices` int32
// [nnzb] list the kept blocks by row; the `t_` tensors list them by column, with `t_tile_indices`
// giving each entry's position in `col_indices`. Operators whose backward pass goes by column take
// the `t_` tensors for it and do not read them.
//
// The fused operator also takes queries and keys of different lengths Lq and Lk, neither a multiple
// of S: q and out are [B, H, Lq, D], lse is [B, H, Lq]; k and v are [B, Hk, Lk, D], Hk a divisor of
// H, query head h attends to key head h / (H / Hk). The lists are those of `groups` patterns, one
// after the other, [groups * nb + 1] and [groups * nb_keys + 1]; head h takes pattern
// h / (H / groups). A pattern larger than the sequences is cropped: its last rows and columns do
// not exist. `causal`: Lq = Lk, and scores of keys after their query do not exist. `zero_logit`
// counts the scores that exist outside the kept blocks.

#include <torch/library.h>

TORCH_LIBRARY(spion_bench, m) {
  // The paper's pipeline. Tiles are [B, H, nnzb, S, S], log-sum-exp is [B, H, L].
  m.def(
      "block_sddmm(Tensor q, Tensor k, Tensor crow_indices, Tensor col_indices, "
      "Tensor t_crow_indices, Tensor t_row_indices, Tensor t_tile_indices, int block_size, "
      "float scale) -> Tensor");
  m.def(
      "block_softmax(Tensor scores, Tensor crow_indices, Tensor col_indices, int block_size, "
      "bool zero_logit, Tensor? key_padding_mask) -> (Tensor probs, Tensor lse)");
  m.def(
      "block_softmax_backward(Tensor dprobs, Tensor? dlse, Tensor probs, Tensor crow_indices, "
      "int block_size) -> Tensor");
  m.def(
      "block_spmm(Tensor probs, Tensor v, Tensor crow_indices, Tensor col_indices, "
      "Tensor t_crow_indices, Tensor t_row_indices, Tensor t_tile_indices, int block_size) "
      "-> Tensor");
  m.def(
      "block_spmm_transposed(Tensor probs, Tensor v, Tensor t_crow_indices, Tensor t_row_indices, "
      "Tensor t_tile_indices, int block_size) -> Tensor");
  m.def(
      "block_dropout(Tensor probs, Tensor crow_indices, Tensor col_indices, int block_size, "
      "float p, SymInt seed) -> Tensor");

  // The fused operator: never stores scores or probabilities.
  m.def(
      "block_attention_forward(Tensor q, Tensor k, Tensor v, Tensor crow_indices, "
      "Tensor col_indices, Tensor t_crow_indices, Tensor t_row_indices, Tensor t_tile_indices, "
      "int block_size, int groups, bool causal, bool zero_logit, Tensor? key_padding_mask, "
      "float scale, float dropout_p, SymInt dropout_seed) -> (Tensor out, Tensor lse)");
  m.def(
      "block_attention_backward(Tensor dout, Tensor? dlse, Tensor q, Tensor k, Tensor v, "
      "Tensor out, Tensor lse, Tensor crow_indices, Tensor col_indices, Tensor t_crow_indices, "
      "Tensor t_row_indices, Tensor t_tile_indices, int block_size, int groups, bool causal, "
      "bool zero_logit, Tensor? key_padding_mask, float scale, float dropout_p, "
      "SymInt dropout_seed) -> (Tensor dq, Tensor dk, Tensor dv)");

  // Pattern generation.
  m.def("diagonal_conv(Tensor attention_map, int filter_size) -> Tensor");
  m.def("average_pool(Tensor attention_map, int block_size) -> Tensor");
  m.def("flood_fill(Tensor pooled, float threshold, str selection) -> Tensor");
  m.def("attention_map(Tensor q, Tensor k, Tensor? key_padding_mask, float scale) -> Tensor");

  // Which instruction set the CPU kernels run on: "avx512", "avx2" or "portable".
  m.def("cpu_capability() -> str");
}

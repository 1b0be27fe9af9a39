// What the torch bindings (<op>.cpp) and the kernels (isa_*.cpp) say to each other: plain structs
// on raw pointers. Kernels work on one piece of the problem at a time; the bindings own threads,
// memory and checks.
#pragma once

#include <cstdint>

namespace spion_bench::cpu {

// A [B, H, L, D] tensor whose last dimension is contiguous; strides in elements.
template <typename T>
struct HeadsView {
  T* data = nullptr;
  int64_t batch_stride = 0;
  int64_t head_stride = 0;
  int64_t row_stride = 0;

  T* at(int64_t b, int64_t h) const { return data + b * batch_stride + h * head_stride; }
};

// 16-bit floats as they are stored; arithmetic on them is float32's.
struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

template <typename E>
struct ComputeOf {
  using type = E;
};
template <>
struct ComputeOf<BFloat16> {
  using type = float;
};
template <>
struct ComputeOf<Float16> {
  using type = float;
};
template <typename E>
using Compute = typename ComputeOf<E>::type;

// Dropout by Philox4x32-10, key = seed, counter = (key_column / 8, query_row, b * H + h, 0). The
// four output words hold eight 16-bit values; column c takes word (c % 8) / 2, its low half if c is
// even. A probability is dropped if its value is below `threshold`.
struct Dropout {
  bool enabled = false;
  uint32_t threshold = 0;
  uint64_t seed = 0;
  double keep_scale = 1.0;  // 65536 / (65536 - threshold): 1 / the true keep probability
};

template <typename T>
struct AttentionArgs {
  int64_t batch = 0, heads = 0, length = 0, width = 0;  // width: D, a multiple of 16
  // Fused attention: k and v have keys of their own, lengths are multiples of the block size.
  int64_t key_length = 0;
  int64_t n_keys = 0;        // keys that exist; the rest of key_length fills the last block
  int64_t heads_per_kv = 1;  // heads that share one head of k and v
  bool causal = false;       // scores of keys after their query do not exist
  int64_t block_size = 0;
  const int32_t* crow = nullptr;
  const int32_t* col = nullptr;
  const bool* key_padding_mask = nullptr;  // [B, Lk], true = real token; null = all real
  double scale = 1.0;
  bool zero_logit = false;
  Dropout dropout;
  HeadsView<const T> q, k, v, dout;
  HeadsView<T> out, dq;     // out is input to the backward pass
  T* lse = nullptr;         // [B, H, L]
  const T* dlse = nullptr;  // [B, H, L] or null
};

// Values of `slot` below.
constexpr int32_t kUntouched = -1;  // the chunk has no block in this column
constexpr int32_t kInPlace = -2;    // the column is this chunk's alone

// Where one backward chunk sums its share of dk and dv: column c in dk and dv themselves, [Lk][D],
// or in tile slot[c] of the parts if other chunks share the column. The first share overwrites the
// tile and marks the column in `touched`, later ones are added.
template <typename T>
struct ColumnTiles {
  T* dk = nullptr;
  T* dv = nullptr;
  T* dk_parts = nullptr;
  T* dv_parts = nullptr;
  const int32_t* slot = nullptr;  // [block columns]
  bool* touched = nullptr;        // [block columns], false at the start
};

// Scratch elements that one call of a kernel needs, whatever the instruction set: exactly those of
// the larger pass, so that a sanitizer sees any access beyond them.
inline int64_t attention_scratch(int64_t width, int64_t block_size) {
  return 2 * block_size * (width + block_size + 1);
}
inline int64_t sddmm_scratch(int64_t width, int64_t block_size) { return width * block_size; }
constexpr int64_t kMapRows = 16;  // query rows that one attention_map call handles
inline int64_t attention_map_scratch(int64_t width, int64_t length) {
  return kMapRows * (width + 2 * length);
}
constexpr int64_t kDiagonalPanel = 128;  // diagonals; 32 rows of sums fill the first cache

template <typename T>
struct KernelsOf {
  // Fused attention over the block rows [row_begin, row_end) of one (batch, head).
  void (*attention_forward)(const AttentionArgs<T>&, int64_t b, int64_t h, int64_t row_begin,
                            int64_t row_end, T* scratch);
  void (*attention_backward)(const AttentionArgs<T>&, int64_t b, int64_t h, int64_t row_begin,
                             int64_t row_end, ColumnTiles<T> columns, T* scratch);
  // The pipeline's products; each call handles one tile or one block row.
  // tile[S][S] = scale * q[S][D] k[S][D]^T
  void (*sddmm_tile)(int64_t block_size, int64_t width, double scale, const T* q, int64_t q_row,
                     const T* k, int64_t k_row, T* tile, T* scratch);
  // out[S][D] += tile v, or tile^T v
  void (*spmm_tile)(int64_t block_size, int64_t width, bool transposed, const T* tile, const T* v,
                    int64_t v_row, T* out);
  // probs and lse of one block row of `count` tiles; `padding` [count][S] or null.
  void (*softmax_row)(int64_t block_size, int64_t count, double absent, bool zero_logit,
                      const T* scores, const int32_t* col, const bool* mask, T* probs, T* lse);
  void (*softmax_backward_row)(int64_t block_size, int64_t count, const T* dprobs, const T* dlse,
                               const T* probs, T* dscores);
  // probs of one tile with dropped entries set to 0 and kept ones scaled.
  void (*dropout_tile)(int64_t block_size, const Dropout&, int64_t row, int64_t col, int64_t bh,
                       const T* probs, T* out);
  // Rows [row, row + kMapRows) of the batch- and head-averaged dense attention map.
  void (*attention_map_rows)(const AttentionArgs<T>&, int64_t row, T* map, T* scratch);
  // Passes over a map [length][length], see ../diagonal_conv_kernel.h and its neighbours.
  // Outputs of the rows [first_row, first_row + 2 half + 1) on kDiagonalPanel diagonals; scratch:
  // [2 half + 2][kDiagonalPanel].
  void (*diagonal_panel)(const T* map, int64_t length, int64_t half, int64_t first_row,
                         int64_t first_diagonal, T* out, double* scratch);
  // One block row of averages from `block_size` rows of values; scratch: [length].
  void (*pool_block_row)(const T* values, int64_t length, int64_t block_size, T* pooled,
                         double* scratch);
};

// 16-bit floats to and from float32; counts are multiples of 16.
template <typename E>
struct ConversionOf {
  void (*widen)(const E* from, float* to, int64_t count);
  void (*narrow)(const float* from, E* to, int64_t count);
};

struct Kernels {
  const char* capability;
  KernelsOf<float> f32;
  KernelsOf<double> f64;
  ConversionOf<BFloat16> bf16;
  ConversionOf<Float16> f16;
};

extern const Kernels kernels_avx512;
extern const Kernels kernels_avx2;
extern const Kernels kernels_portable;

// The best set this CPU runs, or the one named by SPION_BENCH_CPU_CAPABILITY.
const Kernels& kernels();

template <typename T>
inline const KernelsOf<T>& kernels_of();
template <>
inline const KernelsOf<float>& kernels_of<float>() {
  return kernels().f32;
}
template <>
inline const KernelsOf<double>& kernels_of<double>() {
  return kernels().f64;
}

template <typename E>
inline const ConversionOf<E>& conversion_of();
template <>
inline const ConversionOf<BFloat16>& conversion_of<BFloat16>() {
  return kernels().bf16;
}
template <>
inline const ConversionOf<Float16>& conversion_of<Float16>() {
  return kernels().f16;
}

}  // namespace spion_bench::cpu

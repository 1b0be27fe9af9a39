// Argument checks shared by the operators: every message names the argument, what was expected and
// what came. The Python faces check first and in more words; these protect direct calls through
// torch.ops, where a wrong shape would otherwise read out of bounds.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>

namespace spion_bench {

inline void check_float(const at::Tensor& x, const char* name) {
  TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble, name,
              ": expected float32 or float64, got ", x.scalar_type());
}

inline void check_dtype(const at::Tensor& x, const char* name, caffe2::TypeMeta dtype) {
  TORCH_CHECK(x.dtype() == dtype, name, ": expected ", dtype, ", got ", x.dtype());
}

inline void check_same(const at::Tensor& x, const char* name, const at::Tensor& like,
                       const char* like_name) {
  TORCH_CHECK(x.scalar_type() == like.scalar_type(), name, ": expected dtype ", like.scalar_type(),
              " as ", like_name, ", got ", x.scalar_type());
  TORCH_CHECK(x.device() == like.device(), name, ": expected device ", like.device(), " as ",
              like_name, ", got ", x.device());
}

inline void check_shape(const at::Tensor& x, const char* name, at::IntArrayRef shape) {
  TORCH_CHECK(x.sizes() == shape, name, ": expected shape ", shape, ", got ", x.sizes());
}

inline void check_square(const at::Tensor& x, const char* name) {
  TORCH_CHECK(x.dim() == 2 && x.size(0) == x.size(1), name,
              ": expected a square matrix, got shape ", x.sizes());
}

// q, k, v and their gradients: [B, H, L, D], the last dimension contiguous.
constexpr bool kWithHalf = true;  // the operator also takes bfloat16 and float16

inline void check_heads(const at::Tensor& x, const char* name, bool with_half = false) {
  const bool is_half = x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
  if (!(with_half && is_half)) check_float(x, name);
  TORCH_CHECK(x.dim() == 4, name, ": expected [B, H, L, D], got ", x.dim(), " dimensions");
  TORCH_CHECK(x.size(3) >= 1 && x.size(3) <= 256, name,
              ": expected a head width from 1 to 256, got ", x.size(3));
  TORCH_CHECK(x.numel() == 0 || x.size(3) == 1 || x.stride(3) == 1, name,
              ": expected a contiguous last dimension, got stride ", x.stride(3));
}

inline void check_index(const at::Tensor& x, const char* name) {
  TORCH_CHECK(x.scalar_type() == at::kInt && x.dim() == 1 && x.is_contiguous(), name,
              ": expected a contiguous one-dimensional int32 tensor, got ", x.scalar_type(),
              " with shape ", x.sizes());
}

inline void check_block_size(int64_t block_size) {
  TORCH_CHECK(block_size >= 8 && block_size <= 128 && (block_size & (block_size - 1)) == 0,
              "block_size: expected a power of two from 8 to 128, got ", block_size);
}

// Lists of kept blocks: `begin` [nb + 1] says where each block row begins in `other` [nnzb], which
// holds block columns; the list by column has rows and columns exchanged. Checks of sizes are for
// every device. Checks of values are for lists in host memory, where kernels then trust them; on a
// GPU they would wait for the device, so there the values are the caller's: BlockPattern checked
// them when it was made.
struct ListNames {
  const char* begin;
  const char* other;
};
constexpr ListNames kByRow{"crow_indices", "col_indices"};
constexpr ListNames kByColumn{"t_crow_indices", "t_row_indices"};

inline void check_begin(const at::Tensor& begin, const char* name, int64_t block_size) {
  check_block_size(block_size);
  check_index(begin, name);
  TORCH_CHECK(begin.size(0) >= 2, name, ": expected at least one block row, got ", begin.size(0),
              " values");
}

inline void check_list(const at::Tensor& begin, const at::Tensor& other, int64_t block_size,
                       ListNames names = kByRow) {
  check_begin(begin, names.begin, block_size);
  check_index(other, names.other);
  TORCH_CHECK(other.size(0) <= std::numeric_limits<int32_t>::max(), names.other,
              ": expected less than 2^31 blocks, got ", other.size(0));
}

// The list has a block row for every block_size of `length` tokens.
inline void check_pattern(const at::Tensor& begin, const at::Tensor& other, int64_t block_size,
                          int64_t length, ListNames names = kByRow) {
  check_list(begin, other, block_size, names);
  TORCH_CHECK((begin.size(0) - 1) * block_size == length, names.begin, ": expected ",
              length / block_size, " block rows for length ", length, " and block_size ",
              block_size, ", got ", begin.size(0) - 1);
}

inline void check_begin_values(const at::Tensor& begin, const char* name, int64_t nnzb) {
  TORCH_CHECK(begin.is_cpu(), name, ": expected a CPU tensor, got one on ", begin.device());
  const int32_t* b = begin.const_data_ptr<int32_t>();
  const int64_t nb = begin.size(0) - 1;
  TORCH_CHECK(b[0] == 0 && b[nb] == nnzb && std::is_sorted(b, b + nb + 1), name,
              ": expected to rise from 0 to nnzb=", nnzb);
}

inline void check_index_values(const at::Tensor& index, const char* name, int64_t end) {
  TORCH_CHECK(index.is_cpu(), name, ": expected a CPU tensor, got one on ", index.device());
  const int32_t* i = index.const_data_ptr<int32_t>();
  TORCH_CHECK(std::all_of(i, i + index.size(0), [end](int32_t x) { return 0 <= x && x < end; }),
              name, ": expected values from 0 to ", end - 1);
}

// `columns`: how many values `other` may have.
inline void check_list_values(const at::Tensor& begin, const at::Tensor& other, int64_t columns,
                              ListNames names) {
  check_begin_values(begin, names.begin, other.size(0));
  check_index_values(other, names.other, columns);
  const int32_t* b = begin.const_data_ptr<int32_t>();
  const int32_t* o = other.const_data_ptr<int32_t>();
  for (int64_t row = 0; row < begin.size(0) - 1; ++row)
    TORCH_CHECK(
        std::adjacent_find(o + b[row], o + b[row + 1], std::greater_equal<>()) == o + b[row + 1],
        names.other, ": expected strictly ascending values within each of ", names.begin,
        ", got others in ", row);
}

// Of one square pattern.
inline void check_list_values(const at::Tensor& begin, const at::Tensor& other,
                              ListNames names = kByRow) {
  check_list_values(begin, other, begin.size(0) - 1, names);
}

// Which entry of the list by row is each of the list by column.
inline void check_tiles_of(const at::Tensor& t_tile, const at::Tensor& t_row) {
  check_index(t_tile, "t_tile_indices");
  check_shape(t_tile, "t_tile_indices", t_row.sizes());
}

// Both lists, whose values have been checked, are of the same blocks, those of `groups` patterns.
inline void check_transposed_values(const at::Tensor& crow, const at::Tensor& col,
                                    const at::Tensor& t_crow, const at::Tensor& t_row,
                                    const at::Tensor& t_tile, int64_t groups = 1) {
  check_index_values(t_tile, "t_tile_indices", col.size(0));
  const int32_t *begin = crow.const_data_ptr<int32_t>(), *column = col.const_data_ptr<int32_t>();
  const int32_t *t_begin = t_crow.const_data_ptr<int32_t>(), *row = t_row.const_data_ptr<int32_t>();
  const int32_t* tile = t_tile.const_data_ptr<int32_t>();
  const int64_t rows = (crow.size(0) - 1) / groups, columns = (t_crow.size(0) - 1) / groups;
  for (int64_t c = 0; c < groups * columns; ++c)
    for (int64_t i = t_begin[c]; i < t_begin[c + 1]; ++i) {
      const int64_t r = c / columns * rows + row[i];
      TORCH_CHECK(column[tile[i]] == c % columns && begin[r] <= tile[i] && tile[i] < begin[r + 1],
                  "t_tile_indices: expected the blocks of crow_indices and col_indices by column, "
                  "got another in ",
                  i);
    }
}

inline void check_scale(double scale) {
  TORCH_CHECK(std::isfinite(scale), "scale: expected a finite number, got ", scale);
}

inline void check_key_padding_mask(const at::Tensor& mask, int64_t batch, int64_t length) {
  TORCH_CHECK(mask.scalar_type() == at::kBool, "key_padding_mask: expected bool, got ",
              mask.scalar_type());
  check_shape(mask, "key_padding_mask", {batch, length});
}

// Fused attention's sizes; blocks: whole ones that cover the sequences.
struct AttentionSizes {
  int64_t batch, heads, kv_heads, length, key_length, width;
  int64_t row_blocks, column_blocks, pattern_rows, pattern_columns;
};

// See schema.cpp. `t_crow` says how many block columns the patterns have.
inline AttentionSizes check_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const at::Tensor& crow, const at::Tensor& col,
                                      const at::Tensor& t_crow, int64_t block_size, int64_t groups,
                                      bool causal, const std::optional<at::Tensor>& mask,
                                      double scale) {
  check_heads(q, "q", kWithHalf);
  check_heads(k, "k", kWithHalf);
  check_heads(v, "v", kWithHalf);
  check_same(k, "k", q, "q");
  check_same(v, "v", q, "q");
  const int64_t batch = q.size(0), heads = q.size(1), kv_heads = k.size(1);
  check_shape(k, "k", {batch, kv_heads, k.size(2), q.size(3)});
  check_shape(v, "v", k.sizes());
  TORCH_CHECK(kv_heads > 0 ? heads % kv_heads == 0 : heads == 0,
              "k: expected a number of heads that divides the ", heads, " of q, got ", kv_heads);
  check_list(crow, col, block_size);
  check_begin(t_crow, "t_crow_indices", block_size);
  check_scale(scale);
  TORCH_CHECK(groups > 0 && heads % groups == 0,
              "groups: expected a number that divides the heads, ", heads, ", got ", groups);
  const auto blocks = [&](const at::Tensor& list, const char* name, int64_t length) {
    TORCH_CHECK((list.size(0) - 1) % groups == 0, name, ": expected ", groups,
                " groups of blocks, got ", list.size(0) - 1, " blocks");
    const int64_t given = (list.size(0) - 1) / groups;
    TORCH_CHECK(length <= given * block_size, name, ": expected at least ", length,
                " tokens for the sequence, got ", given, " blocks of ", block_size);
    return given;
  };
  const int64_t pattern_rows = blocks(crow, "crow_indices", q.size(2));
  const int64_t pattern_columns = blocks(t_crow, "t_crow_indices", k.size(2));
  TORCH_CHECK(!causal || q.size(2) == k.size(2), "causal: expected as many keys as queries, got ",
              k.size(2), " keys and ", q.size(2), " queries");
  if (mask) check_key_padding_mask(*mask, batch, k.size(2));
  const auto covering = [&](int64_t length) { return (length + block_size - 1) / block_size; };
  return {batch,
          heads,
          kv_heads,
          q.size(2),
          k.size(2),
          q.size(3),
          covering(q.size(2)),
          covering(k.size(2)),
          pattern_rows,
          pattern_columns};
}

}  // namespace spion_bench

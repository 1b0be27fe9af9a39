// The pattern operators for torch tensors: checks, memory and the choice of a kernel, the same for
// a CUDA device and for the emulator. Bindings only add where to run.
//
// Nothing here reads device memory or waits for the device, so nobody looks for NaN in a pooled
// map.
#pragma once

#include <ATen/ops/zeros.h>

#include <string_view>

#include "bind.h"
#include "pattern_launch.h"

namespace spion_bench::cuda {

constexpr int64_t kMaxMapLength = int64_t{1} << 18;  // grid sizes; such a map takes 256 GiB

inline void check_map_length(int64_t length, const char* name) {
  TORCH_CHECK(length <= kMaxMapLength, name, ": expected at most ", kMaxMapLength,
              " rows on CUDA, got ", length);
}

inline void check_pattern_launch(const char* op, const char* error) {
  TORCH_CHECK(error == nullptr, op, ": the kernel could not be launched: ", error);
}

template <typename T>
MapView<T> map_view(const at::Tensor& x) {
  return {x.const_data_ptr<T>(), x.stride(0), x.stride(1)};
}

// body(static_cast<T*>(nullptr)) with the type of x, which has been checked.
template <typename Body>
const char* with_map_type(const at::Tensor& x, const Body& body) {
  return x.scalar_type() == at::kFloat ? body(static_cast<float*>(nullptr))
                                       : body(static_cast<double*>(nullptr));
}

inline at::Tensor attention_map(const at::Tensor& q_in, const at::Tensor& k_in,
                                const std::optional<at::Tensor>& key_padding_mask, double scale,
                                prim::Stream stream) {
  check_heads(q_in, "q");
  check_heads(k_in, "k");
  check_same(k_in, "k", q_in, "q");
  check_shape(k_in, "k", q_in.sizes());
  const int64_t batch = q_in.size(0), heads = q_in.size(1), length = q_in.size(2);
  TORCH_CHECK(batch * heads > 0, "q: expected at least one batch item and head, got shape ",
              q_in.sizes());
  TORCH_CHECK(q_in.scalar_type() == at::kFloat, "q: expected float32 on CUDA, got ",
              q_in.scalar_type(), "; move the tensors to the CPU or cast them");
  check_supported(q_in, "q", 16);  // any block size would do
  check_map_length(length, "q");
  if (key_padding_mask) check_key_padding_mask(*key_padding_mask, batch, length);
  const auto mask = key_padding_mask ? std::optional(key_padding_mask->contiguous()) : std::nullopt;
  const at::Tensor map = at::empty({length, length}, q_in.options());
  if (length == 0) return map;
  const at::Tensor q = with_16_byte_rows(q_in), k = with_16_byte_rows(k_in);
  const at::Tensor row_stats = at::empty({batch * heads, length, 2}, q.options());

  AttentionMapArgs args;
  args.batch = static_cast<int>(batch);
  args.heads = static_cast<int>(heads);
  args.length = static_cast<int>(length);
  args.width = static_cast<int>(q.size(3));
  args.key_padding_mask = mask ? mask->const_data_ptr<bool>() : nullptr;
  args.score_factor = static_cast<float>(
      std::max<double>(std::fabs(scale) * M_LOG2E, std::numeric_limits<float>::min()));
  args.is_negated = scale < 0;
  args.share = 1.0f / static_cast<float>(batch * heads);
  args.q = heads_view(q);
  args.k = heads_view(k);
  args.row_stats = row_stats.mutable_data_ptr<float>();
  args.map = map.mutable_data_ptr<float>();
  const bool is_tf32 = at::globalContext().allowTF32CuBLAS();
  check_pattern_launch("attention_map", is_tf32 ? launch_attention_map<TF32>(args, stream)
                                                : launch_attention_map<TF32x3>(args, stream));
  return map;
}

inline at::Tensor diagonal_conv(const at::Tensor& attention_map, int64_t filter_size,
                                prim::Stream stream) {
  check_float(attention_map, "attention_map");
  check_square(attention_map, "attention_map");
  TORCH_CHECK(filter_size > 0 && filter_size % 2 == 1,
              "filter_size: expected a positive odd number, got ", filter_size);
  const int64_t length = attention_map.size(0);
  check_map_length(length, "attention_map");
  const at::Tensor out = at::empty({length, length}, attention_map.options());
  if (length == 0) return out;
  check_pattern_launch("diagonal_conv", with_map_type(attention_map, [&]<typename T>(T*) {
                         DiagonalConvArgs<T> args;
                         args.map = map_view<T>(attention_map);
                         args.length = static_cast<int>(length);
                         // Taps beyond L - 1 only ever see zeros.
                         args.half = static_cast<int>(std::min(filter_size / 2, length - 1));
                         args.out = out.mutable_data_ptr<T>();
                         return launch_diagonal_conv<T>(args, stream);
                       }));
  return out;
}

inline at::Tensor average_pool(const at::Tensor& attention_map, int64_t block_size,
                               prim::Stream stream) {
  check_float(attention_map, "attention_map");
  check_square(attention_map, "attention_map");
  const int64_t length = attention_map.size(0);
  TORCH_CHECK(block_size > 0 && length % block_size == 0,
              "block_size: expected a divisor of the map's length ", length, ", got ", block_size);
  check_map_length(length, "attention_map");
  const int64_t nb = length / block_size;
  const at::Tensor pooled = at::empty({nb, nb}, attention_map.options());
  if (nb == 0) return pooled;
  check_pattern_launch("average_pool", with_map_type(attention_map, [&]<typename T>(T*) {
                         AveragePoolArgs<T> args;
                         args.map = map_view<T>(attention_map);
                         args.block_size = static_cast<int>(block_size);
                         args.n_blocks = static_cast<int>(nb);
                         args.pooled = pooled.mutable_data_ptr<T>();
                         return launch_average_pool<T>(args, stream);
                       }));
  return pooled;
}

inline at::Tensor flood_fill(const at::Tensor& pooled, double threshold, std::string_view selection,
                             prim::Stream stream) {
  check_float(pooled, "pooled");
  TORCH_CHECK(pooled.dim() == 2 && pooled.size(0) == pooled.size(1),
              "pooled: expected a square [nb, nb] matrix, got ", pooled.sizes());
  TORCH_CHECK(selection == "walk" || selection == "connected",
              "selection: expected \"walk\" or \"connected\", got \"", selection, "\"");
  check_map_length(pooled.size(0), "pooled");
  const at::Tensor kept = at::zeros(pooled.sizes(), pooled.options().dtype(at::kBool));
  if (pooled.numel() == 0) return kept;
  check_pattern_launch("flood_fill", with_map_type(pooled, [&]<typename T>(T*) {
                         FloodFillArgs<T> args;
                         args.pooled = map_view<T>(pooled);
                         args.n_blocks = static_cast<int>(pooled.size(0));
                         args.threshold = threshold;
                         args.kept = kept.mutable_data_ptr<bool>();
                         return selection == "walk" ? launch_flood_walk<T>(args, stream)
                                                    : launch_flood_growth<T>(args, stream);
                       }));
  return kept;
}

}  // namespace spion_bench::cuda

// The diagonal filter for torch tensors; see common/bind.h.
#pragma once

#include "common/bind_maps.h"
#include "diagonal_conv.h"

namespace spion_bench::cuda {

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
  check_launch("diagonal_conv", with_map_type(attention_map, [&]<typename T>(T*) {
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

}  // namespace spion_bench::cuda

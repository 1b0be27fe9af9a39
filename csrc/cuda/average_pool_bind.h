// Pooling for torch tensors; see common/bind.h.
#pragma once

#include "average_pool.h"
#include "common/bind_maps.h"

namespace spion_bench::cuda {

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
  check_launch("average_pool", with_map_type(attention_map, [&]<typename T>(T*) {
                 AveragePoolArgs<T> args;
                 args.map = map_view<T>(attention_map);
                 args.block_size = static_cast<int>(block_size);
                 args.n_blocks = static_cast<int>(nb);
                 args.pooled = pooled.mutable_data_ptr<T>();
                 return launch_average_pool<T>(args, stream);
               }));
  return pooled;
}

}  // namespace spion_bench::cuda

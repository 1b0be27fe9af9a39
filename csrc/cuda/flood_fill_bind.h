// Flood fill for torch tensors; see common/bind.h. A pooled map is not searched for NaN here: that
// would wait for the device.
#pragma once

#include <ATen/ops/zeros.h>

#include <string_view>

#include "common/bind_maps.h"
#include "flood_fill.h"

namespace spion_bench::cuda {

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
  check_launch("flood_fill", with_map_type(pooled, [&]<typename T>(T*) {
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

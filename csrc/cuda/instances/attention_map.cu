// Compiles the averaged attention map in TF32 and 3xTF32 and starts it; see ../attention_map.cuh.
#include "../attention_map.cuh"

#include "../pattern_launch.h"

namespace spion_bench::cuda {
namespace {

template <class Math, int D>
const char* launch_with_width(const AttentionMapArgs& args, prim::Stream stream) {
  const auto tiles = static_cast<unsigned>((args.length + kMapTile - 1) / kMapTile);
  const auto batch_heads = static_cast<unsigned>(args.batch * args.heads);
  if (const char* error = prim::launch<attention_map_stats_kernel<Math, D>>(
          {tiles, batch_heads}, kMapThreads, map_stats_shared_bytes<Math, D>(), stream, args))
    return error;
  return prim::launch<attention_map_kernel<Math, D>>({tiles, tiles}, kMapThreads,
                                                     map_shared_bytes<Math, D>(), stream, args);
}

}  // namespace

template <class Math>
const char* launch_attention_map(const AttentionMapArgs& args, prim::Stream stream) {
  if (args.width <= 32) return launch_with_width<Math, 32>(args, stream);
  if (args.width <= 64) return launch_with_width<Math, 64>(args, stream);
  return launch_with_width<Math, 128>(args, stream);
}
template const char* launch_attention_map<TF32>(const AttentionMapArgs&, prim::Stream);
template const char* launch_attention_map<TF32x3>(const AttentionMapArgs&, prim::Stream);

}  // namespace spion_bench::cuda

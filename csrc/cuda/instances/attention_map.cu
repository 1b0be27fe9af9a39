// Compiles the averaged attention map in TF32 and 3xTF32; see ../attention_map.cuh.
#include "../attention_map.cuh"

namespace spion_bench::cuda {

template const char* launch_attention_map<TF32>(const AttentionMapArgs&, prim::Stream);
template const char* launch_attention_map<TF32x3>(const AttentionMapArgs&, prim::Stream);

}  // namespace spion_bench::cuda

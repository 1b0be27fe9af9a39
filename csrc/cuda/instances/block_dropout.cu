// Compiles dropout on tiles in all types; see ../block_dropout.cuh.
#include "../block_dropout.cuh"

namespace spion_bench::cuda {

template const char* launch_block_dropout<F16>(const BlockDropoutArgs&, prim::Stream);
template const char* launch_block_dropout<BF16>(const BlockDropoutArgs&, prim::Stream);
template const char* launch_block_dropout<TF32>(const BlockDropoutArgs&, prim::Stream);

}  // namespace spion_bench::cuda

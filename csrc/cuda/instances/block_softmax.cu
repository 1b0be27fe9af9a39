// Compiles block softmax and its backward pass in all types; see ../block_softmax.cuh.
#include "../block_softmax.cuh"

namespace spion_bench::cuda {

template const char* launch_block_softmax<F16>(const BlockSoftmaxArgs&, prim::Stream);
template const char* launch_block_softmax_backward<F16>(const BlockSoftmaxBackwardArgs&,
                                                        prim::Stream);
template const char* launch_block_softmax<BF16>(const BlockSoftmaxArgs&, prim::Stream);
template const char* launch_block_softmax_backward<BF16>(const BlockSoftmaxBackwardArgs&,
                                                         prim::Stream);
template const char* launch_block_softmax<TF32>(const BlockSoftmaxArgs&, prim::Stream);
template const char* launch_block_softmax_backward<TF32>(const BlockSoftmaxBackwardArgs&,
                                                         prim::Stream);

}  // namespace spion_bench::cuda

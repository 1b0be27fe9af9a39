// Compiles the pipeline's row-wise kernels in all types; see ../pipeline_launch.cuh.
#include "../pipeline_launch.cuh"

namespace spion_bench::cuda {

#define SPION_ROWS(Math)                                                                        \
  template const char* launch_softmax<Math>(const SoftmaxArgs&, prim::Stream);                  \
  template const char* launch_softmax_backward<Math>(const SoftmaxBackwardArgs&, prim::Stream); \
  template const char* launch_dropout<Math>(const DropoutArgs&, prim::Stream);
SPION_ROWS(F16)
SPION_ROWS(BF16)
SPION_ROWS(TF32)
#undef SPION_ROWS

}  // namespace spion_bench::cuda

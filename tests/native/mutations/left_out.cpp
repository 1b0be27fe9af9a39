// Stands for the instances that the emulated library of libraries.py leaves out.
#include "../../csrc/cuda/pipeline_launch.h"

namespace spion_bench::cuda {

#define SPION_LEFT_OUT(name, Math, Args)               \
  template <>                                          \
  const char* name<Math>(const Args&, prim::Stream) {  \
    return #name "<" #Math "> is not in this library"; \
  }
#define SPION_LEFT_OUT_ALL(Math)                       \
  SPION_LEFT_OUT(launch_forward, Math, AttentionArgs)  \
  SPION_LEFT_OUT(launch_backward, Math, AttentionArgs) \
  SPION_LEFT_OUT(launch_sddmm, Math, SddmmArgs)        \
  SPION_LEFT_OUT(launch_spmm, Math, SpmmArgs)
SPION_LEFT_OUT_ALL(BF16)
SPION_LEFT_OUT_ALL(TF32)
SPION_LEFT_OUT_ALL(TF32x3)
#undef SPION_LEFT_OUT_ALL
#undef SPION_LEFT_OUT

}  // namespace spion_bench::cuda

// Stands for the instances that the emulated library of libraries.py leaves out.
#include "../../../csrc/cuda/block_attention.h"
#include "../../../csrc/cuda/block_sddmm.h"
#include "../../../csrc/cuda/block_spmm.h"

namespace spion_bench::cuda {

#define SPION_LEFT_OUT(name, Math, Args)               \
  template <>                                          \
  const char* name<Math>(const Args&, prim::Stream) {  \
    return #name "<" #Math "> is not in this library"; \
  }
#define SPION_LEFT_OUT_ALL(Math)                                            \
  SPION_LEFT_OUT(launch_block_attention_forward, Math, BlockAttentionArgs)  \
  SPION_LEFT_OUT(launch_block_attention_backward, Math, BlockAttentionArgs) \
  SPION_LEFT_OUT(launch_block_sddmm, Math, BlockSddmmArgs)                  \
  SPION_LEFT_OUT(launch_block_spmm, Math, BlockSpmmArgs)
SPION_LEFT_OUT_ALL(BF16)
SPION_LEFT_OUT_ALL(TF32)
SPION_LEFT_OUT_ALL(TF32x3)
#undef SPION_LEFT_OUT_ALL
#undef SPION_LEFT_OUT

}  // namespace spion_bench::cuda

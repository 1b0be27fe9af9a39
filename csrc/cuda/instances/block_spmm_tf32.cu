// Compiles block SpMM in TF32; see ../block_spmm.cuh.
#include "../block_spmm.cuh"

template const char* spion_bench::cuda::launch_block_spmm<spion_bench::cuda::TF32>(
    const spion_bench::cuda::BlockSpmmArgs&, spion_bench::prim::Stream);

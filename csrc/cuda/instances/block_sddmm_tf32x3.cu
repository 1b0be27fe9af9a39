// Compiles block SDDMM in TF32x3; see ../block_sddmm.cuh.
#include "../block_sddmm.cuh"

template const char* spion_bench::cuda::launch_block_sddmm<spion_bench::cuda::TF32x3>(
    const spion_bench::cuda::BlockSddmmArgs&, spion_bench::prim::Stream);

// Compiles block SDDMM in F16; see ../block_sddmm.cuh.
#include "../block_sddmm.cuh"

template const char* spion_bench::cuda::launch_block_sddmm<spion_bench::cuda::F16>(
    const spion_bench::cuda::BlockSddmmArgs&, spion_bench::prim::Stream);

// Compiles the diagonal filter in both types; see ../diagonal_conv.cuh.
#include "../diagonal_conv.cuh"

namespace spion_bench::cuda {

template const char* launch_diagonal_conv<float>(const DiagonalConvArgs<float>&, prim::Stream);
template const char* launch_diagonal_conv<double>(const DiagonalConvArgs<double>&, prim::Stream);

}  // namespace spion_bench::cuda

// Dropout on stored tiles, with the very mask that the fused operator draws (see common/kernels.h).

#include <torch/library.h>

#include "common/binding.h"

namespace spion_bench::cpu {
namespace {

template <typename T>
void run(const at::Tensor& probs, const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
         const Dropout& dropout, at::Tensor& out) {
  const int64_t nb = crow.size(0) - 1, nnzb = col.size(0);
  const int32_t* c = crow.const_data_ptr<int32_t>();
  const int32_t* columns = col.const_data_ptr<int32_t>();
  const T* in = probs.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  for_each_unit(probs.size(0) * probs.size(1) * nb, [&](int64_t unit, int) {
    const int64_t bh = unit / nb, row = unit % nb;
    for (int64_t t = c[row]; t < c[row + 1]; ++t) {
      const int64_t at = (bh * nnzb + t) * block_size * block_size;
      kernels_of<T>().dropout_tile(block_size, dropout, row * block_size, columns[t] * block_size,
                                   bh, in + at, result + at);
    }
  });
}

at::Tensor block_dropout(const at::Tensor& probs, const at::Tensor& crow, const at::Tensor& col,
                         int64_t block_size, double p, int64_t seed) {
  check_float(probs, "probs");
  check_list(crow, col, block_size);
  check_list_values(crow, col);
  TORCH_CHECK(probs.dim() == 5, "probs: expected [B, H, nnzb, S, S], got ", probs.dim(),
              " dimensions");
  check_shape(probs, "probs", {probs.size(0), probs.size(1), col.size(0), block_size, block_size});
  const Dropout dropout = make_dropout(p, seed);
  const at::Tensor in = probs.contiguous();
  at::Tensor out = empty_result(probs.sizes(), probs.options());
  if (probs.numel() == 0) return out;  // no tiles, however many batch items
  if (probs.scalar_type() == at::kFloat)
    run<float>(in, crow, col, block_size, dropout, out);
  else
    run<double>(in, crow, col, block_size, dropout, out);
  return out;
}

}  // namespace
}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) {
  m.impl("block_dropout", &spion_bench::cpu::block_dropout);
}

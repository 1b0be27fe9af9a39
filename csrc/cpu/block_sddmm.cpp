// scores = scale * q k^T on the kept tiles (sampled dense-dense product).

#include <torch/library.h>

#include "common/binding.h"

namespace spion_bench::cpu {
namespace {

template <typename T>
void run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& crow, const at::Tensor& col,
         int64_t block_size, double scale, at::Tensor& scores) {
  const HeadsView<const T> q_view = view_in<T>(q), k_view = view_in<T>(k);
  const int64_t heads = q.size(1), width = q.size(3), nb = crow.size(0) - 1, nnzb = col.size(0);
  const int32_t* c = crow.const_data_ptr<int32_t>();
  const int32_t* columns = col.const_data_ptr<int32_t>();
  T* tiles = scores.mutable_data_ptr<T>();
  const Scratch<T> scratch(sddmm_scratch(width, block_size));
  for_each_unit(q.size(0) * heads * nb, [&](int64_t unit, int thread) {
    const int64_t bh = unit / nb, row = unit % nb;
    const T* q_row = q_view.at(bh / heads, bh % heads) + row * block_size * q_view.row_stride;
    const T* k_head = k_view.at(bh / heads, bh % heads);
    for (int64_t t = c[row]; t < c[row + 1]; ++t)
      kernels_of<T>().sddmm_tile(
          block_size, width, scale, q_row, q_view.row_stride,
          k_head + columns[t] * block_size * k_view.row_stride, k_view.row_stride,
          tiles + (bh * nnzb + t) * block_size * block_size, scratch.of(thread));
  });
}

at::Tensor block_sddmm(const at::Tensor& q, const at::Tensor& k, const at::Tensor& crow,
                       const at::Tensor& col, const at::Tensor& /*t_crow*/,
                       const at::Tensor& /*t_row*/, const at::Tensor& /*t_tile*/,
                       int64_t block_size, double scale) {
  check_heads(q, "q");
  check_heads(k, "k");
  check_same(k, "k", q, "q");
  check_shape(k, "k", q.sizes());
  check_pattern(crow, col, block_size, q.size(2));
  check_list_values(crow, col);
  check_scale(scale);
  const at::Tensor q_ = pad_width(q), k_ = pad_width(k);
  at::Tensor scores =
      empty_result({q.size(0), q.size(1), col.size(0), block_size, block_size}, q.options());
  if (q.scalar_type() == at::kFloat)
    run<float>(q_, k_, crow, col, block_size, scale, scores);
  else
    run<double>(q_, k_, crow, col, block_size, scale, scores);
  return scores;
}

}  // namespace
}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) { m.impl("block_sddmm", &spion_bench::cpu::block_sddmm); }

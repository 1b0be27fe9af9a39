// out = probs v on the kept tiles, and out = probs^T v by the transposed list: block rows of the
// result are independent in both, so no two threads write the same place.

#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "common/binding.h"

namespace spion_bench::cpu {
namespace {

void check_operands(const at::Tensor& probs, const at::Tensor& v, const at::Tensor& crow,
                    const at::Tensor& index, int64_t block_size, ListNames names = kByRow) {
  check_heads(v, "v");
  check_pattern(crow, index, block_size, v.size(2), names);
  check_list_values(crow, index, names);
  check_same(probs, "probs", v, "v");
  check_shape(probs, "probs", {v.size(0), v.size(1), index.size(0), block_size, block_size});
}

// `tile_of` gives each list entry's tile: its own position, or the transposed list's permutation.
template <typename T>
void run(const at::Tensor& probs, const at::Tensor& v, const at::Tensor& crow,
         const at::Tensor& index, const int32_t* tile_of, int64_t block_size, at::Tensor& out) {
  const HeadsView<const T> v_view = view_in<T>(v);
  const int64_t heads = v.size(1), width = v.size(3), nb = crow.size(0) - 1, nnzb = index.size(0);
  const int32_t* c = crow.const_data_ptr<int32_t>();
  const int32_t* columns = index.const_data_ptr<int32_t>();
  const T* tiles = probs.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  for_each_unit(v.size(0) * heads * nb, [&](int64_t unit, int) {
    const int64_t bh = unit / nb, row = unit % nb;
    const T* v_head = v_view.at(bh / heads, bh % heads);
    for (int64_t t = c[row]; t < c[row + 1]; ++t) {
      const int64_t tile = bh * nnzb + (tile_of ? tile_of[t] : t);
      kernels_of<T>().spmm_tile(block_size, width, tile_of != nullptr,
                                tiles + tile * block_size * block_size,
                                v_head + columns[t] * block_size * v_view.row_stride,
                                v_view.row_stride, result + unit * block_size * width);
    }
  });
}

at::Tensor spmm(const at::Tensor& probs, const at::Tensor& v, const at::Tensor& crow,
                const at::Tensor& index, const int32_t* tile_of, int64_t block_size) {
  const at::Tensor v_ = pad_width(v), probs_ = probs.contiguous();
  at::Tensor out = at::zeros(v_.sizes(), v.options());
  if (v.scalar_type() == at::kFloat)
    run<float>(probs_, v_, crow, index, tile_of, block_size, out);
  else
    run<double>(probs_, v_, crow, index, tile_of, block_size, out);
  return unpad_width(out, v.size(3));
}

at::Tensor block_spmm(const at::Tensor& probs, const at::Tensor& v, const at::Tensor& crow,
                      const at::Tensor& col, const at::Tensor& /*t_crow*/,
                      const at::Tensor& /*t_row*/, const at::Tensor& /*t_tile*/,
                      int64_t block_size) {
  check_operands(probs, v, crow, col, block_size);
  return spmm(probs, v, crow, col, nullptr, block_size);
}

at::Tensor block_spmm_transposed(const at::Tensor& probs, const at::Tensor& v,
                                 const at::Tensor& t_crow, const at::Tensor& t_row,
                                 const at::Tensor& t_tile, int64_t block_size) {
  check_operands(probs, v, t_crow, t_row, block_size, kByColumn);
  check_tiles_of(t_tile, t_row);
  check_index_values(t_tile, "t_tile_indices", t_row.size(0));
  return spmm(probs, v, t_crow, t_row, t_tile.const_data_ptr<int32_t>(), block_size);
}

}  // namespace
}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) {
  m.impl("block_spmm", &spion_bench::cpu::block_spmm);
  m.impl("block_spmm_transposed", &spion_bench::cpu::block_spmm_transposed);
}

// torch.ops.spion_bench on CUDA tensors: which device and which stream the kernels run on.
//
// The schemas are those of ../../schema.cpp, whose library has to be loaded before this one.
// Kernels are ordered by the caller's current stream and nothing waits for them, so that a call can
// be captured in a CUDA graph. ../<op>_bind.h checks every launch.
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <initializer_list>

#include "../../operators.h"
#include "../attention_map_bind.h"
#include "../average_pool_bind.h"
#include "../block_attention_bind.h"
#include "../block_dropout_bind.h"
#include "../block_sddmm_bind.h"
#include "../block_softmax_bind.h"
#include "../block_spmm_bind.h"
#include "../diagonal_conv_bind.h"
#include "../flood_fill_bind.h"

namespace spion_bench::on_cuda {
namespace {

using at::Tensor;
using MaybeTensor = std::optional<Tensor>;

struct Named {
  Named(const Tensor& x, const char* name) : x(&x), name(name) {}
  Named(const MaybeTensor& x, const char* name) : x(x ? &*x : nullptr), name(name) {}

  const Tensor* x;
  const char* name;
};

// Where a call runs: on the device of its tensors, which is the current one while this lives, in
// its current stream. The kernels would take a tensor of any other device for one of theirs.
class Place {
 public:
  explicit Place(std::initializer_list<Named> tensors) : guard_(common_device(tensors)) {}

  cudaStream_t stream() const { return c10::cuda::getCurrentCUDAStream(); }

 private:
  static c10::Device common_device(std::initializer_list<Named> tensors) {
    const Named& first = *tensors.begin();
    TORCH_CHECK(first.x->is_cuda(), first.name, ": expected a CUDA tensor, got one on ",
                first.x->device());
    for (const Named& other : tensors)
      TORCH_CHECK(other.x == nullptr || other.x->device() == first.x->device(), other.name,
                  ": expected device ", first.x->device(), " as ", first.name, ", got ",
                  other.x->device());
    return first.x->device();
  }

  const c10::cuda::CUDAGuard guard_;
};

std::tuple<Tensor, Tensor> block_attention_forward(
    const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& crow, const Tensor& col,
    const Tensor& t_crow, const Tensor& /*t_row*/, const Tensor& /*t_tile*/, int64_t block_size,
    int64_t groups, bool causal, bool zero_logit, const MaybeTensor& mask, double scale,
    double dropout_p, int64_t dropout_seed) {
  const Place place({{q, "q"},
                     {k, "k"},
                     {v, "v"},
                     {crow, "crow_indices"},
                     {col, "col_indices"},
                     {mask, "key_padding_mask"}});
  cuda::AttentionInputs inputs(q, k, v, crow, col, t_crow, block_size, groups, causal, zero_logit,
                               mask, scale, dropout_p, dropout_seed);
  return cuda::block_attention_forward(std::move(inputs), place.stream());
}

std::tuple<Tensor, Tensor, Tensor> block_attention_backward(
    const Tensor& dout, const MaybeTensor& dlse, const Tensor& q, const Tensor& k, const Tensor& v,
    const Tensor& out, const Tensor& lse, const Tensor& crow, const Tensor& col,
    const Tensor& t_crow, const Tensor& t_row, const Tensor& t_tile, int64_t block_size,
    int64_t groups, bool causal, bool zero_logit, const MaybeTensor& mask, double scale,
    double dropout_p, int64_t dropout_seed) {
  const Place place({{q, "q"},
                     {k, "k"},
                     {v, "v"},
                     {dout, "dout"},
                     {dlse, "dlse"},
                     {out, "out"},
                     {lse, "lse"},
                     {crow, "crow_indices"},
                     {col, "col_indices"},
                     {t_crow, "t_crow_indices"},
                     {t_row, "t_row_indices"},
                     {t_tile, "t_tile_indices"},
                     {mask, "key_padding_mask"}});
  cuda::AttentionInputs inputs(q, k, v, crow, col, t_crow, block_size, groups, causal, zero_logit,
                               mask, scale, dropout_p, dropout_seed);
  const cuda::AttentionGradients given{dout, out, lse, dlse, t_crow, t_row, t_tile};
  cuda::check_gradients(given, inputs, q);
  return cuda::block_attention_backward(std::move(inputs), given, place.stream());
}

Tensor block_sddmm(const Tensor& q, const Tensor& k, const Tensor& crow, const Tensor& col,
                   const Tensor& /*t_crow*/, const Tensor& /*t_row*/, const Tensor& /*t_tile*/,
                   int64_t block_size, double scale) {
  const Place place({{q, "q"}, {k, "k"}, {crow, "crow_indices"}, {col, "col_indices"}});
  return cuda::block_sddmm(q, k, crow, col, block_size, scale, place.stream());
}

std::tuple<Tensor, Tensor> block_softmax(const Tensor& scores, const Tensor& crow,
                                         const Tensor& col, int64_t block_size, bool zero_logit,
                                         const MaybeTensor& mask) {
  const Place place({{scores, "scores"},
                     {crow, "crow_indices"},
                     {col, "col_indices"},
                     {mask, "key_padding_mask"}});
  return cuda::block_softmax(scores, crow, col, block_size, zero_logit, mask, place.stream());
}

Tensor block_softmax_backward(const Tensor& dprobs, const MaybeTensor& dlse, const Tensor& probs,
                              const Tensor& crow, int64_t block_size) {
  const Place place({{dprobs, "dprobs"}, {dlse, "dlse"}, {probs, "probs"}, {crow, "crow_indices"}});
  return cuda::block_softmax_backward(dprobs, dlse, probs, crow, block_size, place.stream());
}

Tensor block_spmm(const Tensor& probs, const Tensor& v, const Tensor& crow, const Tensor& col,
                  const Tensor& /*t_crow*/, const Tensor& /*t_row*/, const Tensor& /*t_tile*/,
                  int64_t block_size) {
  const Place place({{probs, "probs"}, {v, "v"}, {crow, "crow_indices"}, {col, "col_indices"}});
  return cuda::block_spmm(probs, v, crow, col, block_size, place.stream());
}

Tensor block_spmm_transposed(const Tensor& probs, const Tensor& v, const Tensor& t_crow,
                             const Tensor& t_row, const Tensor& t_tile, int64_t block_size) {
  const Place place({{probs, "probs"},
                     {v, "v"},
                     {t_crow, "t_crow_indices"},
                     {t_row, "t_row_indices"},
                     {t_tile, "t_tile_indices"}});
  return cuda::block_spmm_transposed(probs, v, t_crow, t_row, t_tile, block_size, place.stream());
}

Tensor block_dropout(const Tensor& probs, const Tensor& crow, const Tensor& col, int64_t block_size,
                     double p, int64_t seed) {
  const Place place({{probs, "probs"}, {crow, "crow_indices"}, {col, "col_indices"}});
  return cuda::block_dropout(probs, crow, col, block_size, p, seed, place.stream());
}

Tensor attention_map(const Tensor& q, const Tensor& k, const MaybeTensor& mask, double scale) {
  const Place place({{q, "q"}, {k, "k"}, {mask, "key_padding_mask"}});
  return cuda::attention_map(q, k, mask, scale, place.stream());
}

Tensor diagonal_conv(const Tensor& attention_map, int64_t filter_size) {
  const Place place({{attention_map, "attention_map"}});
  return cuda::diagonal_conv(attention_map, filter_size, place.stream());
}

Tensor average_pool(const Tensor& attention_map, int64_t block_size) {
  const Place place({{attention_map, "attention_map"}});
  return cuda::average_pool(attention_map, block_size, place.stream());
}

Tensor flood_fill(const Tensor& pooled, double threshold, std::string_view selection) {
  const Place place({{pooled, "pooled"}});
  return cuda::flood_fill(pooled, threshold, selection, place.stream());
}

}  // namespace
}  // namespace spion_bench::on_cuda

TORCH_LIBRARY_IMPL(spion_bench, CUDA, m) {
  using namespace spion_bench::on_cuda;
#define SPION_BIND(name) m.impl(#name, &name);
  SPION_OPERATORS(SPION_BIND)
#undef SPION_BIND
}

// The batch- and head-averaged dense attention map that pattern generation starts from.

#include <torch/library.h>

#include "common/binding.h"

namespace spion_bench::cpu {
namespace {

template <typename T>
void run(const at::Tensor& q, const at::Tensor& k, const std::optional<at::Tensor>& mask,
         double scale, at::Tensor& map) {
  AttentionArgs<T> args;
  args.batch = q.size(0);
  args.heads = q.size(1);
  args.length = q.size(2);
  args.width = q.size(3);
  args.key_padding_mask = mask ? mask->const_data_ptr<bool>() : nullptr;
  args.scale = scale;
  args.q = view_in<T>(q);
  args.k = view_in<T>(k);
  T* out = map.mutable_data_ptr<T>();
  const Scratch<T> scratch(attention_map_scratch(args.width, args.length));
  for_each_unit((args.length + kMapRows - 1) / kMapRows, [&](int64_t unit, int thread) {
    kernels_of<T>().attention_map_rows(args, unit * kMapRows, out, scratch.of(thread));
  });
}

at::Tensor attention_map(const at::Tensor& q, const at::Tensor& k,
                         const std::optional<at::Tensor>& key_padding_mask, double scale) {
  check_heads(q, "q");
  check_heads(k, "k");
  check_same(k, "k", q, "q");
  check_shape(k, "k", q.sizes());
  TORCH_CHECK(q.size(0) * q.size(1) > 0, "q: expected at least one batch item and head, got shape ",
              q.sizes());
  check_scale(scale);
  if (key_padding_mask) check_key_padding_mask(*key_padding_mask, q.size(0), q.size(2));
  const auto mask = key_padding_mask ? std::optional(key_padding_mask->contiguous()) : std::nullopt;
  at::Tensor map = empty_result({q.size(2), q.size(2)}, q.options());
  if (q.scalar_type() == at::kFloat)
    run<float>(q, k, mask, scale, map);
  else
    run<double>(q, k, mask, scale, map);
  return map;
}

}  // namespace
}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) {
  m.impl("attention_map", &spion_bench::cpu::attention_map);
}

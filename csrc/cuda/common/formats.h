// Number formats by name, for what only passes them on; element.cuh defines them.
#pragma once

namespace spion_bench::cuda {

template <bool kIsBFloat16>
struct Half;
template <bool kIsSplit>
struct Single;
using F16 = Half<false>;
using BF16 = Half<true>;
using TF32 = Single<false>;
using TF32x3 = Single<true>;

}  // namespace spion_bench::cuda

// Chooses the instruction set at run time.

#include <c10/util/Exception.h>
#include <torch/library.h>

#include <cstdlib>
#include <string>

#include "kernels.h"

namespace spion_bench::cpu {
namespace {

bool runs_here(const std::string& capability) {
#if defined(__x86_64__)
  if (capability == "avx512")
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (capability == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return capability == "portable";
}

const Kernels& choose() {
  const Kernels* const all[] = {&kernels_avx512, &kernels_avx2, &kernels_portable};
  const char* forced = std::getenv("SPION_BENCH_CPU_CAPABILITY");
  for (const Kernels* candidate : all) {
    if (forced != nullptr && std::string(forced) != candidate->capability) continue;
    if (runs_here(candidate->capability)) return *candidate;
    TORCH_CHECK(forced == nullptr, "SPION_BENCH_CPU_CAPABILITY: this CPU does not run ", forced);
  }
  TORCH_CHECK(false, "SPION_BENCH_CPU_CAPABILITY: expected avx512, avx2 or portable, got ", forced);
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace spion_bench::cpu

TORCH_LIBRARY_IMPL(spion_bench, CatchAll, m) {
  m.impl("cpu_capability", [] { return std::string(spion_bench::cpu::kernels().capability); });
}

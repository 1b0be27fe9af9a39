#include "sets.h"

#include <string>

namespace spion_bench::cpu {

extern const Kernels kernels_wide;

namespace {

const Kernels* chosen = nullptr;

}  // namespace

const Kernels& kernels() { return *chosen; }

}  // namespace spion_bench::cpu

namespace spion_bench::driver {

std::vector<const cpu::Kernels*> instruction_sets() {
  return {&cpu::kernels_portable, &cpu::kernels_wide, &cpu::kernels_avx2, &cpu::kernels_avx512};
}

// As ../cpu/capability.cpp decides, which needs torch for its errors.
bool runs_here(const cpu::Kernels& set) {
  const std::string name = set.capability;
#if defined(__x86_64__)
  if (name == "avx512")
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (name == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return name == "portable" || name == "wide";
}

void choose(const cpu::Kernels& set) { cpu::chosen = &set; }

}  // namespace spion_bench::driver

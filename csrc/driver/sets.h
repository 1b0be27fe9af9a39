// The instruction sets, each chosen explicitly, where the library chooses the machine's best.
#pragma once

#include <vector>

#include "../cpu/common/kernels.h"

namespace spion_bench::driver {

// Best last. `wide` (isa_wide.cpp) exists in the driver only.
std::vector<const cpu::Kernels*> instruction_sets();

bool runs_here(const cpu::Kernels& set);

// From now on cpu::kernels() is this set. Not while threads run.
void choose(const cpu::Kernels& set);

}  // namespace spion_bench::driver

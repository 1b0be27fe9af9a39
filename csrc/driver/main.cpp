// Runs the CPU kernels without torch, Python and OpenMP, so that the compiler's sanitizers see all
// that they read, write and share: `nox -s sanitize`.
//
//   driver [SET ...]   portable, wide, avx2, avx512; by default all that this machine runs
//
// Exit status: 0 all results are right, 1 one is not (or a sanitizer found something), 2 wrong use.

#include <iostream>
#include <string>

#include "checks.h"
#include "sets.h"
#include "verdict.h"

namespace spion_bench::driver {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  std::cerr << message << std::endl;
  std::exit(2);
}

std::vector<const cpu::Kernels*> sets_to_run(const std::vector<std::string>& names) {
  std::vector<const cpu::Kernels*> sets;
  for (const cpu::Kernels* set : instruction_sets())
    if (names.empty() && runs_here(*set))
      sets.push_back(set);
    else if (names.empty())
      std::cout << set->capability << ": not run, this CPU does not have it" << std::endl;
  for (const std::string& name : names) {
    for (const cpu::Kernels* set : instruction_sets())
      if (name == set->capability) sets.push_back(set);
    if (sets.empty() || name != sets.back()->capability)
      refuse("SET: expected portable, wide, avx2 or avx512, got " + name);
    if (!runs_here(*sets.back())) refuse("SET: this CPU does not run " + name);
  }
  return sets;
}

void report(const std::string& what) {
  const Tally tally = take_tally();
  std::cout << what << ": " << tally.comparisons << " comparisons, largest error "
            << tally.largest_share << " of its tolerance" << std::endl;
}

int main(const std::vector<std::string>& names) {
  const std::vector<const cpu::Kernels*> sets = sets_to_run(names);
  if (!philox_is_right()) fail("reference", "Philox does not give its published numbers");
  for (const Case& c : cases)
    for (const bool zero_logit : {false, true}) {
      const Problem problem(c, zero_logit);
      const Attention expected = attention(problem);
      for (const cpu::Kernels* set : sets) {
        choose(*set);
        check_attention(problem, expected);
        if (c.is_plain()) check_pipeline(problem, expected);
      }
      report(problem.name);
    }
  for (const cpu::Kernels* set : sets) {
    choose(*set);
    check_maps();
    check_conversions();
    report(std::string(set->capability) + " maps and conversions");
  }
  std::cout << "all right" << std::endl;
  return 0;
}

}  // namespace
}  // namespace spion_bench::driver

int main(int argc, char** argv) {
  return spion_bench::driver::main(std::vector<std::string>(argv + 1, argv + argc));
}

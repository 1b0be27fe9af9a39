// Units of work on several threads. The bindings use OpenMP for this, whose runtime ThreadSanitizer
// does not understand; std::thread it does.
#pragma once

#include <atomic>
#include <cstdint>
#include <latch>
#include <thread>
#include <vector>

namespace spion_bench::driver {

constexpr int kSeveral = 4;  // threads; more than most machines that run this have to spare

// body(unit, thread) for every unit. Each thread's first unit is fixed, so that neighbouring units
// always run on different threads; the others are handed out by a counter. The counter orders
// nothing (relaxed): only the end of the threads does, as the end of the bindings' loops does.
template <typename Body>
void run_units(int threads, int64_t units, const Body& body) {
  std::atomic<int64_t> next = threads;
  std::latch start(threads);
  std::vector<std::jthread> workers;
  for (int thread = 0; thread < threads; ++thread)
    workers.emplace_back([&, thread] {
      start.arrive_and_wait();
      for (int64_t unit = thread; unit < units; unit = next.fetch_add(1, std::memory_order_relaxed))
        body(unit, thread);
    });
}

}  // namespace spion_bench::driver

// One running block of the emulator: its fibers, its barrier and its shared memory.
#pragma once

#include <vector>

#include "emulator.h"
#include "shared_memory.h"

namespace spion_bench::emu {

constexpr int kMaxThreads = 256;

struct Launch {
  Kernel kernel;
  const void* args;
  size_t shared_bytes;
  bool checks_races, counts_banks;
  unsigned seed;
};

class Block {
 public:
  Block();
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void prepare(int threads, const Launch& launch);
  void run_block(Dimensions index);
  void barrier();        // the last lane of each warp calls it
  void lane_returned();  // never comes back

  static thread_local Block* running __attribute__((tls_model("initial-exec")));
  Kernel kernel = nullptr;
  const void* args = nullptr;
  SharedMemory shared;
  BankCounter banks;
  bool counts_banks = false;
  Statistics statistics;

 private:
  Warp* next_runnable();
  [[noreturn]] void fail_barrier(const char* what) const;

  unsigned char* stacks_;
  size_t stride_ = 0;
  unsigned seed_ = 0;
  std::vector<Warp> warps_;
  std::vector<Lane> lanes_;
  std::vector<Lane*> first_lane_;
  std::vector<int> warp_order_;
  int barrier_arrived_ = 0, returned_warps_ = 0;
  Lane outside_;  // the operating-system thread itself
};

}  // namespace spion_bench::emu

// An emulator of the CUDA execution model, as far as csrc/cuda/common/prim.cuh needs it.
//
// Purpose: run the CUDA kernels' own source on a CPU and stop at anything that a GPU would get
// wrong silently. It says nothing about speed.
//
// Model: one fiber per CUDA thread, one operating-system thread per running block. A lane that
// reaches a warp collective leaves its operands on its stack and hands over to the next lane of its
// warp; the last lane to arrive does the work for all 32. Blocks share nothing.
//
// It aborts, with the position of every lane concerned, on
//   divergence            lanes of a warp meet at different collectives, or one has returned
//   deadlock              warps wait at a barrier that another warp has left behind
//   bad addresses         shared memory is as large as launched, to the byte; 16-byte accesses
//                         have to be aligned
//   cp.async misuse       reading or re-filling a chunk that is still in flight, returning with
//                         copies under way; copies land at the wait, not before
//   races                 two threads touch a word of shared memory, one writing, with neither
//                         __syncthreads nor (within a warp) __syncwarp between them
// Shared memory starts as NaN, and so does every chunk in flight.
//
// Environment: EMU_SEED permutes the order of blocks, warps and lanes; EMU_THREADS is the number of
// blocks that run at a time (default: all CPUs); EMU_RACES=0 turns the race check off; EMU_BANKS=1
// counts the bank conflicts of every load and store, not only those of ldmatrix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "formats.h"

namespace spion_bench::emu {

constexpr int kWarpSize = 32;

struct Dimensions {
  unsigned x, y;
};

// A position in the kernel sources.
struct Site {
  const char* file = nullptr;
  int line = 0;

  static Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  bool operator==(const Site&) const = default;
};

struct PendingCopy {
  uint32_t to;
  bool inside;
  const void* from;
};

struct Warp;

struct Lane {
  void* stack_pointer = nullptr;
  Lane* next = nullptr;  // the lane of the same warp that runs when this one waits
  Warp* warp = nullptr;
  int thread = 0, lane = 0;
  bool has_returned = false;
  std::vector<PendingCopy> copies;
  std::vector<size_t> groups;  // ends of committed groups in `copies`
};

struct Warp {
  Lane* lanes[kWarpSize] = {};
  const void* operands[kWarpSize] = {};
  Site sites[kWarpSize];
  const char* kinds[kWarpSize] = {};
  int arrived = 0, returned = 0;
  bool at_barrier = false;
  uint32_t epoch = 0;  // counts what orders memory within the warp
  Lane* resume = nullptr;
  int index = 0;
};

// The lane that this operating-system thread is running.
extern thread_local Lane* current __attribute__((tls_model("initial-exec")));
extern thread_local Dimensions current_block __attribute__((tls_model("initial-exec")));

struct Statistics {
  uint64_t launches = 0, mma = 0, ldmatrix = 0, bank_conflicts = 0;
};
// Sums over all launches since the last call.
Statistics take_statistics();

using Kernel = void (*)(const void* args);
void launch(Dimensions grid, int threads, size_t shared_bytes, Kernel kernel, const void* args);

[[noreturn]] void fail(Site site, const char* format, ...) __attribute__((format(printf, 2, 3)));

extern "C" void spion_emu_switch(void** save, void* load);

inline void run(Lane* lane) {
  Lane* self = current;
  current = lane;
  spion_emu_switch(&self->stack_pointer, lane->stack_pointer);
}

[[noreturn]] void fail_mixed(const Warp& warp);

// Meets the other lanes of the warp; true for the one lane that has to do the work.
inline bool meet(Site site, const char* kind, const void* operand) {
  Lane* self = current;
  Warp& warp = *self->warp;
  const int lane = self->lane;
  warp.operands[lane] = operand;
  warp.sites[lane] = site;
  warp.kinds[lane] = kind;
  if (warp.returned > 0) fail_mixed(warp);
  if (++warp.arrived < kWarpSize) {
    run(self->next);
    return false;
  }
  for (int i = 0; i < kWarpSize; ++i)
    if (!(warp.sites[i] == site) || warp.kinds[i] != kind) fail_mixed(warp);
  warp.arrived = 0;
  return true;
}

inline int thread_index() { return current->thread; }
inline int block_x() { return static_cast<int>(current_block.x); }
inline int block_y() { return static_cast<int>(current_block.y); }

void sync_threads(Site site);
void sync_warp(Site site);
uint32_t shuffle_xor(uint32_t x, int mask, Site site);
uint32_t ballot(bool vote, Site site);
void ldmatrix_x4(uint32_t (&r)[4], uint32_t row, bool transposed, Site site);

enum class Format { kF16, kBF16, kTF32 };
template <Format kFormat>
void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site);

void cp_async_16(uint32_t to, const void* from, bool inside, Site site);
void cp_async_commit();
void cp_async_wait(int groups_left);

// Checks an access and returns where its bytes are.
unsigned char* shared_bytes(uint32_t address, int bytes, bool is_write, Site site);

template <typename T>
inline T load_shared(uint32_t address, Site site) {
  T x;
  std::memcpy(&x, shared_bytes(address, sizeof(T), false, site), sizeof(T));
  return x;
}
template <typename T>
inline void store_shared(uint32_t address, const T& x, Site site) {
  std::memcpy(shared_bytes(address, sizeof(T), true, site), &x, sizeof(T));
}
inline void check_aligned(const void* address, size_t bytes, Site site) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0)
    fail(site, "misaligned global access: %p is no multiple of %zu", address, bytes);
}

}  // namespace spion_bench::emu

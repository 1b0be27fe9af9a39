// Fibers, scheduling and barriers of the emulator; see emulator.h.
#include "emulator.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>
#include <utility>

#include "block.h"

#if !defined(__x86_64__) || !defined(__linux__)
#error "the emulator's fibers are written for x86-64 Linux"
#endif

// Saves the registers that a callee must keep and continues on another stack. `jmp` instead of
// `ret` keeps the processor's return predictor out of it.
asm(R"(
.text
.p2align 4
.globl spion_emu_switch
.hidden spion_emu_switch
.type spion_emu_switch, @function
spion_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx
.size spion_emu_switch, .-spion_emu_switch
)");

namespace spion_bench::emu {

thread_local Lane* current = nullptr;
thread_local Dimensions current_block{0, 0};
thread_local Block* Block::running = nullptr;

namespace {

constexpr size_t kStackBytes = 64 * 1024;

const char* file_name(const char* path) {
  const char* slash = path == nullptr ? nullptr : std::strrchr(path, '/');
  return slash ? slash + 1 : path ? path : "?";
}

void say_where(Site site) {
  const Lane* lane = current;
  if (lane != nullptr && lane->warp != nullptr)
    std::fprintf(stderr, "emulator: block (%u, %u) warp %d lane %d at %s:%d: ", current_block.x,
                 current_block.y, lane->warp->index, lane->lane, file_name(site.file), site.line);
  else
    std::fprintf(stderr, "emulator: ");
}

int environment_number(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::atoi(text);
}

}  // namespace

void fail(Site site, const char* format, ...) {
  say_where(site);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\n");
  std::fflush(stderr);
  std::abort();
}

void fail_mixed(const Warp& warp) {
  std::fprintf(stderr, "emulator: block (%u, %u) warp %d: divergence; its lanes are at\n",
               current_block.x, current_block.y, warp.index);
  for (int i = 0; i < kWarpSize; ++i) {
    if (warp.lanes[i]->has_returned)
      std::fprintf(stderr, "  lane %2d: returned from the kernel\n", i);
    else
      std::fprintf(stderr, "  lane %2d: %s at %s:%d\n", i, warp.kinds[i] ? warp.kinds[i] : "start",
                   file_name(warp.sites[i].file), warp.sites[i].line);
  }
  std::fflush(stderr);
  std::abort();
}

// The first code of every fiber.
void lane_main() {
  Block& block = *Block::running;
  block.kernel(block.args);
  block.lane_returned();
  __builtin_unreachable();
}

Block::Block() : stacks_(nullptr) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  stride_ = kStackBytes + page;
  void* memory = mmap(nullptr, stride_ * kMaxThreads, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail({}, "no memory for fiber stacks");
  stacks_ = static_cast<unsigned char*>(memory);
  for (int i = 0; i < kMaxThreads; ++i) mprotect(stacks_ + i * stride_, page, PROT_NONE);
}

Block::~Block() { munmap(stacks_, stride_ * kMaxThreads); }

void Block::prepare(int threads, const Launch& launch) {
  const int n_warps = threads / kWarpSize;
  if (static_cast<int>(warps_.size()) != n_warps || launch.seed != seed_) {
    seed_ = launch.seed;
    warps_.assign(n_warps, Warp());
    lanes_.resize(threads);
    std::mt19937 random(launch.seed);
    for (int w = 0; w < n_warps; ++w) {
      int order[kWarpSize];
      std::iota(order, order + kWarpSize, 0);
      if (launch.seed != 0) std::shuffle(order, order + kWarpSize, random);
      for (int i = 0; i < kWarpSize; ++i) {
        Lane& lane = lanes_[w * kWarpSize + i];
        lane.thread = w * kWarpSize + i;
        lane.lane = i;
        lane.warp = &warps_[w];
        warps_[w].lanes[i] = &lane;
        lanes_[w * kWarpSize + order[i]].next = &lanes_[w * kWarpSize + order[(i + 1) % kWarpSize]];
      }
      warps_[w].index = w;
      first_lane_.resize(n_warps);
      first_lane_[w] = &lanes_[w * kWarpSize + order[0]];
    }
    warp_order_.resize(n_warps);
    std::iota(warp_order_.begin(), warp_order_.end(), 0);
    if (launch.seed != 0) std::shuffle(warp_order_.begin(), warp_order_.end(), random);
  }
  kernel = launch.kernel;
  args = launch.args;
  shared.prepare(launch.shared_bytes, launch.checks_races);
  counts_banks = launch.counts_banks;
}

void Block::run_block(Dimensions index) {
  current_block = index;
  running = this;
  shared.start_block();
  barrier_arrived_ = returned_warps_ = 0;
  for (size_t w = 0; w < warps_.size(); ++w) {
    Warp& warp = warps_[w];
    warp.arrived = warp.returned = 0;
    warp.at_barrier = false;
    warp.resume = first_lane_[w];
    for (int i = 0; i < kWarpSize; ++i) {
      warp.kinds[i] = nullptr;
      warp.sites[i] = {};
    }
  }
  for (size_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    lane.has_returned = false;
    // What spion_emu_switch pops: six registers, then where to go. A function starts with its
    // stack pointer 8 below a multiple of 16.
    auto* top = reinterpret_cast<void**>(stacks_ + (i + 1) * stride_) - 1;
    *top = nullptr;
    *--top = reinterpret_cast<void*>(&lane_main);
    for (int r = 0; r < 6; ++r) *--top = nullptr;
    lane.stack_pointer = top;
  }
  current = &outside_;
  run(warps_[warp_order_[0]].resume);
}

Warp* Block::next_runnable() {
  for (const int w : warp_order_)
    if (!warps_[w].at_barrier && warps_[w].returned < kWarpSize) return &warps_[w];
  return nullptr;
}

void Block::lane_returned() {
  Lane* lane = current;
  Warp& warp = *lane->warp;
  lane->has_returned = true;
  if (!lane->copies.empty())
    fail({}, "thread %d returned with cp.async copies under way", lane->thread);
  ++warp.returned;
  if (warp.arrived > 0) fail_mixed(warp);
  if (warp.returned < kWarpSize) {
    Lane* next = lane->next;
    while (next->has_returned) next = next->next;
    run(next);
  }
  ++returned_warps_;
  if (Warp* next = next_runnable()) run(next->resume);
  if (returned_warps_ < static_cast<int>(warps_.size()))
    fail_barrier("warps returned from the kernel while others wait at a barrier");
  run(&outside_);
}

void Block::barrier() {
  Warp& warp = *current->warp;
  warp.at_barrier = true;
  warp.resume = current;
  if (++barrier_arrived_ < static_cast<int>(warps_.size())) {
    Warp* next = next_runnable();
    if (next == nullptr)
      fail_barrier("warps returned from the kernel while others wait at a barrier");
    run(next->resume);
    return;
  }
  for (const Warp& other : warps_)
    if (!(other.sites[0] == warp.sites[0])) fail_barrier("warps wait at different barriers");
  barrier_arrived_ = 0;
  for (Warp& other : warps_) other.at_barrier = false;
  shared.new_block_epoch();
}

void Block::fail_barrier(const char* what) const {
  std::fprintf(stderr, "emulator: block (%u, %u): deadlock: %s\n", current_block.x, current_block.y,
               what);
  for (const Warp& warp : warps_) {
    if (warp.returned == kWarpSize)
      std::fprintf(stderr, "  warp %2d: returned from the kernel\n", warp.index);
    else
      std::fprintf(stderr, "  warp %2d: %s at %s:%d\n", warp.index,
                   warp.kinds[0] ? warp.kinds[0] : "start", file_name(warp.sites[0].file),
                   warp.sites[0].line);
  }
  std::fflush(stderr);
  std::abort();
}

void sync_threads(Site site) {
  if (meet(site, "__syncthreads", nullptr)) Block::running->barrier();
}

void sync_warp(Site site) {
  if (meet(site, "__syncwarp", nullptr)) ++current->warp->epoch;
}

namespace {

// Blocks are expensive to build (stacks); launches borrow them.
std::mutex pool_lock;
std::vector<std::unique_ptr<Block>> pool;
Statistics total;

std::unique_ptr<Block> borrow_block() {
  const std::lock_guard guard(pool_lock);
  if (pool.empty()) return std::make_unique<Block>();
  std::unique_ptr<Block> block = std::move(pool.back());
  pool.pop_back();
  return block;
}

void give_back(std::unique_ptr<Block> block) {
  const std::lock_guard guard(pool_lock);
  total.mma += block->statistics.mma;
  total.ldmatrix += block->statistics.ldmatrix;
  total.bank_conflicts += block->statistics.bank_conflicts;
  block->statistics = {};
  pool.push_back(std::move(block));
}

}  // namespace

Statistics take_statistics() {
  const std::lock_guard guard(pool_lock);
  return std::exchange(total, {});
}

void launch(Dimensions grid, int threads, size_t shared_bytes, Kernel kernel, const void* args) {
  if (threads <= 0 || threads % kWarpSize != 0 || threads > kMaxThreads)
    fail({}, "launch: expected a multiple of 32 threads up to %d, got %d", kMaxThreads, threads);
  if (grid.x == 0 || grid.y == 0 || grid.y > 65535)
    fail({}, "launch: grid of %u x %u blocks", grid.x, grid.y);
  Launch launch{kernel,
                args,
                shared_bytes,
                environment_number("EMU_RACES", 1) != 0,
                environment_number("EMU_BANKS", 0) != 0,
                static_cast<unsigned>(environment_number("EMU_SEED", 0))};
  const uint64_t n_blocks = static_cast<uint64_t>(grid.x) * grid.y;
  std::vector<uint32_t> order;
  if (launch.seed != 0) {
    order.resize(n_blocks);
    std::iota(order.begin(), order.end(), 0u);
    std::mt19937 random(launch.seed);
    std::shuffle(order.begin(), order.end(), random);
  }
  std::atomic<uint64_t> next{0};
  const auto work = [&] {
    std::unique_ptr<Block> block = borrow_block();
    block->prepare(threads, launch);
    for (uint64_t i; (i = next.fetch_add(1)) < n_blocks;) {
      const auto index = static_cast<unsigned>(order.empty() ? i : order[i]);
      block->run_block({index % grid.x, index / grid.x});
      block->statistics.bank_conflicts += block->banks.take_conflicts();
    }
    give_back(std::move(block));
  };
  const int cpus = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const auto n_workers = static_cast<uint64_t>(environment_number("EMU_THREADS", cpus));
  std::vector<std::thread> helpers;
  for (uint64_t i = 1; i < std::min(n_workers, n_blocks); ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  const std::lock_guard guard(pool_lock);
  ++total.launches;
}

}  // namespace spion_bench::emu

// The primitives that the CUDA kernels are written with, for the device and for the host emulator.
//
// Purpose: the only file with inline assembly, launch syntax or a question about the compiler.
// Everything else under csrc/cuda is plain C++ on these functions, so that nvcc builds it for a
// GPU and any C++ compiler builds the same text over ../../emulation, where each CUDA thread is a
// fiber.
//
// Shared memory has no pointers here, only 32-bit addresses: every access passes through this file,
// and the emulator sees and checks all of them.
//
// Fragment layouts are those of the PTX ISA (mma.m16n8k16, mma.m16n8k8, ldmatrix): lane = 4 g + t,
//   accumulator: c0 (g, 2t)  c1 (g, 2t+1)  c2 (g+8, 2t)  c3 (g+8, 2t+1)
//   A, 16-bit:   a0 (g, 2t..)  a1 (g+8, 2t..)  a2 (g, 2t+8..)  a3 (g+8, 2t+8..)
//   B, 16-bit:   b0 (k 2t.., n g)  b1 (k 2t+8.., n g)
//   A, tf32:     a0 (g, t)  a1 (g+8, t)  a2 (g, t+4)  a3 (g+8, t+4)
//   B, tf32:     b0 (k t, n g)  b1 (k t+4, n g)
// Test: tests/emulation/test_emulator.py.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stream.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#define SPION_DEVICE __device__ __forceinline__
#define SPION_KERNEL __global__
#define SPION_LAUNCH_BOUNDS(threads, blocks_per_sm) __launch_bounds__(threads, blocks_per_sm)
#define SPION_KERNEL_ARGUMENT const __grid_constant__
#define SPION_UNROLL _Pragma("unroll")
#define SPION_UNROLL_4 _Pragma("unroll 4")
#define SPION_NO_UNROLL _Pragma("unroll 1")
#define SPION_SITE
#define SPION_ONLY_SITE
#else
#include "../../emulation/emulator.h"

#define SPION_DEVICE inline
#define SPION_KERNEL
#define SPION_LAUNCH_BOUNDS(threads, blocks_per_sm)
#define SPION_KERNEL_ARGUMENT const
#define SPION_UNROLL
#define SPION_UNROLL_4
#define SPION_NO_UNROLL
// Every primitive that the emulator may have to complain about learns where it was called.
#define SPION_SITE , emu::Site site = emu::Site::here()
#define SPION_ONLY_SITE emu::Site site = emu::Site::here()
#endif

namespace spion_bench::prim {

constexpr int kWarp = 32;

struct alignas(16) Bits128 {
  uint32_t x[4];
};
struct alignas(8) Bits64 {
  uint32_t x[2];
};
using SharedAddress = uint32_t;  // byte address within shared memory

// What a thread block can have on every device from compute capability 8.0 on; 8.6, 8.9 and 12.0
// have the least. On the others larger tiles would leave room for fewer thread blocks.
constexpr int kMaxSharedBytes = 99 * 1024;

struct Grid {
  unsigned x, y;
};

#if defined(__CUDACC__)

SPION_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
SPION_DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
SPION_DEVICE int block_y() { return static_cast<int>(blockIdx.y); }

SPION_DEVICE void sync_threads() { __syncthreads(); }
SPION_DEVICE void sync_warp() { __syncwarp(); }
SPION_DEVICE float shuffle_xor(float x, int mask) { return __shfl_xor_sync(~0u, x, mask); }
SPION_DEVICE uint32_t shuffle_xor(uint32_t x, int mask) { return __shfl_xor_sync(~0u, x, mask); }
SPION_DEVICE uint32_t ballot(bool vote) { return __ballot_sync(~0u, vote); }

SPION_DEVICE SharedAddress shared_memory() {
  extern __shared__ __align__(128) unsigned char memory[];
  return static_cast<SharedAddress>(__cvta_generic_to_shared(memory));
}

SPION_DEVICE uint32_t load_shared(SharedAddress address) {
  uint32_t x;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
  return x;
}
SPION_DEVICE Bits128 load_shared_128(SharedAddress address) {
  Bits128 x;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x[0]), "=r"(x.x[1]), "=r"(x.x[2]), "=r"(x.x[3])
               : "r"(address)
               : "memory");
  return x;
}
SPION_DEVICE void store_shared(SharedAddress address, uint32_t x) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(x) : "memory");
}
SPION_DEVICE void store_shared_64(SharedAddress address, Bits64 x) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(address), "r"(x.x[0]), "r"(x.x[1])
               : "memory");
}
SPION_DEVICE double load_shared_f64(SharedAddress address) {
  double x;
  asm volatile("ld.shared.f64 %0, [%1];" : "=d"(x) : "r"(address) : "memory");
  return x;
}
SPION_DEVICE void store_shared_f64(SharedAddress address, double x) {
  asm volatile("st.shared.f64 [%0], %1;" ::"r"(address), "d"(x) : "memory");
}

SPION_DEVICE void ldmatrix_x4(uint32_t (&r)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}
SPION_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}

#define SPION_MMA(name, shape_and_types)                                                  \
  SPION_DEVICE void name(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { \
    asm("mma.sync.aligned." shape_and_types                                               \
        " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                \
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                  \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));              \
  }
SPION_MMA(mma_f16, "m16n8k16.row.col.f32.f16.f16.f32")
SPION_MMA(mma_bf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
SPION_MMA(mma_tf32, "m16n8k8.row.col.f32.tf32.tf32.f32")
#undef SPION_MMA

// Copies 16 bytes from global to shared memory in the background; zeros if not `inside`.
SPION_DEVICE void cp_async_16(SharedAddress to, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(inside ? 16 : 0)
               : "memory");
}
SPION_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most N of this thread's groups are still under way.
template <int N>
SPION_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Two floats rounded to nearest even, `low` in the low half.
SPION_DEVICE uint32_t pack_f16(float low, float high) {
  uint32_t x;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));
  return x;
}
SPION_DEVICE uint32_t pack_bf16(float low, float high) {
  uint32_t x;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));
  return x;
}
SPION_DEVICE float widen_f16(uint16_t x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
// The nearest tf32 value, as the bits of a float.
SPION_DEVICE uint32_t round_tf32(float x) {
  uint32_t y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}
SPION_DEVICE float as_float(uint32_t x) { return __uint_as_float(x); }
SPION_DEVICE uint32_t as_bits(float x) { return __float_as_uint(x); }

SPION_DEVICE float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
SPION_DEVICE float log2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
SPION_DEVICE float max(float a, float b) { return fmaxf(a, b); }
SPION_DEVICE uint32_t multiply_high(uint32_t a, uint32_t b) { return __umulhi(a, b); }

// Values that no kernel writes while this one runs.
template <typename T>
SPION_DEVICE T load_constant(const T* address) {
  return __ldg(address);
}
SPION_DEVICE Bits128 load_128(const void* address) {
  const uint4 x = __ldg(static_cast<const uint4*>(address));
  return {{x.x, x.y, x.z, x.w}};
}
SPION_DEVICE void store_128(void* address, const Bits128& x) {
  // Written in C++, the compiler makes four stores of it, and of some of the next two.
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(x.x[0]), "r"(x.x[1]),
               "r"(x.x[2]), "r"(x.x[3])
               : "memory");
}
SPION_DEVICE void store_64(void* address, Bits64 x) {
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(address), "r"(x.x[0]), "r"(x.x[1])
               : "memory");
}

// Starts kKernel(args); returns null or what the runtime complains about.
template <auto kKernel, int kSharedBytes = 0, typename Args>
const char* launch(Grid grid, int threads, Stream stream, const Args& args) {
  static_assert(kSharedBytes <= kMaxSharedBytes);
  if (kSharedBytes > 48 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
    if (error != cudaSuccess) return cudaGetErrorString(error);
  }
  kKernel<<<dim3(grid.x, grid.y), threads, kSharedBytes, stream>>>(args);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

#else

SPION_DEVICE int thread_index() { return emu::thread_index(); }
SPION_DEVICE int block_x() { return emu::block_x(); }
SPION_DEVICE int block_y() { return emu::block_y(); }

SPION_DEVICE void sync_threads(SPION_ONLY_SITE) { emu::sync_threads(site); }
SPION_DEVICE void sync_warp(SPION_ONLY_SITE) { emu::sync_warp(site); }
SPION_DEVICE uint32_t shuffle_xor(uint32_t x, int mask SPION_SITE) {
  return emu::shuffle_xor(x, mask, site);
}
SPION_DEVICE float shuffle_xor(float x, int mask SPION_SITE) {
  return emu::as_float(emu::shuffle_xor(emu::as_bits(x), mask, site));
}
SPION_DEVICE uint32_t ballot(bool vote SPION_SITE) { return emu::ballot(vote, site); }

SPION_DEVICE SharedAddress shared_memory() { return 0; }
SPION_DEVICE uint32_t load_shared(SharedAddress address SPION_SITE) {
  return emu::load_shared<uint32_t>(address, site);
}
SPION_DEVICE Bits128 load_shared_128(SharedAddress address SPION_SITE) {
  return emu::load_shared<Bits128>(address, site);
}
SPION_DEVICE void store_shared(SharedAddress address, uint32_t x SPION_SITE) {
  emu::store_shared(address, x, site);
}
SPION_DEVICE void store_shared_64(SharedAddress address, Bits64 x SPION_SITE) {
  emu::store_shared(address, x, site);
}
SPION_DEVICE double load_shared_f64(SharedAddress address SPION_SITE) {
  return emu::load_shared<double>(address, site);
}
SPION_DEVICE void store_shared_f64(SharedAddress address, double x SPION_SITE) {
  emu::store_shared(address, x, site);
}
SPION_DEVICE void ldmatrix_x4(uint32_t (&r)[4], SharedAddress row SPION_SITE) {
  emu::ldmatrix_x4(r, row, false, site);
}
SPION_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], SharedAddress row SPION_SITE) {
  emu::ldmatrix_x4(r, row, true, site);
}
SPION_DEVICE void mma_f16(float (&c)[4], const uint32_t (&a)[4],
                          const uint32_t (&b)[2] SPION_SITE) {
  emu::mma<emu::Format::kF16>(c, a, b, site);
}
SPION_DEVICE void mma_bf16(float (&c)[4], const uint32_t (&a)[4],
                           const uint32_t (&b)[2] SPION_SITE) {
  emu::mma<emu::Format::kBF16>(c, a, b, site);
}
SPION_DEVICE void mma_tf32(float (&c)[4], const uint32_t (&a)[4],
                           const uint32_t (&b)[2] SPION_SITE) {
  emu::mma<emu::Format::kTF32>(c, a, b, site);
}
SPION_DEVICE void cp_async_16(SharedAddress to, const void* from, bool inside SPION_SITE) {
  emu::cp_async_16(to, from, inside, site);
}
SPION_DEVICE void cp_async_commit() { emu::cp_async_commit(); }
template <int N>
SPION_DEVICE void cp_async_wait() {
  emu::cp_async_wait(N);
}

SPION_DEVICE uint32_t pack_f16(float low, float high) {
  return emu::narrow_f16(low) | static_cast<uint32_t>(emu::narrow_f16(high)) << 16;
}
SPION_DEVICE uint32_t pack_bf16(float low, float high) {
  return emu::narrow_bf16(low) | static_cast<uint32_t>(emu::narrow_bf16(high)) << 16;
}
SPION_DEVICE float widen_f16(uint16_t x) { return emu::widen_f16(x); }
SPION_DEVICE uint32_t round_tf32(float x) { return emu::round_tf32(x); }
SPION_DEVICE float as_float(uint32_t x) { return emu::as_float(x); }
SPION_DEVICE uint32_t as_bits(float x) { return emu::as_bits(x); }
SPION_DEVICE float exp2(float x) { return emu::exp2_flushed(x); }
SPION_DEVICE float log2(float x) { return __builtin_log2f(x); }
SPION_DEVICE float max(float a, float b) { return __builtin_fmaxf(a, b); }
SPION_DEVICE uint32_t multiply_high(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
}

template <typename T>
SPION_DEVICE T load_constant(const T* address) {
  return *address;
}
SPION_DEVICE Bits128 load_128(const void* address SPION_SITE) {
  emu::check_aligned(address, 16, site);
  return *static_cast<const Bits128*>(address);
}
SPION_DEVICE void store_128(void* address, const Bits128& x SPION_SITE) {
  emu::check_aligned(address, 16, site);
  *static_cast<Bits128*>(address) = x;
}
SPION_DEVICE void store_64(void* address, Bits64 x SPION_SITE) {
  emu::check_aligned(address, 8, site);
  *static_cast<Bits64*>(address) = x;
}

template <auto kKernel, int kSharedBytes = 0, typename Args>
const char* launch(Grid grid, int threads, Stream, const Args& args) {
  static_assert(kSharedBytes <= kMaxSharedBytes);
  emu::launch(
      {grid.x, grid.y}, threads, kSharedBytes,
      [](const void* a) { kKernel(*static_cast<const Args*>(a)); }, &args);
  return nullptr;
}

#endif

SPION_DEVICE float widen_bf16(uint16_t x) { return as_float(static_cast<uint32_t>(x) << 16); }

// x itself; every lane of the warp calls. A compiler that knows how x came about would rather
// compute an address again in every turn of a loop than keep it in a register; of a shuffle it
// knows nothing.
SPION_DEVICE uint32_t keep(uint32_t x) { return shuffle_xor(x, 0); }
template <typename T>
SPION_DEVICE T* keep(T* x) {
  const auto bits = reinterpret_cast<uint64_t>(x);
  const uint64_t high = keep(static_cast<uint32_t>(bits >> 32));
  return reinterpret_cast<T*>(high << 32 | keep(static_cast<uint32_t>(bits)));
}

SPION_DEVICE int lane_index() { return thread_index() & (kWarp - 1); }
SPION_DEVICE int warp_index() { return thread_index() >> 5; }

}  // namespace spion_bench::prim

// Small kernels that exercise the emulator: `self_test <case>` prints what a test checks, or runs
// one kind of misuse, which has to abort. tests/emulation/test_emulator.py builds and runs it.
#include <cmath>
#include <cstdio>
#include <ctime>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "../../csrc/cuda/common/prim.cuh"

namespace spion_bench {
namespace {

using namespace prim;

struct Args {
  const void* in = nullptr;
  const void* more = nullptr;
  float* out = nullptr;
};

enum class Type { kF16, kBF16, kTF32 };

// out[16][16] = in[16][16] more[16][16], everything row-major; one warp.
// A comes through ldmatrix; B through ldmatrix.trans (16-bit) or plain loads (tf32).
template <Type kType>
void tile_product(const Args args) {
  constexpr int kRowBytes = kType == Type::kTF32 ? 64 : 32;
  constexpr uint32_t kSecond = 16 * kRowBytes;
  const int lane = lane_index(), g = lane / 4, t = lane % 4;
  for (int i = lane; i < 16 * kRowBytes / 16; i += kWarp) {
    cp_async_16(i * 16, static_cast<const char*>(args.in) + i * 16, true);
    cp_async_16(kSecond + i * 16, static_cast<const char*>(args.more) + i * 16, true);
  }
  cp_async_commit();
  cp_async_wait<0>();
  sync_threads();
  float c[2][4] = {};
  for (int chunk = 0; chunk < kRowBytes / 16; chunk += 2) {
    uint32_t a[4], b[4];
    const uint32_t row = lane % 16, column = lane / 16;
    ldmatrix_x4(a, row * kRowBytes + (chunk + column) * 16);
    if constexpr (kType == Type::kTF32) {
      for (int n = 0; n < 2; ++n)
        for (int i = 0; i < 2; ++i)
          b[2 * n + i] =
              load_shared(kSecond + (4 * chunk + t + 4 * i) * kRowBytes + (8 * n + g) * 4);
    } else {
      ldmatrix_x4_trans(b, kSecond + row * kRowBytes + column * 16);
    }
    for (int n = 0; n < 2; ++n) {
      const uint32_t own[2] = {b[2 * n], b[2 * n + 1]};
      if constexpr (kType == Type::kF16) mma_f16(c[n], a, own);
      if constexpr (kType == Type::kBF16) mma_bf16(c[n], a, own);
      if constexpr (kType == Type::kTF32) mma_tf32(c[n], a, own);
    }
  }
  for (int n = 0; n < 2; ++n)
    for (int i = 0; i < 4; ++i) args.out[(g + i / 2 * 8) * 16 + 8 * n + 2 * t + i % 2] = c[n][i];
}

template <Type kType>
int run_tile_product() {
  std::vector<float> a(256), b(256), out(256);
  for (int i = 0; i < 256; ++i) a[i] = i * 7 % 23 - 11, b[i] = i * 5 % 19 - 7;
  std::vector<unsigned char> stored[2];
  for (int m = 0; m < 2; ++m)
    for (const float x : m ? b : a) {
      const uint32_t bits = kType == Type::kF16    ? pack_f16(x, 0)
                            : kType == Type::kBF16 ? pack_bf16(x, 0)
                                                   : as_bits(x);
      const int bytes = kType == Type::kTF32 ? 4 : 2;
      for (int i = 0; i < bytes; ++i) stored[m].push_back(bits >> 8 * i & 0xFF);
    }
  const Args args{stored[0].data(), stored[1].data(), out.data()};
  launch<tile_product<kType>, kType == Type::kTF32 ? 2048 : 1024>({1, 1}, 32, {}, args);
  int wrong = 0;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) sum += a[i * 16 + k] * b[k * 16 + j];
      wrong += sum != out[i * 16 + j];
    }
  std::printf("wrong %d\n", wrong);
  return wrong;
}

// Softmax of 64 values by one warp of each block.
void warp_softmax(const Args args) {
  const float* in = static_cast<const float*>(args.in) + 64 * block_x();
  float x[2] = {in[lane_index()], in[lane_index() + kWarp]};
  float highest = prim::max(x[0], x[1]);
  for (int mask = 16; mask > 0; mask /= 2) highest = prim::max(highest, shuffle_xor(highest, mask));
  float total = 0;
  for (float& value : x) total += value = prim::exp2((value - highest) * 1.44269504f);
  for (int mask = 16; mask > 0; mask /= 2) total += shuffle_xor(total, mask);
  for (int i = 0; i < 2; ++i) args.out[64 * block_x() + lane_index() + kWarp * i] = x[i] / total;
}

int run_softmax() {
  constexpr int kRows = 50;
  std::vector<float> in(64 * kRows), out(64 * kRows);
  for (size_t i = 0; i < in.size(); ++i) in[i] = std::sin(static_cast<float>(i)) * 20;
  launch<warp_softmax>({kRows, 1}, 32, {}, Args{in.data(), nullptr, out.data()});
  double error = 0;
  for (int row = 0; row < kRows; ++row) {
    double total = 0;
    for (int i = 0; i < 64; ++i) total += std::exp(static_cast<double>(in[row * 64 + i]));
    for (int i = 0; i < 64; ++i)
      error = std::max(
          error, std::fabs(std::exp(double{in[row * 64 + i]}) / total - double{out[row * 64 + i]}));
  }
  std::printf("error %.3g\n", error);
  return error > 1e-6;
}

void many_products(const Args args) {
  float c[8][4] = {};
  const uint32_t a[4] = {0x3C003C00, 0x3C003C00, 0x3C003C00, 0x3C003C00};
  const uint32_t b[2] = {0x3C003C00, 0x3C003C00};
  for (int i = 0; i < 2000; ++i)
    for (auto& tile : c) mma_f16(tile, a, b);
  args.out[block_x() * 32 + lane_index()] = c[0][0];
}

int run_speed() {
  std::vector<float> out(32 * 16);
  const std::clock_t started = std::clock();
  launch<many_products>({16, 1}, 32, {}, Args{nullptr, nullptr, out.data()});
  const double seconds = static_cast<double>(std::clock() - started) / CLOCKS_PER_SEC;
  const emu::Statistics statistics = emu::take_statistics();
  std::printf("mma %llu\nper CPU second %.3g\n", static_cast<unsigned long long>(statistics.mma),
              static_cast<double>(statistics.mma) / seconds);
  return out[0] != 32000.0f;
}

// Wavefronts beyond those needed: none, one for each half warp, none, 31.
void meets_in_banks(const Args args) {
  const auto lane = static_cast<SharedAddress>(lane_index());
  store_shared_64(lane * 8, {{lane, lane}});
  sync_warp();
  store_shared_64(lane * 16, {{lane, lane}});
  sync_warp();  // what follows reads what other lanes wrote
  args.out[lane] = static_cast<float>(load_shared_128(lane * 16).x[0] + load_shared(lane * 128));
}

int run_bank_conflicts() {
  float out[32] = {};
  launch<meets_in_banks, 4096>({1, 1}, 32, {}, Args{nullptr, nullptr, out});
  std::printf("conflicts %llu\n",
              static_cast<unsigned long long>(emu::take_statistics().bank_conflicts));
  return 0;
}

// Misuse, one kernel each: two warps, 256 bytes of shared memory.

alignas(16) const unsigned char bytes[32] = {};

void lane_skips_a_shuffle(const Args) {
  if (lane_index() != 5) shuffle_xor(1.0f, 1);
  sync_warp();
}
void lane_returns_early(const Args) {
  if (lane_index() == 7) return;
  sync_warp();
}
void warp_skips_the_barrier(const Args) {
  if (warp_index() == 0) sync_threads();
}
void warps_at_different_barriers(const Args) {
  if (warp_index() == 0)
    sync_threads();
  else
    sync_threads();
}
void reads_past_the_end(const Args) { load_shared(256); }
void misaligned(const Args) { load_shared_128(8); }
void misaligned_global(const Args) {
  cp_async_16(thread_index() * 16 % 256, bytes + 4, thread_index() == 0);
}
void reads_a_copy_in_flight(const Args) {
  if (thread_index() == 0) cp_async_16(0, bytes, true);
  if (thread_index() == 0) load_shared(4);
}
void waits_for_too_few_groups(const Args) {
  if (thread_index() == 0) {
    cp_async_16(0, bytes, true);
    cp_async_commit();
    cp_async_16(16, bytes, true);
    cp_async_commit();
    cp_async_wait<1>();
    load_shared(0);
    load_shared(16);
  }
}
void copies_twice(const Args) {
  for (int i = 0; i < 2; ++i)
    if (thread_index() == 0) cp_async_16(32, bytes, true);
}
void returns_with_a_copy(const Args) {
  if (thread_index() == 0) cp_async_16(0, bytes, true);
}
void copies_under_a_reader(const Args) {
  if (warp_index() == 1) load_shared(0);
  sync_warp();
  if (thread_index() == 0) cp_async_16(0, bytes, true);
  cp_async_commit();
  sync_threads();
  cp_async_wait<0>();
}
void no_barrier_between_warps(const Args) {
  if (thread_index() == 0) store_shared(0, 1);
  if (thread_index() == 32) load_shared(0);
}
void no_syncwarp_between_lanes(const Args) {
  store_shared(4 * lane_index() + 128 * warp_index(), 1);
  shuffle_xor(1.0f, 1);
  load_shared(4 * (lane_index() ^ 1) + 128 * warp_index());
}
void overwrites_what_others_read(const Args) {
  load_shared(0);
  sync_warp();
  if (thread_index() == 40) store_shared(0, 1);
}
void overflows_the_stack(const Args args) {
  volatile char big[128 * 1024];
  big[0] = 1;
  args.out[0] = big[0];
}

// The same accesses, ordered: no complaint.
void well_ordered(const Args args) {
  if (thread_index() == 0) cp_async_16(0, bytes, true);
  if (thread_index() == 1) cp_async_16(16, nullptr, false);
  cp_async_commit();
  cp_async_wait<0>();
  sync_threads();
  uint32_t sum = load_shared(0) + load_shared(16);
  sync_threads();
  store_shared(4 * lane_index() + 128 * warp_index(), 1);
  sync_warp();
  sum += load_shared(4 * (lane_index() ^ 1) + 128 * warp_index());
  args.out[thread_index()] = static_cast<float>(sum);
}

template <auto kKernel>
int misuse() {
  float out[64];
  launch<kKernel, 256>({1, 1}, 64, {}, Args{nullptr, nullptr, out});
  std::printf("not detected\n");
  return 0;
}

int run_well_ordered() {
  float out[64] = {};
  launch<well_ordered, 256>({1, 1}, 64, {}, Args{nullptr, nullptr, out});
  int wrong = 0;
  for (const float x : out) wrong += x != 1.0f;
  std::printf("wrong %d\n", wrong);
  return wrong;
}

const std::map<std::string, std::function<int()>> cases = {
    {"product_f16", run_tile_product<Type::kF16>},
    {"product_bf16", run_tile_product<Type::kBF16>},
    {"product_tf32", run_tile_product<Type::kTF32>},
    {"softmax", run_softmax},
    {"speed", run_speed},
    {"bank_conflicts", run_bank_conflicts},
    {"well_ordered", run_well_ordered},
#define MISUSE(name) {#name, misuse<name>}
    MISUSE(lane_skips_a_shuffle),
    MISUSE(lane_returns_early),
    MISUSE(warp_skips_the_barrier),
    MISUSE(warps_at_different_barriers),
    MISUSE(reads_past_the_end),
    MISUSE(misaligned),
    MISUSE(misaligned_global),
    MISUSE(reads_a_copy_in_flight),
    MISUSE(waits_for_too_few_groups),
    MISUSE(copies_twice),
    MISUSE(returns_with_a_copy),
    MISUSE(copies_under_a_reader),
    MISUSE(no_barrier_between_warps),
    MISUSE(no_syncwarp_between_lanes),
    MISUSE(overwrites_what_others_read),
    MISUSE(overflows_the_stack),
};

}  // namespace
}  // namespace spion_bench

int main(int argc, char** argv) {
  const auto found = spion_bench::cases.find(argc == 2 ? argv[1] : "");
  if (found == spion_bench::cases.end()) {
    for (const auto& [name, run] : spion_bench::cases) std::printf("%s\n", name.c_str());
    return 2;
  }
  return found->second();
}

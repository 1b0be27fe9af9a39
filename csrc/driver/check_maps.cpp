// What pattern generation computes: the averaged dense map, the diagonal filter, block means.

#include <algorithm>

#include "checks.h"
#include "verdict.h"
#include "workers.h"

namespace spion_bench::driver {
namespace {

struct MapCase {
  Shape shape;  // any length and width: the map's kernel needs no padding
  Layout layout = Layout::contiguous;
  bool is_padded = false;
};

const std::vector<MapCase> map_cases = {
    {{1, 1, 1, 1}},                              // one token
    {{2, 1, 7, 5}, Layout::heads_last, true},    // fewer rows than a panel
    {{1, 2, 16, 16}, Layout::packed},            // one whole panel
    {{2, 2, 33, 64}, Layout::heads_last, true},  // two panels and one row
    {{3, 2, 130, 80}, Layout::packed, true},     // more keys than are scored at a time
    {{1, 1, 128, 250}},                          // exactly as many
};

struct FilterCase {
  int64_t length, half;
};

const std::vector<FilterCase> filter_cases = {
    {1, 0},    {2, 1},    {7, 0},   {7, 3},  // no neighbours; groups of one row; whole windows
    {64, 15},  {129, 1},  {129, 2},          // the published 31 taps; a remainder of rows
    {100, 99}, {200, 64},                    // taps beyond the map; more taps than a panel
};

struct PoolCase {
  int64_t length, block_size;
};

const std::vector<PoolCase> pool_cases = {{1, 1}, {7, 7}, {48, 16}, {60, 5}, {256, 128}, {9, 1}};

template <typename T>
std::string prefix(const char* what) {
  return std::string(cpu::kernels().capability) + " " + what + " " + Format<T>::name + " ";
}

// Square maps with values of both signs, so that sums cancel.
std::vector<double> random_map(int64_t length) {
  return random_values({1, 1, length, length}, length, 6);
}

template <typename T>
Buffer<T> run_attention_map(const cpu::AttentionArgs<T>& args, int threads) {
  Buffer<T> map(args.length * args.length);
  Scratch<T> scratch(threads, cpu::attention_map_scratch(args.width, args.length));
  const int64_t units = (args.length + cpu::kMapRows - 1) / cpu::kMapRows;
  run_units(threads, units, [&](int64_t unit, int thread) {
    cpu::kernels_of<T>().attention_map_rows(args, unit * cpu::kMapRows, map.data(),
                                            scratch.fresh(thread));
  });
  return map;
}

template <typename T>
void check_attention_map(const MapCase& c) {
  const auto& [B, H, L, D] = c.shape;
  const std::vector<double> q = random_values(c.shape, D, 7), k = random_values(c.shape, D, 8);
  const Tensor<T> q_tensor(c.shape, c.layout, q), k_tensor(c.shape, c.layout, k);
  // The first item has no real key at all.
  const Buffer<bool> mask(c.is_padded ? B * L : 0,
                          [L = L](int64_t i) { return i >= L && i % 3 != 0; });
  cpu::AttentionArgs<T> args;
  args.batch = B;
  args.heads = H;
  args.length = L;
  args.width = D;
  args.key_padding_mask = c.is_padded ? mask.data() : nullptr;
  args.scale = 1 / std::sqrt(static_cast<double>(D));
  args.q = q_tensor.view();
  args.k = k_tensor.view();
  const Buffer<T> one = run_attention_map(args, 1), several = run_attention_map(args, kSeveral);
  const std::string where = prefix<T>("attention_map") + "length " + std::to_string(L);
  expect_close(where, values_of(one),
               attention_map(c.shape, q, k, args.scale, args.key_padding_mask),
               Format<T>::tolerance);
  expect_same_bits(where, one, several);
}

// Holds a kernel, on a random map, against what is expected, and its bits with several threads
// against those with one.
template <typename T, typename Case, typename Run, typename Expected>
void check_on_map(const char* kernel, const Case& c, const std::string& what, Run run,
                  Expected expected) {
  const std::vector<double> values = random_map(c.length);
  const Buffer<T> map(std::vector<T>(values.begin(), values.end()));
  const Buffer<T> one = run(map, c, 1), several = run(map, c, kSeveral);
  const std::string where = prefix<T>(kernel) + "length " + std::to_string(c.length) + what;
  expect_close(where, values_of(one), expected(values), Format<T>::tolerance);
  expect_same_bits(where, one, several);
}

template <typename T>
Buffer<T> run_filter(const Buffer<T>& map, const FilterCase& c, int threads) {
  const int64_t taps = 2 * c.half + 1;
  const int64_t groups = (c.length + taps - 1) / taps;
  const int64_t panels = (c.length + taps - 1 + cpu::kDiagonalPanel - 1) / cpu::kDiagonalPanel;
  Buffer<T> out(map.size());
  Scratch<double> scratch(threads, (taps + 1) * cpu::kDiagonalPanel);
  run_units(threads, groups * panels, [&](int64_t unit, int thread) {
    const int64_t first_row = unit / panels * taps;
    const int64_t leftmost = -(first_row + taps - 1);
    cpu::kernels_of<T>().diagonal_panel(map.data(), c.length, c.half, first_row,
                                        leftmost + unit % panels * cpu::kDiagonalPanel, out.data(),
                                        scratch.fresh(thread));
  });
  return out;
}

template <typename T>
void check_filter(const FilterCase& c) {
  check_on_map<T>("diagonal_panel", c, " half " + std::to_string(c.half), run_filter<T>,
                  [&](const auto& map) { return diagonal_filter(map, c.length, c.half); });
}

template <typename T>
Buffer<T> run_pool(const Buffer<T>& map, const PoolCase& c, int threads) {
  const int64_t nb = c.length / c.block_size;
  Buffer<T> means(nb * nb);
  Scratch<double> scratch(threads, c.length);
  run_units(threads, nb, [&](int64_t row, int thread) {
    cpu::kernels_of<T>().pool_block_row(map.data() + row * c.block_size * c.length, c.length,
                                        c.block_size, means.data() + row * nb,
                                        scratch.fresh(thread));
  });
  return means;
}

template <typename T>
void check_pool(const PoolCase& c) {
  check_on_map<T>("pool_block_row", c, " block_size " + std::to_string(c.block_size), run_pool<T>,
                  [&](const auto& map) { return block_means(map, c.length, c.block_size); });
}

template <typename T>
void check() {
  for (const MapCase& c : map_cases) check_attention_map<T>(c);
  for (const FilterCase& c : filter_cases) check_filter<T>(c);
  for (const PoolCase& c : pool_cases) check_pool<T>(c);
}

}  // namespace

void check_maps() {
  check<float>();
  check<double>();
}

}  // namespace spion_bench::driver

// Which blocks of a pooled attention map a pattern keeps, before the diagonal is added.
//
// pooled: [nb, nb], float32 or float64, without NaN; result: bool [nb, nb]. A cell is kept if its
// value is strictly above the threshold and the selection reaches it:
//
//   walk       the published "flood fill" (SPION code): from every cell of the first row and of the
//              first column, step again and again to the largest of the three neighbours below, to
//              the right and diagonally below, until the walk leaves the map. Steps do not stop at
//              the threshold. Seeds are not reached by standing on them.
//   connected  region growing: cells 4-connected to the block diagonal through cells above the
//              threshold; diagonal cells are seeds whatever their value.
//
// Cost: O(nb^2) each. A walk's next step depends only on where it stands, so walks that meet
// coincide from there on; and steps only go to later cells in row-major order, so one sweep over
// the cells advances all walks at once.

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include "../checks.h"

namespace spion_bench {
namespace {

template <typename scalar_t>
struct PooledMap {
  const scalar_t* values;
  int64_t nb;

  bool contains(int64_t row, int64_t col) const {
    return row >= 0 && col >= 0 && row < nb && col < nb;
  }
  // The published code pads the map with one row of zeros below and one column to the right.
  scalar_t at(int64_t row, int64_t col) const {
    return contains(row, col) ? values[row * nb + col] : scalar_t(0);
  }
  bool exceeds(int64_t row, int64_t col, double threshold) const {
    return static_cast<double>(values[row * nb + col]) > threshold;
  }
};

template <typename scalar_t>
void walk(const PooledMap<scalar_t>& map, double threshold, bool* kept) {
  const int64_t nb = map.nb;
  std::vector<char> visited(nb * nb, 0);
  for (int64_t row = 0; row < nb; ++row) {
    for (int64_t col = 0; col < nb; ++col) {
      const bool is_seed = row == 0 || col == 0;
      if (!is_seed && !visited[row * nb + col]) continue;

      const scalar_t down = map.at(row + 1, col);
      const scalar_t right = map.at(row, col + 1);
      const scalar_t diagonal = map.at(row + 1, col + 1);
      int64_t next_row = row + 1;
      int64_t next_col = col + 1;
      if (std::max(down, right) > diagonal) {  // the diagonal wins its ties
        if (down > right) {                    // right wins a tie with down
          next_col = col;
        } else {
          next_row = row;
        }
      }

      // Outside the map the walk ends. There lies only the border of zeros, which the published
      // code never keeps because its threshold is not negative; here it cannot be kept at all.
      if (!map.contains(next_row, next_col)) continue;
      visited[next_row * nb + next_col] = 1;
      kept[next_row * nb + next_col] = map.exceeds(next_row, next_col, threshold);
    }
  }
}

template <typename scalar_t>
void grow_from_diagonal(const PooledMap<scalar_t>& map, double threshold, bool* kept) {
  struct Cell {
    int64_t row;
    int64_t col;
  };
  std::vector<Cell> frontier;
  for (int64_t i = 0; i < map.nb; ++i) {
    kept[i * map.nb + i] = map.exceeds(i, i, threshold);
    frontier.push_back({i, i});
  }
  while (!frontier.empty()) {
    const Cell cell = frontier.back();
    frontier.pop_back();
    const Cell neighbours[] = {{cell.row - 1, cell.col},
                               {cell.row + 1, cell.col},
                               {cell.row, cell.col - 1},
                               {cell.row, cell.col + 1}};
    for (const Cell& next : neighbours) {
      if (!map.contains(next.row, next.col) || kept[next.row * map.nb + next.col]) continue;
      if (!map.exceeds(next.row, next.col, threshold)) continue;
      kept[next.row * map.nb + next.col] = true;
      frontier.push_back(next);
    }
  }
}

at::Tensor flood_fill(const at::Tensor& pooled, double threshold, std::string_view selection) {
  check_float(pooled, "pooled");
  TORCH_CHECK(pooled.dim() == 2 && pooled.size(0) == pooled.size(1),
              "pooled: expected a square [nb, nb] matrix, got ", pooled.sizes());
  TORCH_CHECK(selection == "walk" || selection == "connected",
              "selection: expected \"walk\" or \"connected\", got \"", selection, "\"");
  const at::Tensor values = pooled.contiguous();
  at::Tensor kept = at::zeros(values.sizes(), values.options().dtype(at::kBool));
  bool* const kept_data = kept.mutable_data_ptr<bool>();
  AT_DISPATCH_FLOATING_TYPES(values.scalar_type(), "flood_fill", [&] {
    const scalar_t* const data = values.const_data_ptr<scalar_t>();
    TORCH_CHECK_VALUE(
        std::none_of(data, data + values.numel(), [](scalar_t x) { return std::isnan(x); }),
        "pooled: expected numbers, got NaN");
    const PooledMap<scalar_t> map{data, values.size(0)};
    if (selection == "walk") {
      walk(map, threshold, kept_data);
    } else {
      grow_from_diagonal(map, threshold, kept_data);
    }
  });
  return kept;
}

}  // namespace
}  // namespace spion_bench

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) { m.impl("flood_fill", &spion_bench::flood_fill); }

// Diagonal filter of an attention map (SPION figure "pattern generation"; SPION code,
// main_conv.py):
//
//   out[i][j] = sum over t = -h..h of map[i + t][j + t],   h = filter_size / 2,   0 outside the map
//
// map, out: [L, L], float32 or float64; sums in float64.
//
// Cost: three additions per element whatever the filter size, 2 reads and 1 write of the map. The
// running sum is of the van Herk kind, which never subtracts: rows are cut into groups of
// filter_size, and a window that starts k rows into one group and ends in the next is
//
//   (suffix sum of the first group from its row k)  +  (prefix sum of the second group, k rows)
//
// so a NaN or a huge value reaches exactly the outputs whose window holds it, as in the direct sum.
// Groups start at fixed rows: the result does not depend on the number of threads.
//
// Columns are addressed by diagonal, c = column - row, which turns the diagonal sums into vertical
// ones over contiguous pieces of rows. Threads share the (row group, panel of diagonals) pairs.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../checks.h"

namespace spion_bench {
namespace {

constexpr int64_t kPanelWidth = 512;  // diagonals; 31 suffix rows of float64 fill 124 KiB of L2

template <typename scalar_t>
struct DiagonalFilter {
  const scalar_t* map;
  scalar_t* out;
  int64_t length;
  int64_t half;  // h

  int64_t taps() const { return 2 * half + 1; }

  // The part of a panel that lies inside the map on one row: `count` positions from `position` on,
  // which are the row's columns from `column` on.
  struct Span {
    int64_t position;
    int64_t column;
    int64_t count;
  };
  Span columns_inside(int64_t row, int64_t first_diagonal) const {
    const int64_t left = row + first_diagonal;  // the column of position 0
    const int64_t column = std::clamp<int64_t>(left, 0, length);
    const int64_t end = std::clamp<int64_t>(left + kPanelWidth, 0, length);
    return {std::clamp<int64_t>(column - left, 0, kPanelWidth), column, end - column};
  }

  // sums[c] += map[row][row + first_diagonal + c]; cells outside the map count as zeros.
  void add_row(int64_t row, int64_t first_diagonal, double* sums) const {
    if (row < 0 || row >= length) return;
    const Span span = columns_inside(row, first_diagonal);
    const scalar_t* source = map + row * length + span.column;
    double* target = sums + span.position;
    for (int64_t n = 0; n < span.count; ++n) target[n] += source[n];
  }

  // Writes the outputs of rows [first_row, first_row + taps()) on one panel of diagonals.
  // suffix: scratch [taps(), kPanelWidth]; prefix: scratch [kPanelWidth].
  void filter_panel(int64_t first_row, int64_t first_diagonal, double* suffix,
                    double* prefix) const {
    const int64_t upper_group = first_row - half;  // where the window of first_row starts
    const int64_t lower_group = upper_group + taps();

    double* below = nullptr;
    for (int64_t k = taps() - 1; k >= 0; --k) {
      double* sums = suffix + k * kPanelWidth;
      if (below == nullptr) {
        std::fill_n(sums, kPanelWidth, 0.0);
      } else {
        std::copy_n(below, kPanelWidth, sums);
      }
      add_row(upper_group + k, first_diagonal, sums);
      below = sums;
    }

    std::fill_n(prefix, kPanelWidth, 0.0);
    const int64_t n_rows = std::min(taps(), length - first_row);
    for (int64_t k = 0; k < n_rows; ++k) {
      const int64_t row = first_row + k;
      const Span span = columns_inside(row, first_diagonal);
      const double* upper = suffix + k * kPanelWidth + span.position;
      const double* lower = prefix + span.position;
      scalar_t* target = out + row * length + span.column;
      for (int64_t n = 0; n < span.count; ++n) {
        target[n] = static_cast<scalar_t>(upper[n] + lower[n]);
      }
      add_row(lower_group + k, first_diagonal, prefix);
    }
  }

  void run() const {
    const int64_t n_groups = (length + taps() - 1) / taps();
    const int64_t n_panels = (length + taps() - 1 + kPanelWidth - 1) / kPanelWidth;
    at::parallel_for(0, n_groups * n_panels, 1, [&](int64_t begin, int64_t end) {
      std::vector<double> scratch((taps() + 1) * kPanelWidth);
      for (int64_t item = begin; item < end; ++item) {
        const int64_t first_row = item / n_panels * taps();
        const int64_t leftmost = -(first_row + taps() - 1);  // column 0 of the group's last row
        filter_panel(first_row, leftmost + item % n_panels * kPanelWidth, scratch.data(),
                     scratch.data() + taps() * kPanelWidth);
      }
    });
  }
};

at::Tensor diagonal_conv(const at::Tensor& attention_map, int64_t filter_size) {
  check_float(attention_map, "attention_map");
  TORCH_CHECK(attention_map.dim() == 2 && attention_map.size(0) == attention_map.size(1),
              "attention_map: expected a square [L, L] matrix, got ", attention_map.sizes());
  TORCH_CHECK(filter_size > 0 && filter_size % 2 == 1,
              "filter_size: expected a positive odd number, got ", filter_size);
  const at::Tensor map = attention_map.contiguous();
  at::Tensor out = at::empty_like(map);
  const int64_t length = map.size(0);
  if (length == 0) return out;

  // Taps beyond L - 1 only ever see zeros.
  const int64_t half = std::min(filter_size / 2, length - 1);
  AT_DISPATCH_FLOATING_TYPES(map.scalar_type(), "diagonal_conv", [&] {
    DiagonalFilter<scalar_t>{map.const_data_ptr<scalar_t>(), out.mutable_data_ptr<scalar_t>(),
                             length, half}
        .run();
  });
  return out;
}

}  // namespace
}  // namespace spion_bench

TORCH_LIBRARY_IMPL(spion_bench, CPU, m) { m.impl("diagonal_conv", &spion_bench::diagonal_conv); }

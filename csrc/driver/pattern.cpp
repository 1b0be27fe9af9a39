#include "pattern.h"

#include <random>

namespace spion_bench::driver {
namespace {

bool keeps(Kept kept, int64_t columns, int64_t row, int64_t col, bool is_drawn) {
  switch (kept) {
    case Kept::everything:
      return true;
    case Kept::diagonal_and_random:
      return row == col || is_drawn;
    case Kept::holes:
      return row != 1 && col != columns - 1 && (row == col || is_drawn);
    case Kept::nothing:
      return false;
    case Kept::first_column_and_diagonal:
      return row == col || col == 0;
  }
  return false;
}

}  // namespace

Pattern make_pattern(Kept kept, int64_t nb, int64_t columns, int64_t block_size) {
  std::mt19937_64 generator(nb);
  std::vector<bool> mask(nb * columns);
  for (int64_t i = 0; i < nb * columns; ++i)
    mask[i] = keeps(kept, columns, i / columns, i % columns, generator() % 10 < 4);

  std::vector<int32_t> crow{0}, col, t_crow{0}, t_row, t_tile, tile_at(nb * columns);
  for (int64_t r = 0; r < nb; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      if (!mask[r * columns + c]) continue;
      tile_at[r * columns + c] = static_cast<int32_t>(col.size());
      col.push_back(static_cast<int32_t>(c));
    }
    crow.push_back(static_cast<int32_t>(col.size()));
  }
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t r = 0; r < nb; ++r) {
      if (!mask[r * columns + c]) continue;
      t_row.push_back(static_cast<int32_t>(r));
      t_tile.push_back(tile_at[r * columns + c]);
    }
    t_crow.push_back(static_cast<int32_t>(t_row.size()));
  }
  return {nb,
          columns,
          block_size,
          Buffer<int32_t>(crow),
          Buffer<int32_t>(col),
          Buffer<int32_t>(t_crow),
          Buffer<int32_t>(t_row),
          Buffer<int32_t>(t_tile)};
}

}  // namespace spion_bench::driver

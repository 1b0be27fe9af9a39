// Block patterns as the operators take them: the list of kept blocks by rows and, for transposed
// products, by columns.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"

namespace spion_bench::driver {

enum class Kept {
  everything,
  diagonal_and_random,  // about 40 % off the diagonal
  holes,                // random, but nothing in the second block row and the last block column
  nothing,
  first_column_and_diagonal,
};

struct Pattern {
  int64_t nb, columns, block_size;
  Buffer<int32_t> crow, col;              // [nb + 1], [nnzb]
  Buffer<int32_t> t_crow, t_row, t_tile;  // the transposed list, t_tile: position in `col`

  int64_t nnzb() const { return col.size(); }
};

Pattern make_pattern(Kept kept, int64_t nb, int64_t columns, int64_t block_size);

}  // namespace spion_bench::driver

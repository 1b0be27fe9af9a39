// What every result should be, computed in double precision by the definitions: scalar loops over
// dense matrices, no online softmax, no tiles, no code shared with the kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "problem.h"

namespace spion_bench::driver {

// Attention on the kept blocks and its gradients. Matrices [B, H, L, Lk] are 0 outside the pattern.
struct Attention {
  std::vector<double> scores;           // scale * q k^T, of padded keys too
  std::vector<double> probs;            // softmax; a padded key's is 0
  std::vector<double> dropped;          // probs after dropout
  std::vector<double> dprobs, dscores;  // gradients of the loss sum(dout * out) + sum(dlse * lse)
  std::vector<double> out, lse;         // [B, H, L, D], [B, H, L]
  std::vector<double> dq, dk, dv;       // [B, H, L, D], [B, H, Lk, D]
};

Attention attention(const Problem& problem);

// 0 or keep_scale, by Philox4x32-10 as kernels.h says.
double dropout_factor(const cpu::Dropout& dropout, int64_t query, int64_t key, int64_t bh);

// Does the scalar Philox give the numbers that its authors published?
bool philox_is_right();

// Dense attention averaged over batch and heads, [L, L]; mask: [B, L] or null.
std::vector<double> attention_map(const Shape& shape, const std::vector<double>& q,
                                  const std::vector<double>& k, double scale, const bool* mask);

// out[i][j] = sum over t = -half..half of map[i + t][j + t], 0 outside the map.
std::vector<double> diagonal_filter(const std::vector<double>& map, int64_t length, int64_t half);

// Mean of each [S, S] block.
std::vector<double> block_means(const std::vector<double>& map, int64_t length, int64_t block_size);

}  // namespace spion_bench::driver

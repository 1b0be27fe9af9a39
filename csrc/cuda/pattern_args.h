// What the launchers and the kernels of the pattern operators say to each other: plain structs.
#pragma once

#include <cstdint>

#include "attention_args.h"

namespace spion_bench::cuda {

struct AttentionMapArgs {
  int batch = 0, heads = 0, length = 0, width = 0;  // width: stored columns of D, <= the kernel's
  const bool* key_padding_mask = nullptr;           // [B, L], true = real token; null = all real
  float score_factor = 1.0f;  // |scale| * log2 e, at least the smallest normal number
  bool is_negated = false;    // scale < 0
  float share = 1.0f;         // 1 / (B * H)
  HeadsView q, k;
  float* row_stats = nullptr;  // [B, H, L, 2], scratch: see attention_map.cuh
  float* map = nullptr;        // [L, L]
};

// A matrix that is only read; strides in elements.
template <typename T>
struct MapView {
  const T* data = nullptr;
  int64_t row_stride = 0, column_stride = 0;
};

template <typename T>
struct DiagonalConvArgs {
  MapView<T> map;
  int length = 0;
  int half = 0;      // taps on either side, below `length`
  T* out = nullptr;  // [L, L]
};

template <typename T>
struct AveragePoolArgs {
  MapView<T> map;
  int block_size = 0, n_blocks = 0;  // S, and L / S per side
  int cells = 0, groups = 0;         // pooled cells of a thread block; thread blocks per block row
  T* pooled = nullptr;               // [L / S, L / S]
};

template <typename T>
struct FloodFillArgs {
  MapView<T> pooled;
  int n_blocks = 0;
  double threshold = 0.0;
  bool* kept = nullptr;  // [nb, nb], all false before
};

}  // namespace spion_bench::cuda

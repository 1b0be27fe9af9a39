// The shapes that attention and the pipeline run on, and one such problem in double precision.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pattern.h"
#include "tensor.h"

namespace spion_bench::driver {

enum class Padding { none, some_keys, one_whole_item, everything };

struct Case {
  const char* name;
  int64_t batch = 2, heads = 2;
  int64_t width = 16;  // D; as in the bindings, heads are padded with zeros to a multiple of 16
  int64_t nb = 4, block_size = 16;
  Kept kept = Kept::diagonal_and_random;
  Layout layout = Layout::contiguous;
  Padding padding = Padding::none;
  double dropout = 0;
  bool lse_gradient = false;
  // What only the fused operator has, see cpu::AttentionArgs.
  bool causal = false;
  int64_t heads_per_kv = 1;
  int64_t key_blocks = 0;    // block columns, 0: as many as block rows
  int64_t missing_keys = 0;  // of the last block

  bool is_plain() const {
    return !causal && heads_per_kv == 1 && key_blocks == 0 && missing_keys == 0;
  }
};

extern const std::vector<Case> cases;

struct Problem {
  Problem(const Case& c, bool zero_logit);

  std::string name;
  bool zero_logit;
  Layout layout;
  Shape shape, key_shape;  // of q and of k and v, with the padded width
  int64_t heads_per_kv, n_keys;
  bool causal;
  Pattern pattern;
  double scale;
  cpu::Dropout dropout;
  std::vector<double> q, k, v, dout;  // [B, H, L, D], k and v of key_shape
  std::vector<double> dlse;           // [B, H, L], empty without a gradient of the log-sum-exp
  Buffer<bool> key_padding_mask;      // [B, Lk], true = real token; empty without padding

  // Of dk and dv, one head for each of q.
  Shape gradient_shape() const { return {shape.batch, shape.heads, key_shape.length, shape.width}; }
  const bool* mask() const {
    return key_padding_mask.size() > 0 ? key_padding_mask.data() : nullptr;
  }
};

}  // namespace spion_bench::driver

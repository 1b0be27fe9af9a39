// Chooses which instantiation of a kernel fits the arguments; launchers start it.
//
// Products: one per precision (element.cuh), padded head width (32, 64, 128) and row tile (16, 32,
// 64: the block size, or 64 for 128). Row-wise kernels: one per type and block size. ../instances/
// compiles them, so that compilers can run side by side.
#pragma once

#include "args.h"
#include "prim.cuh"
#include "row_lanes.cuh"

namespace spion_bench::cuda {

template <int kValue>
struct Constant {
  static constexpr int value = kValue;
};

// body(Constant<D>, Constant<kRows>, grid) with what fits; the binding has checked that something
// does.
template <typename Body>
const char* with_tile(const BlockList& blocks, int width, const Body& body) {
  const auto with_rows = [&](auto d) {
    const auto with_grid = [&](auto rows) {
      const auto tiles = static_cast<unsigned>(blocks.length / decltype(rows)::value);
      return body(d, rows, prim::Grid{tiles, static_cast<unsigned>(blocks.batch_heads)});
    };
    if (blocks.block_log2 == 4) return with_grid(Constant<16>{});
    if (blocks.block_log2 == 5) return with_grid(Constant<32>{});
    return with_grid(Constant<64>{});
  };
  if (width <= 32) return with_rows(Constant<32>{});
  if (width <= 64) return with_rows(Constant<64>{});
  return with_rows(Constant<128>{});
}

// body(Constant<S>, grid) for the kernels that work row by row.
template <typename Body>
const char* with_block(const BlockList& blocks, const Body& body) {
  const auto with_grid = [&](auto block) {
    constexpr int kRows = RowLanes<decltype(block)::value>::kRowsOfBlock;
    const auto groups = static_cast<unsigned>((blocks.length + kRows - 1) / kRows);
    return body(block, prim::Grid{groups, static_cast<unsigned>(blocks.batch_heads)});
  };
  if (blocks.block_log2 == 4) return with_grid(Constant<16>{});
  if (blocks.block_log2 == 5) return with_grid(Constant<32>{});
  if (blocks.block_log2 == 6) return with_grid(Constant<64>{});
  return with_grid(Constant<128>{});
}

}  // namespace spion_bench::cuda

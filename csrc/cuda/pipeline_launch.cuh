// Chooses the instantiation of a pipeline kernel that fits the arguments, and starts it.
//
// Products: one per precision (element.cuh), padded head width (32, 64, 128) and row tile (16, 32,
// 64: the block size, or 64 for 128). Row-wise kernels: one per type and block size. instances/
// compiles them, so that compilers can run side by side.
#pragma once

#include "pipeline_dropout.cuh"
#include "pipeline_launch.h"
#include "pipeline_sddmm.cuh"
#include "pipeline_softmax.cuh"
#include "pipeline_spmm.cuh"

namespace spion_bench::cuda {

template <int kValue>
struct Fixed {
  static constexpr int value = kValue;
};

// body(Fixed<D>, Fixed<kRows>, grid) with what fits; the binding has checked that something does.
template <typename Body>
const char* with_tile(const BlockList& blocks, int width, const Body& body) {
  const auto with_rows = [&](auto d) {
    const auto with_grid = [&](auto rows) {
      const auto tiles = static_cast<unsigned>(blocks.length / decltype(rows)::value);
      return body(d, rows, prim::Grid{tiles, static_cast<unsigned>(blocks.batch_heads)});
    };
    if (blocks.block_log2 == 4) return with_grid(Fixed<16>{});
    if (blocks.block_log2 == 5) return with_grid(Fixed<32>{});
    return with_grid(Fixed<64>{});
  };
  if (width <= 32) return with_rows(Fixed<32>{});
  if (width <= 64) return with_rows(Fixed<64>{});
  return with_rows(Fixed<128>{});
}

// body(Fixed<S>, grid) for the kernels that work row by row.
template <typename Body>
const char* with_block(const BlockList& blocks, const Body& body) {
  const auto with_grid = [&](auto block) {
    constexpr int kRows = RowLanes<decltype(block)::value>::kRowsOfBlock;
    const auto groups = static_cast<unsigned>((blocks.length + kRows - 1) / kRows);
    return body(block, prim::Grid{groups, static_cast<unsigned>(blocks.batch_heads)});
  };
  if (blocks.block_log2 == 4) return with_grid(Fixed<16>{});
  if (blocks.block_log2 == 5) return with_grid(Fixed<32>{});
  if (blocks.block_log2 == 6) return with_grid(Fixed<64>{});
  return with_grid(Fixed<128>{});
}

template <class Math>
const char* launch_sddmm(const SddmmArgs& args, prim::Stream stream) {
  return with_tile(args.blocks, args.width, [&](auto width, auto rows, prim::Grid grid) {
    constexpr int kWidth = decltype(width)::value, kRows = decltype(rows)::value;
    return prim::launch<pipeline_sddmm_kernel<Math, kWidth, kRows>>(
        grid, kRows * 2, sddmm_shared_bytes<Math, kWidth, kRows>(), stream, args);
  });
}

template <class Math>
const char* launch_spmm(const SpmmArgs& args, prim::Stream stream) {
  return with_tile(args.blocks, args.width, [&](auto width, auto rows, prim::Grid grid) {
    constexpr int kWidth = decltype(width)::value, kRows = decltype(rows)::value;
    if (args.tile_of != nullptr)
      return prim::launch<pipeline_spmm_transposed_kernel<Math, kWidth, kRows>>(
          grid, kRows * 2, spmm_shared_bytes<Math, kWidth, kRows>(true), stream, args);
    return prim::launch<pipeline_spmm_kernel<Math, kWidth, kRows>>(
        grid, kRows * 2, spmm_shared_bytes<Math, kWidth, kRows>(false), stream, args);
  });
}

template <class Math>
const char* launch_softmax(const SoftmaxArgs& args, prim::Stream stream) {
  return with_block(args.blocks, [&](auto block, prim::Grid grid) {
    return prim::launch<pipeline_softmax_kernel<Math, decltype(block)::value>>(grid, kRowThreads, 0,
                                                                               stream, args);
  });
}

template <class Math>
const char* launch_softmax_backward(const SoftmaxBackwardArgs& args, prim::Stream stream) {
  return with_block(args.blocks, [&](auto block, prim::Grid grid) {
    return prim::launch<pipeline_softmax_backward_kernel<Math, decltype(block)::value>>(
        grid, kRowThreads, 0, stream, args);
  });
}

template <class Math>
const char* launch_dropout(const DropoutArgs& args, prim::Stream stream) {
  return with_block(args.blocks, [&](auto block, prim::Grid grid) {
    return prim::launch<pipeline_dropout_kernel<Math, decltype(block)::value>>(grid, kRowThreads, 0,
                                                                               stream, args);
  });
}

}  // namespace spion_bench::cuda

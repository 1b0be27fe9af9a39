// Chooses the instantiation of the fused kernels that fits the arguments, and starts it.
//
// One instantiation per precision (common/element.cuh), padded head width (32, 64, 128), row tile
// (16, 32, 64: the block size, or 64 for 128; backward kBackwardRows) and dropout or not; the
// forward kernel without dropout exists with and without padding. What reaches beyond one square
// pattern of whole blocks for all heads has one more, so that it costs the others nothing.
// instances/ compiles them, one file per precision and pass, so that compilers can run side by
// side.
#pragma once

#include "block_attention.h"
#include "block_attention_backward.cuh"
#include "block_attention_reduce.cuh"
#include "common/launch.cuh"

namespace spion_bench::cuda {

// body(Constant<reaches>, Constant<D>, Constant<kRows>, Constant<dropout>) with what fits; the
// binding has checked that something does.
template <typename Body>
const char* with_shape(const BlockAttentionArgs& args, const Body& body) {
  const auto with_dropout = [&](auto width, auto rows) {
    if (args.reaches) return body(Constant<1>{}, width, rows, Constant<1>{});
    return args.dropout.threshold > 0 ? body(Constant<0>{}, width, rows, Constant<1>{})
                                      : body(Constant<0>{}, width, rows, Constant<0>{});
  };
  const auto with_rows = [&](auto width) {
    if (args.block_size == 16) return with_dropout(width, Constant<16>{});
    if (args.block_size == 32) return with_dropout(width, Constant<32>{});
    return with_dropout(width, Constant<64>{});
  };
  if (args.width <= 32) return with_rows(Constant<32>{});
  if (args.width <= 64) return with_rows(Constant<64>{});
  return with_rows(Constant<128>{});
}

template <class Math>
const char* launch_block_attention_forward(const BlockAttentionArgs& args, prim::Stream stream) {
  return with_shape(args, [&](auto reaches, auto width, auto rows, auto dropout) {
    constexpr int kWidth = decltype(width)::value, kRows = decltype(rows)::value;
    constexpr bool kReaches = decltype(reaches)::value != 0;
    constexpr bool kDropout = decltype(dropout)::value != 0;
    const auto tiles = static_cast<unsigned>(args.length / kRows);
    const auto start = [&](auto padded) {
      return prim::launch<block_attention_forward_kernel<Math, kReaches, kWidth, kRows,
                                                         padded.value != 0, kDropout>,
                          forward_shared_bytes<Math, kWidth, kRows>()>(
          {tiles, static_cast<unsigned>(args.batch * args.heads)},
          kForwardThreads<kWidth, kRows, kDropout>, stream, args);
    };
    if constexpr (!kDropout)
      if (args.key_padding_mask == nullptr) return start(Constant<0>{});
    return start(Constant<1>{});
  });
}

template <class Math>
const char* launch_block_attention_backward(const BlockAttentionArgs& args, prim::Stream stream) {
  const auto batch_heads = static_cast<unsigned>(args.batch * args.heads);
  const int cuts = n_cuts(args.nnzb, args.cut_every);
  const char* error =
      with_shape(args, [&](auto reaches, auto width, auto rows, auto dropout) -> const char* {
        constexpr int kWidth = decltype(width)::value;
        constexpr int kRows = kBackwardRows<Math, kWidth, decltype(rows)::value>;
        if (const char* failed = prim::launch<block_attention_stats_kernel<Math, kWidth>>(
                {static_cast<unsigned>(args.n_blocks), batch_heads}, kStatsThreads, stream, args))
          return failed;
        const int tiles = (args.n_blocks + args.n_key_blocks + cuts) * (args.block_size / kRows);
        return prim::launch<
            block_attention_backward_kernel<Math, decltype(reaches)::value != 0, kWidth, kRows,
                                            decltype(dropout)::value != 0>,
            backward_shared_bytes<Math, kWidth, kRows>()>(
            {static_cast<unsigned>(tiles), batch_heads},
            kBackwardThreads<Math, kWidth, kRows, decltype(dropout)::value != 0>, stream, args);
      });
  if (error != nullptr || cuts == 0) return error;
  return prim::launch<block_attention_reduce_kernel<Math>>(
      {static_cast<unsigned>(cuts), batch_heads}, kReduceThreads, stream, args);
}

}  // namespace spion_bench::cuda

// Fused attention through the scheme that the bindings use: units, staged 16-bit tensors, chunks.

#include "../cpu/block_attention_scheme.h"
#include "checks.h"
#include "verdict.h"
#include "workers.h"

namespace spion_bench::driver {
namespace {

template <typename E>
struct Inputs {
  using T = cpu::Compute<E>;

  explicit Inputs(const Problem& p)
      : q(p.shape, p.layout, p.q),
        k(p.key_shape, p.layout, p.k),
        v(p.key_shape, p.layout, p.v),
        dout(p.shape, p.layout, p.dout),
        dlse(std::vector<T>(p.dlse.begin(), p.dlse.end())) {}

  Tensor<E> q, k, v, dout;
  Buffer<T> dlse;
};

template <typename E>
struct Results {
  explicit Results(const Problem& p)
      : out(p.shape, p.layout),
        dq(p.shape, p.layout),
        dk(p.gradient_shape(), Layout::contiguous),
        dv(p.gradient_shape(), Layout::contiguous),
        lse(p.shape.batch * p.shape.heads * p.shape.length) {}

  Tensor<E> out, dq, dk, dv;
  Buffer<cpu::Compute<E>> lse;
};

template <typename E>
cpu::AttentionProblem<E> describe(const Problem& p, const cpu::ExistingBlocks& blocks,
                                  const Inputs<E>& inputs, Results<E>& results) {
  cpu::AttentionProblem<E> problem;
  auto& args = problem.args;
  args.batch = p.shape.batch;
  args.heads = p.shape.heads;
  args.length = p.shape.length;
  args.key_length = p.key_shape.length;
  args.n_keys = p.n_keys;
  args.heads_per_kv = p.heads_per_kv;
  args.width = p.shape.width;
  args.block_size = p.pattern.block_size;
  args.causal = p.causal;
  args.crow = blocks.crow.data();
  args.col = blocks.col.data();
  args.key_padding_mask = p.mask();
  args.scale = p.scale;
  args.zero_logit = p.zero_logit;
  args.dropout = p.dropout;
  args.lse = results.lse.data();
  args.dlse = inputs.dlse.size() > 0 ? inputs.dlse.data() : nullptr;
  problem.q = inputs.q.view();
  problem.k = inputs.k.view();
  problem.v = inputs.v.view();
  problem.group_heads = args.heads;
  return problem;
}

template <typename E>
void run_forward(cpu::AttentionProblem<E> problem, Results<E>& results, int threads) {
  problem.out = results.out.view();
  const cpu::AttentionScheme scheme(problem);
  Scratch<cpu::Compute<E>> scratch(threads, cpu::scheme_scratch<E>(problem.args, false));
  run_units(threads, scheme.units(), [&](int64_t unit, int thread) {
    cpu::forward_unit(problem, scheme, unit, scratch.fresh(thread));
  });
}

template <typename E>
void run_backward(cpu::AttentionProblem<E> problem, const Inputs<E>& inputs, Results<E>& results,
                  int threads) {
  using T = cpu::Compute<E>;
  problem.dout = inputs.dout.view();
  problem.out_given = std::as_const(results.out).view();
  problem.dq = results.dq.view();
  problem.dk = results.dk.view();
  problem.dv = results.dv.view();
  const cpu::AttentionScheme scheme(problem);
  Scratch<T> scratch(threads, cpu::scheme_scratch<E>(problem.args, true));
  const int64_t tile = problem.args.block_size * problem.args.width;
  Buffer<T> dk_parts(scheme.batch_heads * scheme.slots * tile);
  Buffer<T> dv_parts(scheme.batch_heads * scheme.slots * tile);
  run_units(threads, scheme.units(), [&](int64_t unit, int thread) {
    cpu::backward_unit(problem, scheme, unit, dk_parts.data(), dv_parts.data(),
                       scratch.fresh(thread));
  });
  const auto n_shared = static_cast<int64_t>(scheme.shared.size());
  run_units(threads, scheme.batch_heads * n_shared, [&](int64_t index, int thread) {
    cpu::add_chunks(problem, scheme, index, dk_parts.data(), problem.dk, scratch.fresh(thread));
    cpu::add_chunks(problem, scheme, index, dv_parts.data(), problem.dv, scratch.fresh(thread));
  });
}

template <typename E>
Results<E> run(const Problem& p, const Inputs<E>& inputs, int threads) {
  Results<E> results(p);
  const cpu::ExistingBlocks blocks(p.pattern.crow.data(), p.pattern.col.data(), p.pattern.nb,
                                   p.pattern.columns, p.causal);
  const cpu::AttentionProblem<E> problem = describe(p, blocks, inputs, results);
  run_forward(problem, results, threads);
  run_backward(problem, inputs, results, threads);
  return results;
}

template <typename E>
void check(const Problem& p, const Attention& expected) {
  const std::string where =
      std::string(cpu::kernels().capability) + " attention " + Format<E>::name + " " + p.name + " ";
  const Inputs<E> inputs(p);
  const Results<E> one = run(p, inputs, 1), several = run(p, inputs, kSeveral);

  expect_close(where + "lse", values_of(one.lse), expected.lse, Format<E>::tolerance);
  expect_same_bits(where + "lse", one.lse, several.lse);
  const auto compare = [&](const char* name, Tensor<E> Results<E>::* member,
                           const std::vector<double>& values) {
    const Tensor<E>&first = one.*member, &second = several.*member;
    expect_close(where + name, first.values(), values, Format<E>::tolerance);
    expect_gaps_untouched(where + name, first, static_cast<int64_t>(values.size()));
    expect_same_bits(where + name, first.memory(), second.memory());
  };
  compare("out", &Results<E>::out, expected.out);
  compare("dq", &Results<E>::dq, expected.dq);
  compare("dk", &Results<E>::dk, expected.dk);
  compare("dv", &Results<E>::dv, expected.dv);
}

}  // namespace

void check_attention(const Problem& problem, const Attention& expected) {
  check<float>(problem, expected);
  check<double>(problem, expected);
  check<cpu::BFloat16>(problem, expected);
  check<cpu::Float16>(problem, expected);
}

}  // namespace spion_bench::driver

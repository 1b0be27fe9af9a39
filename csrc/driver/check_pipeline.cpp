// Attention and its gradients once more, by the paper's pipeline of SDDMM, softmax, dropout and
// SpMM on stored tiles, every step compared. Units are block rows, as in the bindings.

#include "checks.h"
#include "verdict.h"
#include "workers.h"

namespace spion_bench::driver {
namespace {

template <typename T>
class Pipeline {
 public:
  Pipeline(const Problem& p, int threads)
      : p_(p),
        threads_(threads),
        nb_(p.pattern.nb),
        size_(p.pattern.block_size),
        tile_(size_ * size_),
        batch_heads_(p.shape.batch * p.shape.heads) {}

  // [B, H, nnzb, S, S]
  Buffer<T> sddmm(double scale, const Tensor<T>& a, const Tensor<T>& b) const {
    Buffer<T> tiles(tiles_size());
    Scratch<T> scratch(threads_, cpu::sddmm_scratch(p_.shape.width, size_));
    for_block_rows([&](int64_t bh, int64_t row, int thread) {
      const T* a_row = block(a, bh, row);
      for_tiles(bh, row, [&](int64_t col, int64_t at) {
        kernels().sddmm_tile(size_, p_.shape.width, scale, a_row, a.view().row_stride,
                             block(b, bh, col), b.view().row_stride, tiles.data() + at,
                             scratch.fresh(thread));
      });
    });
    return tiles;
  }

  Buffer<T> softmax(const Buffer<T>& scores, Buffer<T>& lse) const {
    Buffer<T> probs(tiles_size());
    const int32_t *crow = p_.pattern.crow.data(), *col = p_.pattern.col.data();
    for_block_rows([&](int64_t bh, int64_t row, int) {
      const int64_t count = crow[row + 1] - crow[row], first = tile_at(bh, crow[row]);
      const bool* mask = p_.mask();
      if (mask != nullptr) mask += bh / p_.shape.heads * p_.shape.length;
      kernels().softmax_row(size_, count, static_cast<double>(p_.shape.length - count * size_),
                            p_.zero_logit, scores.data() + first, col + crow[row], mask,
                            probs.data() + first, lse.data() + (bh * nb_ + row) * size_);
    });
    return probs;
  }

  Buffer<T> softmax_backward(const Buffer<T>& dprobs, const Buffer<T>& dlse,
                             const Buffer<T>& probs) const {
    Buffer<T> dscores(tiles_size());
    const int32_t* crow = p_.pattern.crow.data();
    for_block_rows([&](int64_t bh, int64_t row, int) {
      const int64_t first = tile_at(bh, crow[row]);
      const T* dlse_row = dlse.size() > 0 ? dlse.data() + (bh * nb_ + row) * size_ : nullptr;
      kernels().softmax_backward_row(size_, crow[row + 1] - crow[row], dprobs.data() + first,
                                     dlse_row, probs.data() + first, dscores.data() + first);
    });
    return dscores;
  }

  Buffer<T> dropout(const Buffer<T>& tiles) const {
    Buffer<T> result(tiles_size());
    for_block_rows([&](int64_t bh, int64_t row, int) {
      for_tiles(bh, row, [&](int64_t col, int64_t at) {
        kernels().dropout_tile(size_, p_.dropout, row * size_, col * size_, bh, tiles.data() + at,
                               result.data() + at);
      });
    });
    return result;
  }

  // [B, H, L, D], contiguous
  Buffer<T> spmm(const Buffer<T>& tiles, const Tensor<T>& v, bool transposed) const {
    const Pattern& pattern = p_.pattern;
    const int32_t* crow = (transposed ? pattern.t_crow : pattern.crow).data();
    const int32_t* index = (transposed ? pattern.t_row : pattern.col).data();
    const int64_t width = p_.shape.width;
    Buffer<T> out(p_.shape.numel(), [](int64_t) { return T{0}; });
    for_block_rows([&](int64_t bh, int64_t row, int) {
      for (int64_t t = crow[row]; t < crow[row + 1]; ++t)
        kernels().spmm_tile(size_, width, transposed,
                            tiles.data() + tile_at(bh, transposed ? pattern.t_tile[t] : t),
                            block(v, bh, index[t]), v.view().row_stride,
                            out.data() + (bh * nb_ + row) * size_ * width);
    });
    return out;
  }

 private:
  static const cpu::KernelsOf<T>& kernels() { return cpu::kernels_of<T>(); }
  int64_t tiles_size() const { return batch_heads_ * p_.pattern.nnzb() * tile_; }
  int64_t tile_at(int64_t bh, int64_t t) const { return (bh * p_.pattern.nnzb() + t) * tile_; }

  const T* block(const Tensor<T>& x, int64_t bh, int64_t row) const {
    const cpu::HeadsView<const T> view = x.view();
    return view.at(bh / p_.shape.heads, bh % p_.shape.heads) + row * size_ * view.row_stride;
  }

  template <typename Body>
  void for_block_rows(const Body& body) const {
    run_units(threads_, batch_heads_ * nb_,
              [&](int64_t unit, int thread) { body(unit / nb_, unit % nb_, thread); });
  }

  template <typename Body>
  void for_tiles(int64_t bh, int64_t row, const Body& body) const {
    for (int64_t t = p_.pattern.crow[row]; t < p_.pattern.crow[row + 1]; ++t)
      body(p_.pattern.col[t], tile_at(bh, t));
  }

  const Problem& p_;
  int threads_;
  int64_t nb_, size_, tile_, batch_heads_;
};

template <typename T>
struct Steps {
  Buffer<T> lse, scores, probs, dropped, out, dprobs, dscores, dq, dk, dv;
};

template <typename T>
Steps<T> run(const Problem& p, int threads) {
  const Tensor<T> q(p.shape, p.layout, p.q), k(p.shape, p.layout, p.k), v(p.shape, p.layout, p.v);
  const Tensor<T> dout(p.shape, p.layout, p.dout);
  const Buffer<T> dlse(std::vector<T>(p.dlse.begin(), p.dlse.end()));
  const Pipeline<T> pipeline(p, threads);
  Buffer<T> lse(p.shape.batch * p.shape.heads * p.shape.length);
  Buffer<T> scores = pipeline.sddmm(p.scale, q, k);
  Buffer<T> probs = pipeline.softmax(scores, lse);
  Buffer<T> dropped = pipeline.dropout(probs);
  Buffer<T> out = pipeline.spmm(dropped, v, false);
  Buffer<T> dprobs = pipeline.dropout(pipeline.sddmm(1, dout, v));
  Buffer<T> dscores = pipeline.softmax_backward(dprobs, dlse, probs);
  Buffer<T> dq = pipeline.spmm(dscores, k, false);
  Buffer<T> dk = pipeline.spmm(dscores, q, true);
  Buffer<T> dv = pipeline.spmm(dropped, dout, true);
  return {std::move(lse), std::move(scores), std::move(probs),   std::move(dropped),
          std::move(out), std::move(dprobs), std::move(dscores), std::move(dq),
          std::move(dk),  std::move(dv)};
}

// The kept blocks of a matrix [B, H, L, L], as tiles [B, H, nnzb, S, S].
std::vector<double> tiles_of(const Problem& p, const std::vector<double>& matrix) {
  const int64_t S = p.pattern.block_size, L = p.shape.length;
  std::vector<double> tiles;
  for (int64_t bh = 0; bh < p.shape.batch * p.shape.heads; ++bh)
    for (int64_t row = 0; row < p.pattern.nb; ++row)
      for (int64_t t = p.pattern.crow[row]; t < p.pattern.crow[row + 1]; ++t)
        for (int64_t i = 0; i < S; ++i) {
          const auto first = matrix.begin() + (bh * L + row * S + i) * L + p.pattern.col[t] * S;
          tiles.insert(tiles.end(), first, first + S);
        }
  return tiles;
}

// dq and dk as products with dscores alone, which the pipeline's SpMM computes.
std::vector<double> unscaled(const Problem& p, std::vector<double> gradient) {
  for (double& x : gradient) x /= p.scale;
  return gradient;
}

template <typename T>
void check(const Problem& p, const Attention& expected) {
  const std::string where =
      std::string(cpu::kernels().capability) + " pipeline " + Format<T>::name + " " + p.name + " ";
  const Steps<T> one = run<T>(p, 1), several = run<T>(p, kSeveral);
  const auto compare = [&](const char* name, Buffer<T> Steps<T>::* member,
                           const std::vector<double>& values) {
    expect_close(where + name, values_of(one.*member), values, Format<T>::tolerance);
    expect_same_bits(where + name, one.*member, several.*member);
  };
  compare("scores", &Steps<T>::scores, tiles_of(p, expected.scores));
  compare("probs", &Steps<T>::probs, tiles_of(p, expected.probs));
  compare("lse", &Steps<T>::lse, expected.lse);
  compare("dropped", &Steps<T>::dropped, tiles_of(p, expected.dropped));
  compare("out", &Steps<T>::out, expected.out);
  compare("dprobs", &Steps<T>::dprobs, tiles_of(p, expected.dprobs));
  compare("dscores", &Steps<T>::dscores, tiles_of(p, expected.dscores));
  compare("dq", &Steps<T>::dq, unscaled(p, expected.dq));
  compare("dk", &Steps<T>::dk, unscaled(p, expected.dk));
  compare("dv", &Steps<T>::dv, expected.dv);
}

}  // namespace

void check_pipeline(const Problem& problem, const Attention& expected) {
  check<float>(problem, expected);
  check<double>(problem, expected);
}

}  // namespace spion_bench::driver

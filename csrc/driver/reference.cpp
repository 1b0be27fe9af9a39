#include "reference.h"

#include <array>
#include <cmath>
#include <limits>

namespace spion_bench::driver {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Words = std::array<uint32_t, 4>;

// Philox4x32-10 (Salmon et al., SC 2011), one counter.
Words philox(Words counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(a)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

double dot(const double* a, const double* b, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += a[i] * b[i];
  return total;
}

void add_scaled(double factor, const double* from, int64_t n, double* to) {
  for (int64_t i = 0; i < n; ++i) to[i] += factor * from[i];
}

// One query row; every array is that row's or, for keys, that (batch, head)'s.
struct Query {
  const Problem& problem;
  int64_t bh, i;
  std::vector<int64_t> keys;  // inside the pattern, and seen

  int64_t length() const { return problem.shape.length; }
  int64_t key_length() const { return problem.key_shape.length; }
  int64_t seen() const { return problem.causal ? i + 1 : problem.n_keys; }
  int64_t width() const { return problem.shape.width; }
  const double* q() const { return problem.q.data() + (bh * length() + i) * width(); }
  const double* dout() const { return problem.dout.data() + (bh * length() + i) * width(); }
  // Of k and v, whose heads serve several of q, and of dk and dv, which have one for each.
  int64_t key_at(int64_t j) const {
    return (bh / problem.heads_per_kv * key_length() + j) * width();
  }
  int64_t gradient_at(int64_t j) const { return (bh * key_length() + j) * width(); }
  bool is_real(int64_t j) const {
    return problem.mask() == nullptr || problem.mask()[bh / problem.shape.heads * key_length() + j];
  }
};

Query make_query(const Problem& problem, int64_t bh, int64_t i) {
  Query query{problem, bh, i, {}};
  const Pattern& pattern = problem.pattern;
  const int64_t S = pattern.block_size, row = i / S;
  for (int64_t t = pattern.crow[row]; t < pattern.crow[row + 1]; ++t)
    for (int64_t j = pattern.col[t] * S; j < std::min((pattern.col[t] + 1) * S, query.seen()); ++j)
      query.keys.push_back(j);
  return query;
}

void forward(const Query& query, Attention& result) {
  const Problem& problem = query.problem;
  const int64_t D = query.width(), row = query.bh * query.length() + query.i;
  double* scores = result.scores.data() + row * query.key_length();
  double* probs = result.probs.data() + row * query.key_length();
  const auto absent = static_cast<double>(query.seen()) - static_cast<double>(query.keys.size());
  const double zeros = problem.zero_logit ? absent : 0;  // pruned scores that count as 0
  double highest = zeros > 0 ? 0 : -kInfinity;
  for (const int64_t j : query.keys) {
    scores[j] = problem.scale * dot(query.q(), problem.k.data() + query.key_at(j), D);
    if (query.is_real(j)) highest = std::max(highest, scores[j]);
  }
  double total = zeros > 0 ? zeros * std::exp(-highest) : 0;
  for (const int64_t j : query.keys)
    if (query.is_real(j)) total += probs[j] = std::exp(scores[j] - highest);
  result.lse[row] = total > 0 ? highest + std::log(total) : kInfinity;
  for (const int64_t j : query.keys) {
    if (total > 0) probs[j] /= total;
    const double p = probs[j] * dropout_factor(problem.dropout, query.i, j, query.bh);
    result.dropped[row * query.key_length() + j] = p;
    add_scaled(p, problem.v.data() + query.key_at(j), D, result.out.data() + row * D);
  }
}

void backward(const Query& query, Attention& result) {
  const Problem& problem = query.problem;
  const int64_t D = query.width(), row = query.bh * query.length() + query.i;
  const double* probs = result.probs.data() + row * query.key_length();
  double* dprobs = result.dprobs.data() + row * query.key_length();
  double* dscores = result.dscores.data() + row * query.key_length();
  double delta = problem.dlse.empty() ? 0 : -problem.dlse[row];
  for (const int64_t j : query.keys) {
    dprobs[j] = dropout_factor(problem.dropout, query.i, j, query.bh) *
                dot(query.dout(), problem.v.data() + query.key_at(j), D);
    delta += probs[j] * dprobs[j];
  }
  for (const int64_t j : query.keys) {
    dscores[j] = probs[j] * (dprobs[j] - delta);
    const double ds = problem.scale * dscores[j];
    add_scaled(ds, problem.k.data() + query.key_at(j), D, result.dq.data() + row * D);
    add_scaled(ds, query.q(), D, result.dk.data() + query.gradient_at(j));
    add_scaled(result.dropped[row * query.key_length() + j], query.dout(), D,
               result.dv.data() + query.gradient_at(j));
  }
}

}  // namespace

Attention attention(const Problem& problem) {
  const int64_t rows = problem.shape.batch * problem.shape.heads * problem.shape.length;
  const std::vector<double> matrix(rows * problem.key_shape.length), heads(problem.shape.numel());
  const std::vector<double> by_key(problem.gradient_shape().numel());
  Attention result{.scores = matrix,
                   .probs = matrix,
                   .dropped = matrix,
                   .dprobs = matrix,
                   .dscores = matrix,
                   .out = heads,
                   .lse = std::vector<double>(rows),
                   .dq = heads,
                   .dk = by_key,
                   .dv = by_key};
  for (int64_t row = 0; row < rows; ++row) {
    const Query query = make_query(problem, row / problem.shape.length, row % problem.shape.length);
    forward(query, result);
    backward(query, result);
  }
  return result;
}

double dropout_factor(const cpu::Dropout& dropout, int64_t query, int64_t key, int64_t bh) {
  if (!dropout.enabled) return 1;
  const Words words = philox(
      {static_cast<uint32_t>(key / 8), static_cast<uint32_t>(query), static_cast<uint32_t>(bh), 0},
      static_cast<uint32_t>(dropout.seed), static_cast<uint32_t>(dropout.seed >> 32));
  const uint32_t value = words[key % 8 / 2] >> (key % 2 * 16) & 0xFFFF;
  return value < dropout.threshold ? 0 : dropout.keep_scale;
}

bool philox_is_right() {
  // The known answers of the authors' Random123 library: all zeros, and the digits of pi.
  return philox({0, 0, 0, 0}, 0, 0) == Words{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8} &&
         philox({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, 0xA4093822, 0x299F31D0) ==
             Words{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1};
}

std::vector<double> attention_map(const Shape& shape, const std::vector<double>& q,
                                  const std::vector<double>& k, double scale, const bool* mask) {
  const auto& [B, H, L, D] = shape;
  std::vector<double> map(L * L), probs(L);
  for (int64_t row = 0; row < B * H * L; ++row) {
    const int64_t bh = row / L;
    double total = 0;
    for (int64_t j = 0; j < L; ++j) {
      const bool real = mask == nullptr || mask[bh / H * L + j];
      // No maximum is subtracted: these scores are small.
      probs[j] =
          real ? std::exp(scale * dot(q.data() + row * D, k.data() + (bh * L + j) * D, D)) : 0;
      total += probs[j];
    }
    if (total > 0)
      add_scaled(1 / (total * static_cast<double>(B * H)), probs.data(), L,
                 map.data() + row % L * L);
  }
  return map;
}

std::vector<double> diagonal_filter(const std::vector<double>& map, int64_t length, int64_t half) {
  std::vector<double> out(length * length);
  for (int64_t i = 0; i < length; ++i)
    for (int64_t j = 0; j < length; ++j)
      for (int64_t t = -half; t <= half; ++t)
        if (std::min(i, j) + t >= 0 && std::max(i, j) + t < length)
          out[i * length + j] += map[(i + t) * length + j + t];
  return out;
}

std::vector<double> block_means(const std::vector<double>& map, int64_t length,
                                int64_t block_size) {
  const int64_t nb = length / block_size;
  std::vector<double> means(nb * nb);
  for (int64_t i = 0; i < length; ++i)
    for (int64_t j = 0; j < length; ++j)
      means[i / block_size * nb + j / block_size] +=
          map[i * length + j] / static_cast<double>(block_size * block_size);
  return means;
}

}  // namespace spion_bench::driver

#include "verdict.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <utility>

namespace spion_bench::driver {
namespace {

Tally tally;

}  // namespace

Tally take_tally() { return std::exchange(tally, Tally{}); }

void fail(const std::string& where, const std::string& message) {
  std::cerr << "FAILED " << where << ": " << message << std::endl;
  std::exit(1);
}

void expect_close(const std::string& where, const std::vector<double>& got,
                  const std::vector<double>& expected, double tolerance) {
  if (got.size() != expected.size()) fail(where, "the driver compares results of two sizes");
  double largest = 0;
  for (const double x : expected)
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  const double allowed = tolerance * largest;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == expected[i]) continue;  // infinities too
    const double error = std::abs(got[i] - expected[i]);
    if (!(error <= allowed)) {  // NaN is not
      std::ostringstream message;
      message.precision(17);
      message << "element " << i << ": expected " << expected[i] << ", got " << got[i]
              << ", an error of at most " << allowed;
      fail(where, message.str());
    }
    tally.largest_share = std::max(tally.largest_share, error / allowed);
  }
  ++tally.comparisons;
}

void expect_same_bytes(const std::string& where, const void* one, const void* several,
                       std::size_t bytes) {
  if (std::memcmp(one, several, bytes) != 0)
    fail(where, "one and several threads do not give the same bits");
  ++tally.comparisons;
}

}  // namespace spion_bench::driver

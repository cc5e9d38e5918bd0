//===- Sampler.h - Which token comes next -----------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_RUN_SAMPLER_H
#define SSM_RUN_SAMPLER_H

#include <cstdint>
#include <random>
#include <vector>

namespace ssmrun {

struct SamplerOptions {
  double temperature = 1; // 0: always the most likely
  double topP = 1;        // the fewest likeliest whose chances sum up to it
  int64_t topK = 0;       // so many likeliest at most; 0: all
  uint64_t seed = 0;
};

/// Draws from softmax(logits / temperature), cut to the likeliest. The same seed and
/// logits give the same draws, on any machine. Of equal logits the lower index counts
/// as likelier.
class Sampler {
public:
  explicit Sampler(const SamplerOptions &options) : options(options), random(options.seed) {}

  /// An index of `logits`; throws if there is none, or none is a number.
  int64_t next(const std::vector<double> &logits);

private:
  SamplerOptions options;
  std::mt19937_64 random;
};

} // namespace ssmrun

#endif // SSM_RUN_SAMPLER_H

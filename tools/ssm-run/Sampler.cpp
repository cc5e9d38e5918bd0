//===- Sampler.cpp - Which token comes next -------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Sampler.h"

#include "Support.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace ssmrun;

int64_t Sampler::next(const std::vector<double> &logits) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if (!std::isnan(logits[i]))
      order.push_back(int64_t(i));
  if (order.empty())
    throw Error("the logits hold no number to choose by");
  auto likelier = [&](int64_t a, int64_t b) {
    double x = logits[size_t(a)], y = logits[size_t(b)];
    return x > y || (x == y && a < b);
  };
  if (options.temperature == 0)
    return *std::min_element(order.begin(), order.end(), likelier);
  std::sort(order.begin(), order.end(), likelier);
  if (options.topK > 0 && size_t(options.topK) < order.size())
    order.resize(size_t(options.topK));

  double largest = logits[size_t(order.front())];
  std::vector<double> chances;
  for (int64_t i : order) {
    double away = logits[size_t(i)] - largest;
    // Two infinities are equally likely, and nothing beside them.
    chances.push_back(std::isnan(away) ? 1 : std::exp(away / options.temperature));
  }
  double kept = 0, wanted = options.topP * std::accumulate(chances.begin(), chances.end(), 0.0);
  size_t count = 0;
  do
    kept += chances[count++];
  while (count < chances.size() && kept < wanted);

  // 53 bits: the distributions of the standard library differ from one to the next.
  double left = double(random() >> 11) * 0x1p-53 * kept;
  for (size_t i = 0; i < count; ++i)
    if ((left -= chances[i]) < 0)
      return order[i];
  return order[count - 1];
}

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
#include <functional>

using namespace ssmrun;

using Logits = std::vector<double>;

/// The `count` likeliest of `kept`, whose order they keep.
static std::vector<int64_t> likeliest(const Logits &logits, const std::vector<int64_t> &kept,
                                      size_t count) {
  Logits values;
  values.reserve(kept.size());
  for (int64_t i : kept)
    values.push_back(logits[size_t(i)]);
  auto last = values.begin() + std::ptrdiff_t(count) - 1;
  std::nth_element(values.begin(), last, values.end(), std::greater<>());
  // Of those equal to the last one, the first have a place.
  auto equal = count - size_t(std::count_if(values.begin(), last,
                                            [&](double value) { return value > *last; }));
  std::vector<int64_t> result;
  for (int64_t i : kept)
    if (logits[size_t(i)] > *last || (logits[size_t(i)] == *last && equal > 0 && equal--))
      result.push_back(i);
  return result;
}

int64_t Sampler::next(const Logits &logits) {
  std::vector<int64_t> order;
  order.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    if (!std::isnan(logits[i]))
      order.push_back(int64_t(i));
  if (order.empty())
    throw Error("the logits hold no number to choose by");
  auto likelier = [&](int64_t a, int64_t b) {
    double x = logits[size_t(a)], y = logits[size_t(b)];
    return x > y || (x == y && a < b);
  };
  int64_t best = *std::min_element(order.begin(), order.end(), likelier);
  if (options.temperature == 0)
    return best;
  if (options.topK > 0 && size_t(options.topK) < order.size())
    order = likeliest(logits, order, size_t(options.topK));

  double largest = logits[size_t(best)];
  auto chance = [&](int64_t i) {
    double away = logits[size_t(i)] - largest;
    // Two infinities are equally likely, and nothing beside them.
    return std::isnan(away) ? 1 : std::exp(away / options.temperature);
  };
  std::vector<double> chances;
  chances.reserve(order.size());
  double kept = 0;
  for (int64_t i : order) {
    chances.push_back(chance(i));
    kept += chances.back();
  }
  if (options.topP < 1) {
    // The likeliest are sorted, as many as it takes: mostly few of many.
    double wanted = options.topP * kept;
    size_t sorted = 0;
    kept = 0;
    chances.clear();
    do {
      if (chances.size() == sorted) {
        auto begin = order.begin() + std::ptrdiff_t(sorted);
        sorted = std::min(order.size(), std::max<size_t>(64, 4 * sorted));
        auto end = order.begin() + std::ptrdiff_t(sorted);
        // Faster than partial_sort where it is not few.
        std::nth_element(begin, end - 1, order.end(), likelier);
        std::sort(begin, end, likelier);
      }
      chances.push_back(chance(order[chances.size()]));
      kept += chances.back();
    } while (chances.size() < order.size() && kept < wanted);
  }

  // 53 bits: the distributions of the standard library differ from one to the next.
  double left = double(random() >> 11) * 0x1p-53 * kept;
  for (size_t i = 0; i < chances.size(); ++i)
    if ((left -= chances[i]) < 0)
      return order[i];
  return order[chances.size() - 1];
}

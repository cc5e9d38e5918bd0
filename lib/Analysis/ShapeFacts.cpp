//===- ShapeFacts.cpp - Sizes and shape values of a graph -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/ShapeFacts.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace ssm;

std::optional<int64_t> ssm::constantValue(AffineExpr expr) {
  if (auto constant = dyn_cast_or_null<AffineConstantExpr>(expr))
    return constant.getValue();
  return std::nullopt;
}

std::optional<SmallVector<int64_t>> ssm::constantValues(ArrayRef<AffineExpr> exprs) {
  SmallVector<int64_t> values;
  for (AffineExpr expr : exprs) {
    std::optional<int64_t> value = constantValue(expr);
    if (!value)
      return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

SmallVector<int64_t> ssm::staticShape(ArrayRef<AffineExpr> dims) {
  return llvm::map_to_vector(
      dims, [](AffineExpr dim) { return constantValue(dim).value_or(ShapedType::kDynamic); });
}

AffineExpr ShapeFacts::constant(int64_t value) const {
  return getAffineConstantExpr(value, context);
}

AffineExpr ShapeFacts::fresh(bool isSize) {
  nonNegative.push_back(isSize);
  return getAffineSymbolExpr(nonNegative.size() - 1, context);
}

AffineExpr ShapeFacts::named(StringRef name) {
  auto [it, inserted] = names.try_emplace(name, nonNegative.size());
  if (inserted)
    nonNegative.push_back(true);
  return getAffineSymbolExpr(it->second, context);
}

StringRef ShapeFacts::nameOf(AffineExpr expr) const {
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    for (const auto &entry : names)
      if (entry.second == symbol.getPosition())
        return entry.first();
  return "";
}

ArrayRef<AffineExpr> ShapeFacts::dims(Value value) {
  auto it = facts.find(value);
  if (it != facts.end())
    return it->second.dims;
  Dims dims;
  for (int64_t size : cast<RankedTensorType>(value.getType()).getShape())
    dims.push_back(ShapedType::isDynamic(size) ? fresh() : constant(size));
  return facts[value].dims = dims;
}

void ShapeFacts::setDims(Value value, ArrayRef<AffineExpr> dims) {
  Facts &entry = facts[value];
  entry.dims = Dims(dims);
  entry.elements.reset();
}

std::optional<ArrayRef<AffineExpr>> ShapeFacts::elements(Value value) const {
  auto it = facts.find(value);
  if (it == facts.end() || !it->second.elements)
    return std::nullopt;
  return ArrayRef<AffineExpr>(*it->second.elements);
}

void ShapeFacts::setElements(Value value, ArrayRef<AffineExpr> elements) {
  facts[value].elements = Dims(elements);
}

void ShapeFacts::forget(Value value) { facts.erase(value); }

bool ShapeFacts::isNonNegative(AffineExpr expr) const {
  switch (expr.getKind()) {
  case AffineExprKind::Constant:
    return cast<AffineConstantExpr>(expr).getValue() >= 0;
  case AffineExprKind::SymbolId:
    return nonNegative[cast<AffineSymbolExpr>(expr).getPosition()];
  case AffineExprKind::DimId:
    return false;
  case AffineExprKind::Mod:
    // The affine remainder is never negative.
    return true;
  case AffineExprKind::Add:
  case AffineExprKind::Mul:
  case AffineExprKind::FloorDiv:
  case AffineExprKind::CeilDiv: {
    auto binary = cast<AffineBinaryOpExpr>(expr);
    return (isNonNegative(binary.getLHS()) && isNonNegative(binary.getRHS())) ||
           isNonNegativeByCases(expr);
  }
  }
  return false;
}

/// Whether every constant of the expression stays far from where 64-bit
/// arithmetic inside the simplifier would overflow.
static bool hasSmallConstants(AffineExpr expr) {
  bool small = true;
  expr.walk([&](AffineExpr inner) {
    if (auto constant = dyn_cast<AffineConstantExpr>(inner))
      small &=
          constant.getValue() > -(int64_t(1) << 40) && constant.getValue() < (int64_t(1) << 40);
  });
  return small;
}

AffineExpr ShapeFacts::simplify(AffineExpr expr) const {
  if (isa<AffineConstantExpr, AffineSymbolExpr>(expr) || !hasSmallConstants(expr))
    return expr;
  return simplifyAffineExpr(expr, /*numDims=*/0, nonNegative.size());
}

AffineExpr ShapeFacts::add(AffineExpr a, AffineExpr b) const {
  if (!a || !b)
    return {};
  auto ca = constantValue(a), cb = constantValue(b);
  if (ca && cb) {
    int64_t result;
    return llvm::AddOverflow(*ca, *cb, result) ? AffineExpr() : constant(result);
  }
  if (!hasSmallConstants(a) || !hasSmallConstants(b))
    return {};
  return simplify(a + b);
}

AffineExpr ShapeFacts::sub(AffineExpr a, AffineExpr b) const {
  if (!a || !b)
    return {};
  if (a == b)
    return constant(0);
  return add(a, mul(b, constant(-1)));
}

AffineExpr ShapeFacts::mul(AffineExpr a, AffineExpr b) const {
  if (!a || !b)
    return {};
  auto ca = constantValue(a), cb = constantValue(b);
  if (ca && cb) {
    int64_t result;
    return llvm::MulOverflow(*ca, *cb, result) ? AffineExpr() : constant(result);
  }
  if ((ca && *ca == 0) || (cb && *cb == 0))
    return constant(0);
  if ((ca && *ca == 1))
    return b;
  if ((cb && *cb == 1))
    return a;
  if (!hasSmallConstants(a) || !hasSmallConstants(b))
    return {};
  if (ca || cb)
    return simplify(a * b);
  // Products of symbols: keep them in a canonical order, for equality is
  // structural. The affine simplifier does not handle them.
  SmallVector<AffineExpr> factors;
  std::function<void(AffineExpr)> collect = [&](AffineExpr expr) {
    auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
    if (binary && expr.getKind() == AffineExprKind::Mul) {
      collect(binary.getLHS());
      collect(binary.getRHS());
    } else {
      factors.push_back(expr);
    }
  };
  collect(a);
  collect(b);
  int64_t scale = 1;
  SmallVector<std::pair<std::string, AffineExpr>> keyed;
  for (AffineExpr factor : factors) {
    if (auto value = constantValue(factor)) {
      if (llvm::MulOverflow(scale, *value, scale))
        return {};
      continue;
    }
    std::string key;
    llvm::raw_string_ostream(key) << factor;
    keyed.push_back({key, factor});
  }
  llvm::sort(keyed, [](auto &l, auto &r) { return l.first < r.first; });
  AffineExpr result = keyed[0].second;
  for (auto &[key, factor] : llvm::drop_begin(keyed))
    result = result * factor;
  return scale == 1 ? result : result * scale;
}

/// expr / divisor if every term of the sum has the divisor as a factor.
static AffineExpr divideExactly(AffineExpr expr, AffineExpr divisor) {
  if (expr == divisor)
    return getAffineConstantExpr(1, expr.getContext());
  auto cd = constantValue(divisor);
  if (auto ce = constantValue(expr); ce && cd && *cd != 0 && *ce % *cd == 0)
    return getAffineConstantExpr(*ce / *cd, expr.getContext());
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return {};
  AffineExpr lhs = binary.getLHS(), rhs = binary.getRHS();
  if (expr.getKind() == AffineExprKind::Mul) {
    if (AffineExpr q = divideExactly(lhs, divisor))
      return q * rhs;
    if (AffineExpr q = divideExactly(rhs, divisor))
      return lhs * q;
    // (a*b) / (b*c): divide factor by factor.
    if (auto product = dyn_cast<AffineBinaryOpExpr>(divisor);
        product && divisor.getKind() == AffineExprKind::Mul)
      if (AffineExpr q = divideExactly(expr, product.getLHS()))
        return divideExactly(q, product.getRHS());
  }
  if (expr.getKind() == AffineExprKind::Add) {
    AffineExpr l = divideExactly(lhs, divisor), r = divideExactly(rhs, divisor);
    if (l && r)
      return l + r;
  }
  return {};
}

AffineExpr ShapeFacts::div(AffineExpr a, AffineExpr b) const {
  if (!a || !b)
    return {};
  auto ca = constantValue(a), cb = constantValue(b);
  if (ca && cb) {
    if (*cb == 0 || (*ca == std::numeric_limits<int64_t>::min() && *cb == -1))
      return {};
    return constant(*ca / *cb);
  }
  if (cb && *cb == 1)
    return a;
  if (cb && *cb > 0)
    if (AffineExpr exact = divideExactly(a, b))
      return simplify(exact);
  if (!cb || *cb <= 0 || !isNonNegative(a) || !hasSmallConstants(a) || !hasSmallConstants(b))
    return {};
  return simplify(a.floorDiv(b));
}

AffineExpr ShapeFacts::mod(AffineExpr a, AffineExpr b) const {
  if (!a || !b)
    return {};
  auto ca = constantValue(a), cb = constantValue(b);
  if (!cb || *cb <= 0 || !hasSmallConstants(b))
    return {};
  if (ca)
    return constant(llvm::mod(*ca, static_cast<uint64_t>(*cb)));
  if (!hasSmallConstants(a))
    return {};
  return simplify(a % b);
}

AffineExpr ShapeFacts::product(ArrayRef<AffineExpr> factors) const {
  AffineExpr result = constant(1);
  for (AffineExpr factor : factors)
    result = mul(result, factor);
  return result;
}

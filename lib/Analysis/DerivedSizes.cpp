//===- DerivedSizes.cpp - Clamped and divided sizes -----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Slices clamp, Reshape divides, Range rounds: what affine expressions cannot say
// gets a symbol that knows its operands. Extremes of sizes are brought to the one
// form max(x, 0), so that x[1:] and x[:-1] have the same size.
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/ShapeFacts.h"

#include "llvm/ADT/ScopeExit.h"

using namespace mlir;
using namespace ssm;

/// How many derived symbols deep isNonNegativeByCases looks: it visits two cases
/// for each.
static constexpr unsigned kMaxCaseDepth = 3;

const ShapeFacts::Derivation *ShapeFacts::derivation(AffineExpr symbol) const {
  auto it = derivations.find(cast<AffineSymbolExpr>(symbol).getPosition());
  return it == derivations.end() ? nullptr : &it->second;
}

AffineExpr ShapeFacts::derive(DerivationKind kind, AffineExpr lhs, AffineExpr rhs, bool isSize) {
  AffineExpr &symbol = derived[{static_cast<unsigned>(kind), lhs, rhs}];
  if (!symbol) {
    symbol = fresh(isSize);
    derivations[cast<AffineSymbolExpr>(symbol).getPosition()] = {kind, lhs, rhs};
  }
  return symbol;
}

bool ShapeFacts::isMadeOfSizes(AffineExpr expr) const {
  bool sizes = true;
  expr.walk([&](AffineExpr inner) {
    if (isa<AffineSymbolExpr>(inner))
      sizes &= isNonNegative(inner);
    else if (auto constant = constantValue(inner))
      sizes &= *constant > -(int64_t(1) << 40) && *constant < (int64_t(1) << 40);
  });
  return sizes;
}

bool ShapeFacts::isNonNegativeByCases(AffineExpr expr) const {
  if (caseDepth == kMaxCaseDepth)
    return false;
  ++caseDepth;
  llvm::scope_exit leave([&] { --caseDepth; });
  AffineExpr symbol;
  expr.walk([&](AffineExpr inner) {
    if (!isa<AffineSymbolExpr>(inner))
      return;
    const Derivation *how = derivation(inner);
    if (how && how->kind != DerivationKind::Quotient)
      symbol = inner;
  });
  if (!symbol)
    return false;
  // The symbol has one of two values: the claim must hold for both.
  const Derivation how = *derivation(symbol);
  AffineExpr other = how.kind == DerivationKind::Wrap ? add(how.lhs, how.rhs) : how.rhs;
  if (!other)
    return false;
  return isNonNegative(simplify(expr.replace(symbol, how.lhs))) &&
         isNonNegative(simplify(expr.replace(symbol, other)));
}

AffineExpr ShapeFacts::max(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return {};
  auto ca = constantValue(a), cb = constantValue(b);
  if (ca && cb)
    return *ca < *cb ? b : a;
  AffineExpr difference = sub(a, b), opposite = sub(b, a);
  if (difference && isNonNegative(difference))
    return a;
  if (opposite && isNonNegative(opposite))
    return b;
  if (ca)
    std::swap(a, b), std::swap(difference, opposite);
  if (constantValue(b) == 0) {
    // max(x, 0) = x + max(-x, 0): of the two, only the one met first has a symbol.
    auto it = derived.find({static_cast<unsigned>(DerivationKind::Max), opposite, b});
    if (it != derived.end() && isMadeOfSizes(a))
      if (AffineExpr sum = add(a, it->second))
        return sum;
  } else if (difference && isMadeOfSizes(a) && isMadeOfSizes(b)) {
    if (AffineExpr sum = add(b, max(difference, constant(0))))
      return sum;
  }
  return derive(DerivationKind::Max, a, b, isNonNegative(a) || isNonNegative(b));
}

AffineExpr ShapeFacts::min(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return {};
  auto ca = constantValue(a), cb = constantValue(b);
  if (ca && cb)
    return *ca < *cb ? a : b;
  AffineExpr difference = sub(a, b), opposite = sub(b, a);
  if (difference && isNonNegative(difference))
    return b;
  if (opposite && isNonNegative(opposite))
    return a;
  if (ca)
    std::swap(a, b), std::swap(difference, opposite);
  if (difference && isMadeOfSizes(a) && isMadeOfSizes(b))
    if (AffineExpr rest = sub(a, max(difference, constant(0))))
      return rest;
  return derive(DerivationKind::Min, a, b, isNonNegative(a) && isNonNegative(b));
}

AffineExpr ShapeFacts::quotient(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return {};
  if (AffineExpr affine = div(a, b))
    return affine;
  return derive(DerivationKind::Quotient, a, b, isNonNegative(a) && isNonNegative(b));
}

AffineExpr ShapeFacts::wrapIndex(AffineExpr index, AffineExpr size) {
  if (!index || !size)
    return {};
  if (isNonNegative(index))
    return index;
  if (AffineExpr belowZero = sub(constant(-1), index); belowZero && isNonNegative(belowZero))
    if (AffineExpr sum = add(index, size))
      return sum;
  return derive(DerivationKind::Wrap, index, size, /*isSize=*/false);
}

AffineExpr ShapeFacts::broadcastSize(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return {};
  auto ca = constantValue(a), cb = constantValue(b);
  if (ca)
    return *ca == 1 ? b : a;
  if (cb)
    return *cb == 1 ? a : b;
  if (a == b)
    return a;
  // The two operands play the same part.
  auto it = derived.find({static_cast<unsigned>(DerivationKind::Broadcast), b, a});
  if (it != derived.end())
    return it->second;
  return derive(DerivationKind::Broadcast, a, b, isNonNegative(a) && isNonNegative(b));
}

//===- ShapeFacts.h - Sizes and shape values of a graph ---------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is known about the sizes of every value of a graph, symbolically: a
// dimension is an affine expression of symbols, one symbol for each size that
// only the run can tell. The elements of small integer tensors (shapes, axes,
// lengths) are tracked the same way, so that Shape, Gather, Mul, Concat, Reshape
// come out as arithmetic on sizes. Equal expressions are equal sizes.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_ANALYSIS_SHAPEFACTS_H
#define SSM_LIB_ANALYSIS_SHAPEFACTS_H

#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include <optional>
#include <tuple>

namespace ssm {

using Dims = llvm::SmallVector<mlir::AffineExpr, 4>;

/// Integer tensors with at most this many elements have their elements tracked.
inline constexpr int64_t kMaxTrackedElements = 128;

class ShapeFacts {
public:
  explicit ShapeFacts(mlir::MLIRContext *context) : context(context) {}

  mlir::MLIRContext *getContext() const { return context; }
  mlir::AffineExpr constant(int64_t value) const;

  /// A symbol for a size (or integer) that nothing is known about, except that
  /// it is not negative if `isSize`.
  mlir::AffineExpr fresh(bool isSize = true);
  /// The symbol of that name: the same one for the same name. Always a size.
  mlir::AffineExpr named(llvm::StringRef name);
  /// The name of a symbol that was made by name; empty for anything else.
  llvm::StringRef nameOf(mlir::AffineExpr expr) const;
  bool hasName(llvm::StringRef name) const { return names.contains(name); }
  unsigned getNumSymbols() const { return nonNegative.size(); }

  /// One expression for each dimension. The value must be a ranked tensor; a
  /// value without facts gets its static sizes and fresh symbols.
  llvm::ArrayRef<mlir::AffineExpr> dims(mlir::Value value);
  void setDims(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> dims);

  /// The elements of a small integer tensor in row-major order, if tracked.
  std::optional<llvm::ArrayRef<mlir::AffineExpr>> elements(mlir::Value value) const;
  void setElements(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> elements);

  /// Drops what is known of a value, to visit it anew.
  void forget(mlir::Value value);

  /// Whether the expression can be shown to be >= 0.
  bool isNonNegative(mlir::AffineExpr expr) const;

  /// Arithmetic that simplifies; division truncates and remainder takes the sign
  /// of the divisor, as ONNX has them, or is null where the affine form differs
  /// (a divisor that is not a positive constant, a dividend that may be negative).
  mlir::AffineExpr add(mlir::AffineExpr a, mlir::AffineExpr b) const;
  mlir::AffineExpr sub(mlir::AffineExpr a, mlir::AffineExpr b) const;
  mlir::AffineExpr mul(mlir::AffineExpr a, mlir::AffineExpr b) const;
  mlir::AffineExpr div(mlir::AffineExpr a, mlir::AffineExpr b) const;
  mlir::AffineExpr mod(mlir::AffineExpr a, mlir::AffineExpr b) const;
  /// The product; 1 for none.
  mlir::AffineExpr product(llvm::ArrayRef<mlir::AffineExpr> factors) const;

  /// A symbol for what no affine expression can say, with the operands it is made
  /// of. Equal operands give the same symbol, so clamped and divided sizes stay
  /// provably equal; lowering computes it where it is needed.
  enum class DerivationKind {
    Max,
    Min,
    Quotient,  ///< lhs / rhs rounded down, both >= 0; 0 where rhs is 0
    Wrap,      ///< lhs, or lhs + rhs where lhs is negative (an index of size rhs)
    Broadcast, ///< rhs where lhs is 1, else lhs
  };
  struct Derivation {
    DerivationKind kind;
    mlir::AffineExpr lhs, rhs;
  };
  /// How a symbol is derived, or null for an independent one.
  const Derivation *derivation(mlir::AffineExpr symbol) const;

  /// Arithmetic that is never null for operands that are not, and affine where that
  /// is possible (DerivedSizes.cpp).
  mlir::AffineExpr max(mlir::AffineExpr a, mlir::AffineExpr b);
  mlir::AffineExpr min(mlir::AffineExpr a, mlir::AffineExpr b);
  mlir::AffineExpr quotient(mlir::AffineExpr a, mlir::AffineExpr b);
  mlir::AffineExpr wrapIndex(mlir::AffineExpr index, mlir::AffineExpr size);
  mlir::AffineExpr broadcastSize(mlir::AffineExpr a, mlir::AffineExpr b);

private:
  mlir::AffineExpr simplify(mlir::AffineExpr expr) const;
  mlir::AffineExpr derive(DerivationKind kind, mlir::AffineExpr lhs, mlir::AffineExpr rhs,
                          bool isSize);
  /// Whether all symbols of the expression are sizes, so that its value cannot be
  /// near the ends of 64 bits.
  bool isMadeOfSizes(mlir::AffineExpr expr) const;
  /// isNonNegative by the values that a derived symbol may have.
  bool isNonNegativeByCases(mlir::AffineExpr expr) const;

  struct Facts {
    Dims dims;
    std::optional<Dims> elements;
  };
  mlir::MLIRContext *context;
  llvm::DenseMap<mlir::Value, Facts> facts;
  llvm::StringMap<unsigned> names;
  llvm::SmallVector<bool> nonNegative;              // by symbol
  llvm::DenseMap<unsigned, Derivation> derivations; // by symbol
  llvm::DenseMap<std::tuple<unsigned, mlir::AffineExpr, mlir::AffineExpr>, mlir::AffineExpr>
      derived;                    // the symbol, by kind and operands
  mutable unsigned caseDepth = 0; // of isNonNegativeByCases
};

/// The value of a constant expression.
std::optional<int64_t> constantValue(mlir::AffineExpr expr);
/// The values if all are constant.
std::optional<llvm::SmallVector<int64_t>> constantValues(llvm::ArrayRef<mlir::AffineExpr> exprs);
/// The static shape that the expressions allow: kDynamic where not constant.
llvm::SmallVector<int64_t> staticShape(llvm::ArrayRef<mlir::AffineExpr> dims);

} // namespace ssm

#endif // SSM_LIB_ANALYSIS_SHAPEFACTS_H

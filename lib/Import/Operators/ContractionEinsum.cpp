//===- ContractionEinsum.cpp - Einsum -------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Any equation. Operands are contracted pairwise from left to right; an index that
// one operand alone has is summed there first, a repeated index takes the diagonal.
// A letter broadcasts where a size is known to be 1; sizes that only the run can tell
// must be equal, because exporters often lose that they are, and expanding every such
// operand would copy it. Axes of an ellipsis broadcast in any case.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Contraction.h"
#include "lib/Import/Operators/Elementwise.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

/// Labels are letters; an ellipsis axis is this plus its distance from the last one.
static constexpr int kEllipsis = 256;

namespace {
struct Equation {
  SmallVector<Labels> operands;
  Labels result;
};

/// One side's term: letters, and where among them an ellipsis stands.
struct Term {
  SmallVector<char> letters;
  std::optional<size_t> ellipsis;
};
} // namespace

static FailureOr<Term> parseTerm(StringRef text, std::string &message) {
  Term term;
  while (!text.empty()) {
    if (text.consume_front("...")) {
      if (term.ellipsis) {
        message = "has two ellipses in one term";
        return failure();
      }
      term.ellipsis = term.letters.size();
      continue;
    }
    if (!llvm::isAlpha(text.front())) {
      message = ("has '" + text.take_front(1) + "', expected letters, '...', ',' and '->'").str();
      return failure();
    }
    term.letters.push_back(text.front());
    text = text.drop_front();
  }
  return term;
}

/// The labels of a term whose ellipsis stands for that many axes.
static Labels labelsOf(const Term &term, int64_t ellipsisAxes) {
  Labels labels(term.letters.begin(), term.letters.end());
  if (term.ellipsis)
    for (int64_t axis = 0; axis < ellipsisAxes; ++axis)
      labels.insert(labels.begin() + *term.ellipsis + axis,
                    kEllipsis + static_cast<int>(ellipsisAxes - 1 - axis));
  return labels;
}

/// Reads an equation for operands of those ranks; on failure says why.
static FailureOr<Equation> parseEquation(StringRef text, ArrayRef<int64_t> ranks,
                                         std::string &message) {
  std::string packed;
  llvm::copy_if(text, std::back_inserter(packed), [](char c) { return c != ' '; });
  auto [left, right] = StringRef(packed).split("->");
  bool isExplicit = left.size() != packed.size();
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != ranks.size()) {
    message = "has " + std::to_string(terms.size()) + " terms for " + std::to_string(ranks.size()) +
              " inputs";
    return failure();
  }
  Equation equation;
  int64_t ellipsisAxes = 0;
  for (auto [i, text] : llvm::enumerate(terms)) {
    FailureOr<Term> term = parseTerm(text, message);
    if (failed(term))
      return failure();
    int64_t rest = ranks[i] - static_cast<int64_t>(term->letters.size());
    if (rest < 0 || (rest > 0 && !term->ellipsis)) {
      message = "names " + std::to_string(term->letters.size()) + " axes of input " +
                std::to_string(i) + ", which has rank " + std::to_string(ranks[i]);
      return failure();
    }
    equation.operands.push_back(labelsOf(*term, rest));
    if (term->ellipsis)
      ellipsisAxes = std::max(ellipsisAxes, rest);
  }
  auto count = [&](int label) {
    int64_t times = 0;
    for (const Labels &labels : equation.operands)
      times += llvm::count(labels, label);
    return times;
  };
  if (!isExplicit) {
    Term all;
    all.ellipsis = 0;
    for (char letter = 'A'; letter <= 'z'; ++letter)
      if (count(letter) == 1)
        all.letters.push_back(letter);
    equation.result = labelsOf(all, ellipsisAxes);
    return equation;
  }
  FailureOr<Term> term = parseTerm(right, message);
  if (failed(term))
    return failure();
  equation.result = labelsOf(*term, ellipsisAxes);
  for (int label : equation.result)
    if (count(label) == 0 || llvm::count(equation.result, label) > 1) {
      message = std::string("has result index '") + static_cast<char>(label) +
                "', expected each result index once and in an input";
      return failure();
    }
  return equation;
}

/// The size of every label; a size that only the run can tell is made by `fresh`. On
/// contradiction names the two sizes.
static FailureOr<LabelSizes> sizesOf(const Equation &equation, ArrayRef<Dims> dims,
                                     llvm::function_ref<AffineExpr()> fresh, std::string &message) {
  LabelSizes sizes;
  for (auto [labels, operandDims] : llvm::zip_equal(equation.operands, dims))
    for (auto [label, dim] : llvm::zip_equal(labels, operandDims)) {
      auto [it, inserted] = sizes.try_emplace(label, dim);
      AffineExpr &size = it->second;
      auto known = constantValue(size), own = constantValue(dim);
      if (inserted || size == dim || own == 1)
        continue;
      if (known == 1 || (own && !known)) {
        size = dim;
      } else if (known && own) {
        message =
            "gives one index the sizes " + std::to_string(*known) + " and " + std::to_string(*own);
        return failure();
      } else if (!known && label >= kEllipsis) {
        size = fresh();
      }
    }
  return sizes;
}

static SmallVector<int64_t> ranksOf(NodeReader &node) {
  SmallVector<int64_t> ranks;
  for (unsigned i = 0; i < node.numInputs(); ++i)
    ranks.push_back(node.rank(i));
  return ranks;
}

static LogicalResult inferEinsum(InferContext &ctx) {
  SmallVector<Dims> dims;
  for (unsigned i = 0; i < ctx.numInputs(); ++i) {
    if (!ctx.hasInput(i))
      return ctx.error("input " + Twine(i) + " is left out but required");
    if (failed(requireNumber(ctx, i)) || failed(ctx.requireSameElementType(0, i)))
      return failure();
    dims.emplace_back(ctx.dims(i));
  }
  StringRef text = ctx.getString("equation", "");
  std::string message;
  auto fail = [&] { return ctx.error("equation '" + text + "' " + message); };
  FailureOr<Equation> equation = parseEquation(text, ranksOf(ctx), message);
  if (failed(equation))
    return fail();
  for (auto [labels, operandDims] : llvm::zip_equal(equation->operands, dims))
    for (size_t i = 0; i < labels.size(); ++i)
      for (size_t j = i + 1; j < labels.size(); ++j)
        if (labels[i] == labels[j] &&
            failed(ctx.requireEqual(operandDims[i], operandDims[j],
                                    "sizes of a diagonal of equation '" + text + "'")))
          return failure();
  FailureOr<LabelSizes> sizes =
      sizesOf(*equation, dims, [&] { return ctx.facts.fresh(); }, message);
  if (failed(sizes))
    return fail();
  Dims result;
  for (int label : equation->result)
    result.push_back(sizes->lookup(label));
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

/// Makes labels that occur more than once occur once.
static void takeDiagonal(LoweringContext &ctx, LabelledTensor &operand) {
  Labels unique;
  Dims dims;
  for (auto [label, dim] : llvm::zip_equal(operand.labels, operand.tensor.dims)) {
    auto it = llvm::find(unique, label);
    if (it == unique.end()) {
      unique.push_back(label);
      dims.push_back(dim);
      continue;
    }
    AffineExpr &size = dims[it - unique.begin()];
    ctx.checkEqual(size, dim, "sizes of a diagonal");
    if (constantValue(dim))
      size = dim;
  }
  if (unique.size() == operand.labels.size())
    return;
  TensorValue source = operand.tensor;
  operand.tensor =
      ctx.generate(dims, source.type, [&](ImplicitLocOpBuilder &b, ValueRange indices) {
        SmallVector<Value> own;
        for (int label : operand.labels)
          own.push_back(indices[llvm::find(unique, label) - unique.begin()]);
        return LoweringContext::load(b, tensor::ExtractOp::create(b, source.value, own),
                                     source.type);
      });
  operand.labels = unique;
}

/// Drops the axes of size 1 that only broadcast.
static void dropBroadcastAxes(LoweringContext &ctx, LabelledTensor &operand) {
  Labels kept;
  Dims dims;
  for (auto [label, dim] : llvm::zip_equal(operand.labels, operand.tensor.dims))
    if (label != kBroadcastAxis) {
      kept.push_back(label);
      dims.push_back(dim);
    }
  operand.tensor = ctx.reshape(operand.tensor, dims);
  operand.labels = kept;
}

/// Sums over the labels that nothing else needs.
static void sumPrivateLabels(LoweringContext &ctx, LabelledTensor &operand,
                             llvm::function_ref<bool(int)> isNeeded) {
  SmallVector<int64_t> axes;
  Labels kept;
  for (auto [axis, label] : llvm::enumerate(operand.labels)) {
    if (isNeeded(label))
      kept.push_back(label);
    else
      axes.push_back(axis);
  }
  if (axes.empty())
    return;
  Type type = accumulatorType(operand.tensor.type);
  operand.tensor = ctx.reduce(operand.tensor, axes, type, zeroConstant(ctx.b, computeType(type)),
                              [](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                                if (isa<FloatType>(acc.getType()))
                                  return arith::AddFOp::create(b, acc, element);
                                return arith::AddIOp::create(b, acc, element);
                              });
  operand.labels = kept;
}

static LogicalResult lowerEinsum(LoweringContext &ctx) {
  std::string message;
  FailureOr<Equation> equation =
      parseEquation(ctx.getString("equation", ""), ranksOf(ctx), message);
  if (failed(equation))
    return ctx.error(message);
  const Labels &result = equation->result;
  SmallVector<Dims> dims;
  SmallVector<LabelledTensor> operands;
  for (unsigned i = 0; i < ctx.numInputs(); ++i) {
    operands.push_back({ctx.get(i), equation->operands[i]});
    dims.push_back(operands.back().tensor.dims);
  }
  FailureOr<LabelSizes> sizes =
      sizesOf(*equation, dims, [&] { return ctx.facts.fresh(); }, message);
  if (failed(sizes))
    return ctx.error(message);
  // The result's open sizes are the symbols that inference made.
  for (auto [label, size] : llvm::zip_equal(result, Dims(ctx.resultDims(0))))
    (*sizes)[label] = size;
  auto isEllipsis = [](int label) { return label >= kEllipsis; };
  for (auto [label, size] : *sizes) {
    SmallVector<AffineExpr> own;
    for (const LabelledTensor &operand : operands)
      for (auto [other, dim] : llvm::zip_equal(operand.labels, operand.tensor.dims))
        if (other == label)
          own.push_back(dim);
    if (isEllipsis(label))
      bindBroadcastSize(ctx, size, own);
  }

  auto isUsedFrom = [&](int label, size_t first) {
    return llvm::is_contained(result, label) ||
           llvm::any_of(ArrayRef(operands).drop_front(first), [&](const LabelledTensor &other) {
             return llvm::is_contained(other.labels, label);
           });
  };
  for (LabelledTensor &operand : operands) {
    takeDiagonal(ctx, operand);
    fitToLabels(ctx, operand, *sizes, isEllipsis);
    dropBroadcastAxes(ctx, operand);
  }
  for (LabelledTensor &operand : operands)
    sumPrivateLabels(ctx, operand, [&](int label) {
      return llvm::is_contained(result, label) ||
             llvm::count_if(operands, [&](const LabelledTensor &other) {
               return llvm::is_contained(other.labels, label);
             }) > 1;
    });

  Type type = ctx.resultElementType(0);
  LabelledTensor product = operands[0];
  for (size_t i = 1; i < operands.size(); ++i) {
    bool isLast = i + 1 == operands.size();
    Labels kept = result;
    if (!isLast) {
      kept.clear();
      for (const LabelledTensor *side : {&product, &operands[i]})
        for (int label : side->labels)
          if (isUsedFrom(label, i + 1) && !llvm::is_contained(kept, label))
            kept.push_back(label);
    }
    product = contractLabels(ctx, product, operands[i], kept, *sizes,
                             isLast ? type : accumulatorType(type));
  }
  SmallVector<int64_t> order;
  for (int label : result)
    order.push_back(llvm::find(product.labels, label) - product.labels.begin());
  ctx.set(0, ctx.cast(ctx.transpose(product.tensor, order), type).value);
  return success();
}

void ssm::onnx::registerEinsumOperators(OperatorTable &table) {
  static constexpr AttrSpec equation[] = {{"equation", 's', true}};
  table.add({"", "Einsum", 12, 1, kAnyNumber, 1, 1, equation, inferEinsum, lowerEinsum});
}

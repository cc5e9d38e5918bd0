//===- Scan.cpp - ONNX Scan -----------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Scan becomes ssm.scan. Version 8 has a leading batch axis, on which the scan is
// a loop, and lengths of its own for each batch element.
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SSMOps.h"
#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/ControlFlow.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

namespace {
/// How the operands and results of a Scan node are laid out.
struct ScanForm {
  unsigned firstState = 0; // operand
  unsigned numStates = 0, numInputs = 0, numOutputs = 0;
  SmallVector<int64_t> inputAxes, outputAxes;
  SmallVector<bool> inputReversed, outputReversed;

  unsigned firstInput() const { return firstState + numStates; }
};
} // namespace

//===----------------------------------------------------------------------===//
// Inference
//===----------------------------------------------------------------------===//

/// Reads directions: 0 or 1 for each of `count`.
static LogicalResult readDirections(InferContext &ctx, StringRef name, unsigned count,
                                    SmallVectorImpl<bool> &reversed) {
  reversed.assign(count, false);
  auto values = ctx.getInts(name);
  if (!values)
    return success();
  if (values->size() != count)
    return ctx.error("attribute '" + name + "' has " + Twine(values->size()) +
                     " values, expected " + Twine(count));
  for (auto [i, value] : llvm::enumerate(*values)) {
    if (value != 0 && value != 1)
      return ctx.error("attribute '" + name + "' has the value " + Twine(value) +
                       ", expected 0 or 1");
    reversed[i] = value == 1;
  }
  return success();
}

/// Reads axes, not yet brought into range.
static LogicalResult readAxes(InferContext &ctx, StringRef name, unsigned count,
                              SmallVectorImpl<int64_t> &axes) {
  axes.assign(count, 0);
  auto values = ctx.getInts(name);
  if (!values)
    return success();
  if (values->size() != count)
    return ctx.error("attribute '" + name + "' has " + Twine(values->size()) +
                     " values, expected " + Twine(count));
  axes.assign(values->begin(), values->end());
  return success();
}

static LogicalResult readCounts(InferContext &ctx, unsigned firstState, ScanForm &form) {
  int64_t numInputs = ctx.getInt("num_scan_inputs", 0);
  int64_t available = static_cast<int64_t>(ctx.numInputs()) - firstState;
  if (numInputs < 1 || numInputs > available)
    return ctx.error("attribute 'num_scan_inputs' is " + Twine(numInputs) + ", expected 1 to " +
                     Twine(available) + ", the number of inputs");
  form.firstState = firstState;
  form.numInputs = numInputs;
  form.numStates = available - numInputs;
  if (ctx.numOutputs() < form.numStates)
    return ctx.error("has " + Twine(ctx.numOutputs()) + " outputs, expected at least the " +
                     Twine(form.numStates) + " final states");
  form.numOutputs = ctx.numOutputs() - form.numStates;
  for (unsigned i = firstState; i < ctx.numInputs(); ++i)
    if (!ctx.hasInput(i))
      return ctx.error("input " + Twine(i) + " is left out");
  return success();
}

/// Infers the body. `states` are the sizes of the first states and become what is
/// known of the carried ones; `slices` the sizes of the input slices; `outputs`
/// become the sizes of the output slices, null where only the body knows.
static LogicalResult inferBody(InferContext &ctx, const ScanForm &form,
                               MutableArrayRef<Dims> states, ArrayRef<Dims> slices,
                               SmallVectorImpl<Dims> &outputs) {
  ShapeFacts &facts = ctx.facts;
  Region &body = *ctx.getNode().getONNXRegion("body");
  Block &block = body.front();
  if (block.getNumArguments() != form.numStates + form.numInputs)
    return ctx.error("graph 'body' has " + Twine(block.getNumArguments()) + " inputs, expected " +
                     Twine(form.numStates + form.numInputs) + ": the states, then the slices");
  SymbolMark mark(facts);
  // A body may know a size that the first state leaves open.
  for (bool changed = true; changed;) {
    changed = false;
    for (unsigned i = 0; i < form.numStates; ++i)
      ctx.setArgument(block.getArgument(i), ctx.elementType(form.firstState + i), states[i]);
    for (unsigned i = 0; i < form.numInputs; ++i)
      ctx.setArgument(block.getArgument(form.numStates + i), ctx.elementType(form.firstInput() + i),
                      slices[i]);
    if (failed(ctx.inferRegion(body)) || failed(checkYields(ctx, body, "body", ctx.numOutputs())))
      return failure();
    for (auto [i, state] : llvm::enumerate(states)) {
      Value next = yieldedValues(body)[i];
      auto type = cast<RankedTensorType>(next.getType());
      if (type.getElementType() != ctx.elementType(form.firstState + i))
        return ctx.error("state " + Twine(i) +
                         " has another element type after a step than before");
      if (type.getRank() != static_cast<int64_t>(state.size()))
        return ctx.error("state " + Twine(i) + " has rank " + Twine(state.size()) +
                         " before a step and " + Twine(type.getRank()) +
                         " after, expected the same rank");
      for (auto [axis, now, then] : llvm::enumerate(state, facts.dims(next))) {
        if (failed(ctx.requireEqual(now, then,
                                    "size of axis " + Twine(axis) + " of state " + Twine(i) +
                                        " before and after a step")))
          return failure();
        if (!constantValue(now) && constantValue(then)) {
          now = then;
          changed = true;
        }
      }
    }
  }
  // A size made inside the body that a state has to have is the state's.
  llvm::DenseMap<AffineExpr, AffineExpr> known;
  for (auto [i, state] : llvm::enumerate(states))
    for (auto [now, then] : llvm::zip_equal(state, facts.dims(yieldedValues(body)[i])))
      if (isa<AffineSymbolExpr>(then) && mark.isLocal(then))
        known.try_emplace(then, now);
  for (unsigned i = 0; i < form.numOutputs; ++i) {
    Dims dims;
    for (AffineExpr dim : facts.dims(yieldedValues(body)[form.numStates + i])) {
      AffineExpr same = known.lookup(dim);
      dims.push_back(same ? same : mark.outside(dim));
    }
    outputs.push_back(dims);
  }
  return success();
}

static Type yieldedElementType(InferContext &ctx, unsigned i) {
  Value value = yieldedValues(*ctx.getNode().getONNXRegion("body"))[i];
  return cast<RankedTensorType>(value.getType()).getElementType();
}

/// The common size of an axis of several tensors: a constant if one has it.
static FailureOr<AffineExpr> commonSize(InferContext &ctx, ArrayRef<AffineExpr> sizes,
                                        StringRef what) {
  AffineExpr common = sizes.front();
  for (AffineExpr size : sizes) {
    if (failed(ctx.requireEqual(common, size, what)))
      return failure();
    if (constantValue(size))
      common = size;
  }
  return common;
}

/// The form of a Scan of version 9 and later. The axes of outputs are those of
/// the results.
static LogicalResult readForm(InferContext &ctx, ScanForm &form) {
  if (failed(readCounts(ctx, 0, form)) ||
      failed(readAxes(ctx, "scan_input_axes", form.numInputs, form.inputAxes)) ||
      failed(readAxes(ctx, "scan_output_axes", form.numOutputs, form.outputAxes)) ||
      failed(readDirections(ctx, "scan_input_directions", form.numInputs, form.inputReversed)) ||
      failed(readDirections(ctx, "scan_output_directions", form.numOutputs, form.outputReversed)))
    return failure();
  return success();
}

static LogicalResult inferScan(InferContext &ctx) {
  ScanForm form;
  if (failed(readForm(ctx, form)))
    return failure();
  SmallVector<Dims> states, slices, outputs;
  for (unsigned i = 0; i < form.numStates; ++i)
    states.push_back(Dims(ctx.dims(i)));
  Dims lengths;
  for (unsigned i = 0; i < form.numInputs; ++i) {
    Dims dims(ctx.dims(form.firstInput() + i));
    FailureOr<int64_t> axis = ctx.normalizeAxis(form.inputAxes[i], dims.size());
    if (failed(axis))
      return failure();
    lengths.push_back(dims[*axis]);
    dims.erase(dims.begin() + *axis);
    slices.push_back(dims);
  }
  FailureOr<AffineExpr> length =
      commonSize(ctx, lengths, "lengths of the scan inputs along their axes");
  if (failed(length) || failed(inferBody(ctx, form, states, slices, outputs)))
    return failure();
  for (auto [i, state] : llvm::enumerate(states))
    ctx.setResult(i, ctx.elementType(i), state);
  for (auto [i, dims] : llvm::enumerate(outputs)) {
    FailureOr<int64_t> axis = ctx.normalizeAxis(form.outputAxes[i], dims.size() + 1);
    if (failed(axis))
      return failure();
    dims.insert(dims.begin() + *axis, *length);
    ctx.setResult(form.numStates + i, yieldedElementType(ctx, form.numStates + i), dims);
  }
  return success();
}

static LogicalResult readForm8(InferContext &ctx, ScanForm &form) {
  if (failed(readCounts(ctx, 1, form)) ||
      failed(readDirections(ctx, "directions", form.numInputs, form.inputReversed)))
    return failure();
  form.inputAxes.assign(form.numInputs, 0);
  form.outputAxes.assign(form.numOutputs, 0);
  form.outputReversed.assign(form.numOutputs, false);
  return success();
}

static LogicalResult inferScan8(InferContext &ctx) {
  ScanForm form;
  if (failed(readForm8(ctx, form)))
    return failure();
  Dims batches, lengths;
  SmallVector<Dims> states, slices, outputs;
  for (unsigned i = 0; i < form.numStates; ++i) {
    if (failed(ctx.requireRank(1 + i, 1, std::numeric_limits<int64_t>::max())))
      return failure();
    batches.push_back(ctx.dim(1 + i, 0));
    states.push_back(Dims(ctx.dims(1 + i).drop_front()));
  }
  for (unsigned i = 0; i < form.numInputs; ++i) {
    unsigned input = form.firstInput() + i;
    if (failed(ctx.requireRank(input, 2, std::numeric_limits<int64_t>::max())))
      return failure();
    batches.push_back(ctx.dim(input, 0));
    lengths.push_back(ctx.dim(input, 1));
    slices.push_back(Dims(ctx.dims(input).drop_front(2)));
  }
  if (ctx.hasInput(0)) {
    if (failed(ctx.requireInteger(0)) || failed(ctx.requireRank(0, 1, 1)))
      return failure();
    batches.push_back(ctx.dim(0, 0));
  }
  FailureOr<AffineExpr> batch = commonSize(ctx, batches, "batch sizes of the inputs");
  if (failed(batch))
    return failure();
  FailureOr<AffineExpr> length = commonSize(ctx, lengths, "lengths of the scan inputs");
  if (failed(length) || failed(inferBody(ctx, form, states, slices, outputs)))
    return failure();
  for (auto [i, dims] : llvm::enumerate(states)) {
    dims.insert(dims.begin(), *batch);
    ctx.setResult(i, ctx.elementType(1 + i), dims);
  }
  for (auto [i, dims] : llvm::enumerate(outputs)) {
    dims.insert(dims.begin(), {*batch, *length});
    ctx.setResult(form.numStates + i, yieldedElementType(ctx, form.numStates + i), dims);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Lowering
//===----------------------------------------------------------------------===//

namespace {
/// Builds one ssm.scan of a node's body.
class ScanLowering {
public:
  ScanLowering(LoweringContext &ctx, ScanForm form)
      : ctx(ctx), b(ctx.b), form(std::move(form)), body(*ctx.getNode().getONNXRegion("body")) {}

  /// The states as their carried types, with sizes checked.
  Value carry(unsigned i, Value state, ArrayRef<AffineExpr> dims);
  /// The sizes of each output's slice. `state` and `slice` give what the first
  /// step gets, in case that the body has to be asked; `runs` tells whether there
  /// is one.
  FailureOr<SmallVector<SmallVector<OpFoldResult>>>
  outputSizes(llvm::function_ref<SmallVector<Value>()> firstArguments, Value runs);
  FailureOr<ScanOp> build(Value length, ValueRange carries, ValueRange inputs, ValueRange outs,
                          ArrayRef<SmallVector<OpFoldResult>> outputSizes);

private:
  FailureOr<SmallVector<TensorValue>> buildStep(ValueRange args);

  LoweringContext &ctx;
  ImplicitLocOpBuilder &b;
  ScanForm form;
  Region &body;
  SmallVector<bool> probed;
};
} // namespace

Value ScanLowering::carry(unsigned i, Value state, ArrayRef<AffineExpr> dims) {
  Value arg = body.front().getArgument(i);
  Dims carried(ctx.facts.dims(arg));
  Dims next(ctx.facts.dims(yieldedValues(body)[i]));
  for (auto [axis, first, now, then] : llvm::enumerate(dims, carried, next)) {
    std::string what = ("size of axis " + Twine(axis) + " of state " + Twine(i)).str();
    ctx.checkEqual(first, now, what);
    // Sizes that only the body knows are checked by each step.
    if (then != now && ctx.isBound(then))
      ctx.checkEqual(now, then, what + " before and after a step");
  }
  Type type = ctx.elementType(form.firstState + i);
  return castTo(b, b.getLoc(), state, storedType(carried, type));
}

FailureOr<SmallVector<TensorValue>> ScanLowering::buildStep(ValueRange args) {
  SmallVector<TensorValue> values;
  for (auto [i, arg] : llvm::enumerate(args))
    values.push_back(ctx.make(arg, ctx.elementType(form.firstState + i),
                              ctx.facts.dims(body.front().getArgument(i))));
  return ctx.inlineRegion(b, body, values);
}

FailureOr<SmallVector<SmallVector<OpFoldResult>>>
ScanLowering::outputSizes(llvm::function_ref<SmallVector<Value>()> firstArguments, Value runs) {
  // Result sizes come from inference, which leaves a symbol unbound where only
  // the body knows.
  bool anyProbed = false;
  SmallVector<SmallVector<OpFoldResult>> sizes(form.numOutputs);
  SmallVector<Dims> slices;
  for (unsigned i = 0; i < form.numOutputs; ++i) {
    unsigned result = form.numStates + i;
    Dims inner(ctx.facts.dims(yieldedValues(body)[result])), dims(inner);
    if (ctx.hasOutput(result)) {
      dims = Dims(ctx.resultDims(result));
      // Without the batch axis of version 8, without time.
      dims.erase(dims.begin() + form.outputAxes[i] + form.firstState);
      if (form.firstState)
        dims.erase(dims.begin());
    }
    probed.push_back(!llvm::all_of(dims, [&](AffineExpr dim) { return ctx.isBound(dim); }));
    anyProbed |= probed.back();
    if (!probed.back())
      sizes[i] = ctx.sizes(dims);
    slices.push_back(dims);
  }
  if (!anyProbed)
    return sizes;
  FailureOr<SmallVector<SmallVector<Value>>> found =
      probeSizes(ctx, runs, [&]() -> FailureOr<SmallVector<Value>> {
        FailureOr<SmallVector<TensorValue>> values = buildStep(firstArguments());
        if (failed(values))
          return failure();
        return llvm::map_to_vector(ArrayRef(*values).drop_front(form.numStates),
                                   [](const TensorValue &value) { return value.value; });
      });
  if (failed(found))
    return failure();
  for (unsigned i = 0; i < form.numOutputs; ++i)
    if (probed[i])
      for (auto [dim, size] : llvm::zip_equal(slices[i], (*found)[i]))
        sizes[i].push_back(constantValue(dim) ? ctx.foldedSize(dim) : OpFoldResult(size));
  return sizes;
}

FailureOr<ScanOp> ScanLowering::build(Value length, ValueRange carries, ValueRange inputs,
                                      ValueRange outs,
                                      ArrayRef<SmallVector<OpFoldResult>> outputSizes) {
  SmallVector<Type> types(carries.getTypes());
  llvm::append_range(types, outs.getTypes());
  auto scan = ScanOp::create(b, types, length, carries, inputs, outs, form.inputAxes,
                             form.outputAxes, form.inputReversed, form.outputReversed);
  SmallVector<Type> argTypes(carries.getTypes());
  for (auto [input, axis] : llvm::zip_equal(inputs, form.inputAxes)) {
    auto type = cast<RankedTensorType>(input.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape.erase(shape.begin() + axis);
    argTypes.push_back(RankedTensorType::get(shape, type.getElementType()));
  }
  SmallVector<Location> locs(argTypes.size(), b.getLoc());
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&scan.getBody(), {}, argTypes, locs);
  FailureOr<SmallVector<TensorValue>> values = buildStep(block->getArguments());
  if (failed(values))
    return failure();
  SmallVector<Value> yields;
  for (auto [i, value] : llvm::enumerate(*values)) {
    RankedTensorType type;
    if (i < form.numStates) {
      type = cast<RankedTensorType>(carries[i].getType());
      Dims now(ctx.facts.dims(body.front().getArgument(i)));
      for (auto [axis, have, want] : llvm::enumerate(value.dims, now)) {
        if (have == want || ctx.isBound(have))
          continue;
        // Bound again only inside the step: the tensor knows it.
        Value size = b.createOrFold<tensor::DimOp>(value.value, axis);
        Value expected = ctx.size(want);
        ctx.check(b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, size, expected),
                  "size of axis " + Twine(axis) + " of state " + Twine(i) +
                      " after a step: {0}, expected {1} as before",
                  {size, expected});
      }
    } else {
      unsigned output = i - form.numStates;
      if (probed[output])
        checkSizes(ctx, value.value, outputSizes[output], "scan output " + Twine(output));
      auto outType = cast<RankedTensorType>(outs[output].getType());
      SmallVector<int64_t> shape(outType.getShape());
      shape.erase(shape.begin() + form.outputAxes[output]);
      type = RankedTensorType::get(shape, outType.getElementType());
    }
    yields.push_back(castTo(b, b.getLoc(), value.value, type));
  }
  ssm::YieldOp::create(b, yields);
  return scan;
}

/// Inference took the form already; its errors cannot come again.
template <typename Read> static ScanForm formOf(LoweringContext &ctx, Read read) {
  InferContext reader(ctx.getNode(), ctx.facts);
  ScanForm form;
  (void)read(reader, form);
  return form;
}

/// The slice t = `at` of a tensor along an axis.
static Value sliceAt(ImplicitLocOpBuilder &b, Value tensor, int64_t axis, OpFoldResult at) {
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), tensor),
                            offsets(type.getRank(), b.getIndexAttr(0)),
                            strides(type.getRank(), b.getIndexAttr(1));
  sizes[axis] = b.getIndexAttr(1);
  offsets[axis] = at;
  SmallVector<int64_t> shape(type.getShape());
  shape.erase(shape.begin() + axis);
  return tensor::ExtractSliceOp::create(b, RankedTensorType::get(shape, type.getElementType()),
                                        tensor, offsets, sizes, strides);
}

/// An output's place: `sizes` with the length along `axis`.
static Value makeOut(ImplicitLocOpBuilder &b, ArrayRef<OpFoldResult> sizes, int64_t axis,
                     OpFoldResult length, Type type) {
  SmallVector<OpFoldResult> all(sizes);
  all.insert(all.begin() + axis, length);
  return tensor::EmptyOp::create(b, all, storageType(type));
}

static Value isPositive(ImplicitLocOpBuilder &b, Value value) {
  return b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::sgt, value,
                                       arith::ConstantIndexOp::create(b, 0));
}

static Type elementTypeOf(Region &body, unsigned i) {
  return cast<RankedTensorType>(yieldedValues(body)[i].getType()).getElementType();
}

static LogicalResult lowerScan(LoweringContext &ctx) {
  ImplicitLocOpBuilder &b = ctx.b;
  ScanForm form = formOf(ctx, readForm);
  Region &body = *ctx.getNode().getONNXRegion("body");
  SmallVector<Value> inputs;
  AffineExpr length;
  for (unsigned i = 0; i < form.numInputs; ++i) {
    TensorValue input = ctx.get(form.firstInput() + i);
    int64_t &axis = form.inputAxes[i];
    if (axis < 0)
      axis += input.dims.size();
    inputs.push_back(input.value);
    AffineExpr own = input.dims[axis];
    if (!length || (!constantValue(length) && constantValue(own)))
      length = own;
  }
  for (unsigned i = 0; i < form.numInputs; ++i)
    ctx.checkEqual(ctx.dims(form.firstInput() + i)[form.inputAxes[i]], length,
                   "length of scan input " + Twine(i));
  for (unsigned i = 0; i < form.numOutputs; ++i)
    if (form.outputAxes[i] < 0) {
      Value value = yieldedValues(body)[form.numStates + i];
      form.outputAxes[i] += cast<RankedTensorType>(value.getType()).getRank() + 1;
    }

  ScanLowering lowering(ctx, form);
  SmallVector<Value> carries;
  for (unsigned i = 0; i < form.numStates; ++i)
    carries.push_back(lowering.carry(i, ctx.lowered(i), ctx.dims(i)));
  Value steps = ctx.size(length);
  auto first = [&] {
    SmallVector<Value> args(carries);
    for (auto [i, input] : llvm::enumerate(inputs)) {
      OpFoldResult at = b.getIndexAttr(0);
      if (form.inputReversed[i])
        at = b.createOrFold<arith::SubIOp>(steps, ctx.index(1));
      args.push_back(sliceAt(b, input, form.inputAxes[i], at));
    }
    return args;
  };
  auto sizes = lowering.outputSizes(first, isPositive(b, steps));
  if (failed(sizes))
    return failure();
  SmallVector<Value> outs;
  for (unsigned i = 0; i < form.numOutputs; ++i)
    outs.push_back(makeOut(b, (*sizes)[i], form.outputAxes[i], ctx.foldedSize(length),
                           elementTypeOf(body, form.numStates + i)));
  FailureOr<ScanOp> scan = lowering.build(steps, carries, inputs, outs, *sizes);
  if (failed(scan))
    return failure();
  for (auto [i, result] : llvm::enumerate(scan->getResults()))
    ctx.set(i, result);
  return success();
}

/// Writes `slice` as element `at` of the leading axis.
static Value writeAt(ImplicitLocOpBuilder &b, Value slice, Value into, Value at) {
  int64_t rank = cast<RankedTensorType>(into.getType()).getRank();
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), into),
                            offsets(rank, b.getIndexAttr(0)), strides(rank, b.getIndexAttr(1));
  sizes[0] = b.getIndexAttr(1);
  offsets[0] = at;
  return tensor::InsertSliceOp::create(b, slice, into, offsets, sizes, strides);
}

static LogicalResult lowerScan8(LoweringContext &ctx) {
  ImplicitLocOpBuilder &b = ctx.b;
  ScanForm form = formOf(ctx, readForm8);
  Region &body = *ctx.getNode().getONNXRegion("body");
  AffineExpr length = ctx.dims(form.firstInput())[1];
  AffineExpr batch = ctx.dims(form.firstInput())[0];
  for (unsigned i = 0; i < form.numInputs; ++i)
    ctx.checkEqual(ctx.dims(form.firstInput() + i)[1], length, "length of scan input " + Twine(i));
  for (unsigned i = 0; i < ctx.numInputs(); ++i)
    if (ctx.hasInput(i))
      ctx.checkEqual(ctx.dims(i)[0], batch, "batch size of input " + Twine(i));

  ScanLowering lowering(ctx, form);
  Value numBatches = ctx.size(batch), maxLength = ctx.size(length);
  auto first = [&] {
    SmallVector<Value> args;
    for (unsigned i = 0; i < form.numStates; ++i)
      args.push_back(sliceAt(b, ctx.lowered(1 + i), 0, b.getIndexAttr(0)));
    for (unsigned i = 0; i < form.numInputs; ++i) {
      Value whole = sliceAt(b, ctx.lowered(form.firstInput() + i), 0, b.getIndexAttr(0));
      args.push_back(sliceAt(b, whole, 0, b.getIndexAttr(0)));
    }
    return args;
  };
  Value runs = arith::AndIOp::create(b, isPositive(b, numBatches), isPositive(b, maxLength));
  auto sizes = lowering.outputSizes(first, runs);
  if (failed(sizes))
    return failure();

  // Final states, then outputs, filled batch element by batch element. What lies
  // behind a sequence's length is zero.
  SmallVector<Value> inits;
  for (unsigned i = 0; i < form.numStates; ++i) {
    SmallVector<OpFoldResult> all = ctx.sizes(ctx.facts.dims(body.front().getArgument(i)));
    all.insert(all.begin(), ctx.foldedSize(batch));
    inits.push_back(tensor::EmptyOp::create(b, all, storageType(ctx.elementType(1 + i))));
  }
  for (unsigned i = 0; i < form.numOutputs; ++i) {
    Type type = storageType(elementTypeOf(body, form.numStates + i));
    SmallVector<OpFoldResult> all = (*sizes)[i];
    all.insert(all.begin(), {ctx.foldedSize(batch), ctx.foldedSize(length)});
    Value out = tensor::EmptyOp::create(b, all, type);
    if (ctx.hasInput(0)) {
      Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
      out = linalg::FillOp::create(b, zero, out).getResult(0);
    }
    inits.push_back(out);
  }
  auto loop = scf::ForOp::create(b, ctx.index(0), numBatches, ctx.index(1), inits);
  {
    OpBuilder::InsertionGuard guard(b);
    Block *block = loop.getBody();
    if (!block->empty())
      block->back().erase();
    b.setInsertionPointToEnd(block);
    Value at = loop.getInductionVar(), steps = maxLength;
    if (ctx.hasInput(0)) {
      TensorValue lengths = ctx.get(0);
      steps = arith::IndexCastOp::create(b, b.getIndexType(), ctx.extract(lengths, at));
      Value fits = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, steps, maxLength);
      ctx.check(fits, "sequence length {0} is out of range for length {1}", {steps, maxLength});
    }
    SmallVector<Value> carries, inputs, outs;
    for (unsigned i = 0; i < form.numStates; ++i)
      carries.push_back(
          lowering.carry(i, sliceAt(b, ctx.lowered(1 + i), 0, at), ctx.dims(1 + i).drop_front()));
    // A backward scan starts at the end of its own sequence.
    for (unsigned i = 0; i < form.numInputs; ++i)
      inputs.push_back(sliceAt(b, ctx.lowered(form.firstInput() + i), 0, at));
    ValueRange args = loop.getRegionIterArgs();
    for (Value out : args.drop_front(form.numStates))
      outs.push_back(sliceAt(b, out, 0, at));
    FailureOr<ScanOp> scan = lowering.build(steps, carries, inputs, outs, *sizes);
    if (failed(scan))
      return failure();
    SmallVector<Value> yields;
    for (auto [result, into] : llvm::zip_equal(scan->getResults(), args))
      yields.push_back(writeAt(b, result, into, at));
    scf::YieldOp::create(b, yields);
  }
  for (auto [i, result] : llvm::enumerate(loop.getResults()))
    ctx.set(i, result);
  return success();
}

static constexpr AttrSpec kScan8Attrs[] = {
    {"body", 'g', true}, {"num_scan_inputs", 'i', true}, {"directions", 'I'}};
static constexpr AttrSpec kScanAttrs[] = {
    {"body", 'g', true},       {"num_scan_inputs", 'i', true}, {"scan_input_axes", 'I'},
    {"scan_output_axes", 'I'}, {"scan_input_directions", 'I'}, {"scan_output_directions", 'I'}};

void ssm::onnx::registerScanOperators(OperatorTable &table) {
  // Input 0 of version 8, the lengths, may be left out.
  table.add({"", "Scan", 8, 0, kAnyNumber, 1, kAnyNumber, kScan8Attrs, inferScan8, lowerScan8});
  table.add({"", "Scan", 9, 1, kAnyNumber, 1, kAnyNumber, kScanAttrs, inferScan, lowerScan});
}

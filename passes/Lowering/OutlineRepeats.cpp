//===- OutlineRepeats.cpp - Repeated layers become calls of one function -===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Lowering/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "dialects/SSM/SizeNames.h"
#include "lib/Analysis/WeightValues.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/Hashing.h"
#include <map>

namespace ssm {
#define GEN_PASS_DEF_OUTLINEREPEATS
#include "passes/Lowering/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// Longer sequences are not looked for: the search takes operations times this.
constexpr size_t kMaxPeriod = 2048;
/// Sequences tried before giving up: a run of equal operations need not be one of
/// equal sequences.
constexpr unsigned kMaxTries = 8;

using Values = SmallVector<Value>;

/// Made again wherever it is used, so that sequences do not differ by who made it.
bool isRemade(Operation *op) {
  if (isa<tensor::EmptyOp>(op))
    return true;
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
    return !dense || dense.isSplat();
  }
  if (auto fill = dyn_cast<linalg::FillOp>(op))
    return llvm::all_of(fill->getOperands(), [](Value operand) {
      Operation *made = operand.getDefiningOp();
      return made && isRemade(made);
    });
  return false;
}

/// The exact text of a sequence as numbers: equal tokens, equal computation. What
/// comes from outside is listed apart, in the order of its uses.
class Tokens {
public:
  void add(Operation *op) {
    addOp(op);
    for (Value operand : op->getOperands())
      addValue(operand);
    for (Value result : op->getResults())
      numbers.try_emplace(result, numbers.size());
    for (Region &region : op->getRegions()) {
      push(region.getBlocks().size());
      for (Block &block : region) {
        for (BlockArgument arg : block.getArguments()) {
          push(arg.getType().getAsOpaquePointer());
          numbers.try_emplace(arg, numbers.size());
        }
        push(block.getOperations().size());
        for (Operation &inner : block)
          add(&inner);
      }
    }
  }

  bool isInside(Value value) const { return numbers.contains(value); }
  llvm::hash_code hash() const { return llvm::hash_combine_range(tokens.begin(), tokens.end()); }
  bool operator==(const Tokens &other) const { return tokens == other.tokens; }

  Values outside;

private:
  enum : uintptr_t { Inside = 1, Remade, Outside };

  void push(uintptr_t token) { tokens.push_back(token); }
  void push(const void *token) { tokens.push_back(reinterpret_cast<uintptr_t>(token)); }

  void addOp(Operation *op) {
    push(op->getName().getAsOpaquePointer());
    push(op->getAttrDictionary().getAsOpaquePointer());
    push(op->getNumOperands());
    push(op->getNumResults());
    for (Type type : op->getResultTypes())
      push(type.getAsOpaquePointer());
    push(op->getNumRegions());
  }

  void addValue(Value value) {
    if (auto it = numbers.find(value); it != numbers.end()) {
      push(Inside);
      push(it->second);
      return;
    }
    Operation *op = value.getDefiningOp();
    if (op && isRemade(op)) {
      push(Remade);
      addOp(op);
      for (Value operand : op->getOperands())
        addValue(operand);
      return;
    }
    push(Outside);
    push(value.getType().getAsOpaquePointer());
    outside.push_back(value);
  }

  SmallVector<uintptr_t> tokens;
  llvm::DenseMap<Value, uintptr_t> numbers;
};

/// One place where the sequence stands.
struct Occurrence {
  size_t first;
  Tokens tokens;
};

struct Run {
  size_t first, period, length; // operations first .. first + length
  size_t saved() const { return (length / period - 1) * period; }
};

/// The size of a tensor from outside: of the first input that has one of that name.
Value sizeFromOutside(OpBuilder &b, Value value, int64_t axis) {
  if (StringAttr name = getSizeName(value, axis))
    for (BlockArgument first : cast<BlockArgument>(value).getOwner()->getArguments())
      for (int64_t i = 0; i < cast<ShapedType>(first.getType()).getRank(); ++i)
        if (getSizeName(first, i) == name)
          return tensor::DimOp::create(b, value.getLoc(), first, i);
  return tensor::DimOp::create(b, value.getLoc(), value, axis);
}

/// Where the size `axis` of a tensor comes from: a scalar, or a size of a tensor
/// from outside.
Value findSize(OpBuilder &b, Value value, int64_t axis, const Tokens &tokens) {
  while (true) {
    Operation *op = value.getDefiningOp();
    if (!op || (!tokens.isInside(value) && !isRemade(op)))
      return sizeFromOutside(b, value, axis);
    auto type = cast<RankedTensorType>(value.getType());
    if (!type.isDynamicDim(axis))
      return arith::ConstantIndexOp::create(b, value.getLoc(), type.getDimSize(axis));
    OpFoldResult size;
    if (auto structured = dyn_cast<DestinationStyleOpInterface>(op)) {
      value = structured.getTiedOpOperand(cast<OpResult>(value))->get();
      continue;
    }
    if (auto scan = dyn_cast<ScanOp>(op)) {
      unsigned number = cast<OpResult>(value).getResultNumber();
      unsigned carries = scan.getCarries().size();
      value = number < carries ? scan.getCarries()[number] : scan.getOuts()[number - carries];
      continue;
    }
    if (op->hasTrait<OpTrait::SameOperandsAndResultType>()) {
      value = op->getOperand(0);
      continue;
    }
    if (auto insert = dyn_cast<tensor::InsertSliceOp>(op)) {
      value = insert.getDest();
      continue;
    }
    if (auto cast = dyn_cast<tensor::CastOp>(op)) {
      value = cast.getSource();
      continue;
    }
    if (auto empty = dyn_cast<tensor::EmptyOp>(op))
      size = empty.getMixedSizes()[axis];
    else if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op);
             slice && slice.getSourceType().getRank() == type.getRank())
      size = slice.getMixedSizes()[axis];
    else if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
      size = expand.getMixedOutputShape()[axis];
    auto found = dyn_cast_if_present<Value>(size);
    // A size that the sequence computes from data is not known before the call.
    return found && !tokens.isInside(found) ? found : Value();
  }
}

struct OutlineRepeats : ssm::impl::OutlineRepeatsBase<OutlineRepeats> {
  using OutlineRepeatsBase::OutlineRepeatsBase;

  void runOnOperation() override {
    SmallVector<func::FuncOp> entries;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function.isPublic() && !function.isDeclaration())
        entries.push_back(function);
    for (func::FuncOp entry : entries)
      while (outlineBest(entry))
        ;
  }

  //===--------------------------------------------------------------------===//
  // Search
  //===--------------------------------------------------------------------===//

  /// What belongs to no sequence: constants, weights, and what follows from
  /// constants and the arguments' sizes alone. CSE gives such to the first layer.
  bool isLoose(Operation *op) {
    if (op->hasTrait<OpTrait::ConstantLike>() || isa<LoadWeightOp>(op) || isRemade(op))
      return true;
    if (isa<tensor::DimOp>(op) && isa<BlockArgument>(op->getOperand(0)))
      return true;
    if (!isPure(op))
      return false;
    return !op->walk([&](Operation *inner) {
                for (Value operand : inner->getOperands()) {
                  Operation *owner = operand.getParentBlock()->getParentOp();
                  if (op->isAncestor(owner))
                    continue;
                  Operation *made = operand.getDefiningOp();
                  if (!made || !loose.contains(made) || isa<LoadWeightOp>(made))
                    return WalkResult::interrupt();
                }
                return WalkResult::advance();
              }).wasInterrupted();
  }

  bool outlineBest(func::FuncOp entry) {
    ops.clear();
    loose.clear();
    position.clear();
    SmallVector<size_t> hashes;
    for (Operation &op : entry.getBody().front().without_terminator()) {
      if (isLoose(&op)) {
        loose.insert(&op);
        continue;
      }
      position[&op] = ops.size();
      ops.push_back(&op);
      Tokens alone;
      alone.add(&op);
      // Calls are what this pass made: each differs from everything.
      hashes.push_back(isa<func::CallOp>(op) ? reinterpret_cast<uintptr_t>(&op)
                                             : size_t(alone.hash()));
    }
    SmallVector<Run> runs = findRuns(hashes);
    for (const Run &run : ArrayRef(runs).take_front(kMaxTries))
      if (outline(entry, run, hashes))
        return true;
    return false;
  }

  /// Runs of operations that repeat with a period, the longest first.
  SmallVector<Run> findRuns(ArrayRef<size_t> hashes) {
    SmallVector<Run> runs;
    for (size_t period = 1; period <= std::min(hashes.size() / 2, kMaxPeriod); ++period) {
      size_t equal = 0;
      for (size_t i = 0; i + period <= hashes.size(); ++i) {
        if (i + period < hashes.size() && hashes[i] == hashes[i + period]) {
          ++equal;
          continue;
        }
        Run run{i - equal, period, equal + period};
        if (equal >= period && run.saved() >= minRepeatedOps)
          runs.push_back(run);
        equal = 0;
      }
    }
    llvm::sort(runs, [](const Run &a, const Run &b) {
      return std::make_tuple(b.saved(), a.period, a.first) <
             std::make_tuple(a.saved(), b.period, b.first);
    });
    return runs;
  }

  /// How many values the sequence before `cut` hands to what follows.
  unsigned crossing(size_t first, size_t cut) {
    unsigned count = 0;
    for (size_t i = first; i < cut; ++i)
      for (Value result : ops[i]->getResults())
        count += llvm::any_of(result.getUsers(), [&](Operation *user) {
          auto it = position.find(top(user));
          return it == position.end() || it->second >= cut;
        });
    return count;
  }

  Operation *top(Operation *op) { return ops.front()->getBlock()->findAncestorOpInBlock(*op); }

  /// Loops over elements alone fuse better where they are.
  bool isWorthACall(ArrayRef<Operation *> sequence) {
    return llvm::any_of(sequence, [](Operation *op) {
      auto structured = dyn_cast<linalg::LinalgOp>(op);
      return structured ? structured.getNumReductionLoops() > 0
                        : op->getNumRegions() > 0 && !isa<tensor::GenerateOp>(op);
    });
  }

  bool outline(func::FuncOp entry, const Run &run, ArrayRef<size_t> hashes) {
    if (!isWorthACall(ArrayRef(ops).slice(run.first, run.period)))
      return false;
    // The run may begin in the middle of a layer: cut where least goes across.
    size_t first = run.first;
    unsigned least = ~0u;
    for (size_t cut = run.first; cut <= run.first + run.length % run.period; ++cut)
      if (unsigned count = crossing(cut, cut + run.period); count < least) {
        least = count;
        first = cut;
      }
    // The first of a run may differ in its links; then the second stands for all.
    for (size_t from : {first, first + run.period}) {
      if (from + run.period > ops.size())
        continue;
      SmallVector<Occurrence> all = findAll(from, run.period, hashes);
      if ((all.size() - 1) * run.period >= minRepeatedOps && all.size() > 1 &&
          replace(entry, all, run.period))
        return true;
    }
    return false;
  }

  /// Everywhere that the sequence at `from` stands.
  SmallVector<Occurrence> findAll(size_t from, size_t period, ArrayRef<size_t> hashes) {
    auto tokensAt = [&](size_t first) {
      Tokens tokens;
      for (size_t i = first; i < first + period; ++i)
        tokens.add(ops[i]);
      return tokens;
    };
    Tokens wanted = tokensAt(from);
    ArrayRef<size_t> pattern = hashes.slice(from, period);
    SmallVector<Occurrence> found;
    for (size_t i = 0; i + period <= hashes.size();) {
      if (hashes.slice(i, period) == pattern)
        if (Tokens tokens = tokensAt(i); tokens == wanted) {
          found.push_back({i, std::move(tokens)});
          i += period;
          continue;
        }
      ++i;
    }
    return found;
  }

  //===--------------------------------------------------------------------===//
  // Outlining
  //===--------------------------------------------------------------------===//

  /// Parameters of the function: each is one value for each occurrence.
  struct Parameters {
    SmallVector<Values> list;
    std::map<std::vector<void *>, unsigned> numbers;

    unsigned add(Values values) {
      std::vector<void *> key;
      for (Value value : values)
        key.push_back(value.getAsOpaquePointer());
      auto [it, inserted] = numbers.try_emplace(std::move(key), list.size());
      if (inserted)
        list.push_back(std::move(values));
      return it->second;
    }
  };

  /// A value of the sequence that others use: result `result` of operation `op`.
  struct Result {
    size_t op;
    unsigned result;
    SmallVector<int64_t> sizes; // parameters
  };

  bool isUsedBy(const Occurrence &at, size_t period, Operation *user) {
    auto it = position.find(top(user));
    return it != position.end() && it->second >= at.first && it->second < at.first + period;
  }

  /// False if a result is no tensor whose sizes can be told before the call.
  bool findResults(ArrayRef<Occurrence> all, size_t period, Parameters &parameters,
                   SmallVectorImpl<Result> &results) {
    for (size_t i = 0; i < period; ++i)
      for (unsigned r = 0; r < ops[all[0].first + i]->getNumResults(); ++r) {
        bool isUsed = llvm::any_of(all, [&](const Occurrence &at) {
          return llvm::any_of(ops[at.first + i]->getResult(r).getUsers(), [&](Operation *user) {
            return !isUsedBy(at, period, user);
          });
        });
        if (isUsed)
          results.push_back({i, r, {}});
      }
    for (Result &result : results) {
      auto type =
          dyn_cast<RankedTensorType>(ops[all[0].first + result.op]->getResult(result.result).getType());
      if (!type)
        return false;
      for (int64_t axis = 0; axis < type.getRank(); ++axis) {
        if (!type.isDynamicDim(axis))
          continue;
        Values sizes;
        for (const Occurrence &at : all) {
          OpBuilder b(ops[at.first + period - 1]);
          Value value = ops[at.first + result.op]->getResult(result.result);
          sizes.push_back(findSize(b, value, axis, at.tokens));
          if (!sizes.back())
            return false;
        }
        result.sizes.push_back(parameters.add(std::move(sizes)));
      }
    }
    return true;
  }

  /// Fills the function's body with the sequence at one occurrence.
  struct Cloner {
    const Tokens &tokens;
    ArrayRef<unsigned> uses; // parameter of each use of something outside
    Block *body;
    OpBuilder builder;
    IRMapping mapping;
    size_t next = 0;

    Cloner(const Tokens &tokens, ArrayRef<unsigned> uses, Block *body)
        : tokens(tokens), uses(uses), body(body), builder(OpBuilder::atBlockEnd(body)) {}

    void clone(Operation *op) {
      Operation *made = builder.clone(*op, mapping);
      builder.setInsertionPoint(made);
      link(op, made);
      builder.setInsertionPointAfter(made);
    }

    /// In the order in which Tokens lists what comes from outside.
    void link(Operation *op, Operation *made) {
      for (auto [i, operand] : llvm::enumerate(op->getOperands()))
        if (!tokens.isInside(operand))
          made->setOperand(i, fromOutside(operand));
      for (auto [region, madeRegion] : llvm::zip_equal(op->getRegions(), made->getRegions()))
        for (auto [block, madeBlock] : llvm::zip_equal(region, madeRegion))
          for (auto [inner, madeInner] : llvm::zip_equal(block, madeBlock))
            link(&inner, &madeInner);
    }

    Value fromOutside(Value value) {
      Operation *op = value.getDefiningOp();
      if (!op || !isRemade(op))
        return body->getArgument(uses[next++]);
      SmallVector<Value> operands;
      for (Value operand : op->getOperands())
        operands.push_back(fromOutside(operand));
      Operation *made = builder.clone(*op);
      made->setOperands(operands);
      return made->getResult(cast<OpResult>(value).getResultNumber());
    }
  };

  bool replace(func::FuncOp entry, ArrayRef<Occurrence> all, size_t period) {
    Parameters parameters;
    SmallVector<unsigned> uses;
    for (size_t use = 0; use < all[0].tokens.outside.size(); ++use)
      uses.push_back(parameters.add(llvm::map_to_vector(
          all, [&](const Occurrence &at) { return at.tokens.outside[use]; })));
    SmallVector<Result> results;
    if (!findResults(all, period, parameters, results))
      return false;

    ArrayRef<Operation *> model = ArrayRef(ops).slice(all[0].first, period);
    func::FuncOp function = makeFunction(entry, model, all[0].tokens, parameters, uses, results);
    SmallVector<func::CallOp> calls;
    for (auto [j, at] : llvm::enumerate(all)) {
      OpBuilder b(ops[at.first + period - 1]);
      b.setInsertionPointAfter(ops[at.first + period - 1]);
      Values operands;
      for (const Values &values : parameters.list)
        operands.push_back(values[j]);
      calls.push_back(func::CallOp::create(b, ops[at.first]->getLoc(), function, operands));
    }
    for (size_t j = 0; j < all.size(); ++j)
      for (size_t i = 0; i < results.size(); ++i) {
        Value result = ops[all[j].first + results[i].op]->getResult(results[i].result);
        result.replaceUsesWithIf(calls[j].getResult(i), [&](OpOperand &use) {
          return !isUsedBy(all[j], period, use.getOwner());
        });
      }
    for (const Occurrence &at : all)
      for (Operation *op : llvm::reverse(ArrayRef(ops).slice(at.first, period)))
        op->erase();
    return true;
  }

  func::FuncOp makeFunction(func::FuncOp entry, ArrayRef<Operation *> model, const Tokens &tokens,
                            const Parameters &parameters, ArrayRef<unsigned> uses,
                            ArrayRef<Result> results) {
    SmallVector<Type> types, resultTypes;
    for (const Values &values : parameters.list)
      types.push_back(values.front().getType());
    for (const Result &result : results)
      resultTypes.push_back(model[result.op]->getResult(result.result).getType());
    OpBuilder b(&getContext());
    b.setInsertionPointAfter(entry);
    auto function = func::FuncOp::create(b, model.front()->getLoc(), "repeated",
                                         b.getFunctionType(types, resultTypes));
    function.setPrivate();
    function->setAttr("ssm.repeated", b.getUnitAttr());
    function->remove();
    SymbolTable(getOperation()).insert(function, std::next(Block::iterator(entry)));
    for (auto [i, values] : llvm::enumerate(parameters.list)) {
      if (isa<TensorType>(types[i]))
        function.setArgAttr(i, "bufferization.writable", b.getBoolAttr(false));
      if (llvm::all_of(values,
                       [](Value value) { return value.getDefiningOp<LoadWeightOp>() != nullptr; }))
        function.setArgAttr(i, kWeightArgument, b.getUnitAttr());
    }
    for (auto [i, result] : llvm::enumerate(results))
      function.setResultAttr(i, "ssm.sizes", b.getDenseI64ArrayAttr(result.sizes));

    Block *body = function.addEntryBlock();
    Cloner cloner(tokens, uses, body);
    for (Operation *op : model)
      cloner.clone(op);
    Values returned;
    for (const Result &result : results)
      returned.push_back(cloner.mapping.lookup(model[result.op]->getResult(result.result)));
    cloner.builder.setInsertionPointToEnd(body);
    func::ReturnOp::create(cloner.builder, function.getLoc(), returned);
    return function;
  }

  SmallVector<Operation *> ops;
  llvm::DenseSet<Operation *> loose;
  llvm::DenseMap<Operation *, size_t> position;
};
} // namespace

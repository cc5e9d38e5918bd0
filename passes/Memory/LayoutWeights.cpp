//===- LayoutWeights.cpp - Offsets in the weights file -------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MathExtras.h"
#include <map>

namespace ssm {
#define GEN_PASS_DEF_LAYOUTWEIGHTS
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
struct LayoutWeights : ssm::impl::LayoutWeightsBase<LayoutWeights> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::StringSet<> used;
    module.walk([&](Operation *op) {
      if (auto load = dyn_cast<LoadWeightOp>(op))
        used.insert(load.getWeight());
      else if (auto view = dyn_cast<WeightViewOp>(op))
        used.insert(view.getWeight());
    });
    // Equal bytes share one place: by content hash, or by place in the file.
    std::map<std::tuple<std::string, int64_t, int64_t>, int64_t> places;
    auto begin = module->getAttrOfType<IntegerAttr>("ssm.weights_begin");
    int64_t next = begin ? begin.getInt() : 0;
    Builder b(&getContext());
    for (auto weight : llvm::make_early_inc_range(module.getOps<WeightOp>()))
      if (!used.contains(weight.getSymName()))
        weight.erase();
    // What versions share lies between what each of them alone derives, so that a device takes
    // one piece of the file.
    SmallVector<WeightOp> weights(module.getOps<WeightOp>());
    llvm::stable_sort(weights, [](WeightOp a, WeightOp b) {
      return a.getInit().has_value() > b.getInit().has_value();
    });
    for (WeightOp weight : weights) {
      std::tuple<std::string, int64_t, int64_t> key;
      if (weight.getHash())
        key = {"#", *weight.getHash(), weight.getLength()};
      else if (weight.getFile())
        key = {weight.getFile()->str(), *weight.getOffset(), weight.getLength()};
      else
        key = {"@" + weight.getSymName().str(), 0, weight.getLength()};
      // Another version of the module may have given it a place.
      auto given = weight->getAttrOfType<IntegerAttr>("ssm.offset");
      auto [it, inserted] = places.try_emplace(key, given ? given.getInt() : next);
      if (inserted && !given)
        next = llvm::alignTo(next + weight.getLength(), 64);
      weight->setAttr("ssm.offset", b.getI64IntegerAttr(it->second));
    }
  }
};
} // namespace

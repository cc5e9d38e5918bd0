//===- KernelOps.td - Structured kernels --------------------*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_KERNELOPS
#define SSM_DIALECTS_SSM_KERNELOPS

include "dialects/SSM/SSMBase.td"
include "dialects/SSM/SSMEnums.td"
include "mlir/Dialect/Arith/IR/ArithBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

def SSM_TransitionAttr : EnumAttr<SSM_Dialect, SSM_Transition, "transition"> {
  let assemblyFormat = "`<` $value `>`";
}

def SSM_ConfigAttr : AttrDef<SSM_Dialect, "Config"> {
  let mnemonic = "config";
  let summary = "how a kernel becomes loops: set by one pass, consumed by the emitters";
  let description = [{
    `form` picks the emitter. `laneLoop` is the loop that lies across the lanes of
    a vector, `lanes` the elements of a vector, a power of two up to 64. `tiles` are
    sizes with a meaning for each form, told by its emitter, from 1 to 2^24. A user can
    write another one before `ssm-configure-kernels`, which leaves it; one that an emitter
    cannot follow gives plain loops and a remark.
  }];
  let parameters = (ins EnumParameter<SSM_Form>:$form, "int64_t":$laneLoop, "int64_t":$lanes,
                        OptionalArrayRefParameter<"int64_t">:$tiles);
  let genVerifyDecl = 1;
  let assemblyFormat = "`<` $form `,` `lane_loop` `=` $laneLoop `,` `lanes` `=` $lanes "
                       "(`,` `tiles` `=` `[` $tiles^ `]`)? `>`";
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

def SSM_KernelOp : SSM_Op<"kernel", [
    AttrSizedOperandSegments, RecursivelySpeculatable,
    DeclareOpInterfaceMethods<DestinationStyleOpInterface, ["getDpsInitsMutable"]>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
    SingleBlockImplicitTerminator<"::ssm::YieldOp">]> {
  let summary = "a loop nest with sums and a recurrence inside, on tensors or buffers";
  let description = [{
    Like linalg.generic, it has loops, an affine map from the loops to the indices
    of each operand, and a region on scalars. Two things are added, which let a
    producer and a consumer become one operation by joining their regions:

    - a value of the region is computed once for each point of the loops that it
      depends on, and `ssm.reduce` reduces a value over whole loops. So a product
      of matrices with its bias and activation, a row of a softmax and a
      normalisation are one region each;
    - one loop may be time. `inits` are carries: tensors (or a scalar for all
      elements) that each step takes from the step before. The region gets their
      elements after those of the inputs and yields the next ones first. What a
      step gives for time 0 uses `inits`; `outs` begin with the carries after the
      last step. Length 0 gives `inits`.

    Steps of time run in order; all else may run in any order. `mirrored` has one
    entry for each input and each out that is no carry: where true, step t reads or
    writes index length-1-t along time.

    `loops` is their number. Each loop is an index by itself of some operand, which
    tells its size. Map results are affine expressions of the loops, constants for
    axes of size 1; a map of an out is a projected permutation and constants.
    `inputs` may be scalars, with a map to no index. The region may read other
    tensors at indices that it computes (tensor.extract; memref.load of a buffer that
    is no out). Reads outside of an operand or such a tensor are not allowed.
    Outs are only written; what the region yields for an out may only depend on
    the loops of its map (and a carry's on time as well).

    `transition` says how a step that is linear in its carries acts on them, as
    recognised from the region: `diagonal` (elementwise), `scalar` (one factor for
    a whole axis of the state), `low_rank` (diagonal plus outer products, the delta
    rule). Absent: not linear, or no recurrence. One operation with an attribute
    serves for scans of all kinds, because fusion, tiling and memory treat them
    alike.

    `padded`: inputs may be read outside of them. A point of the loops where one is adds
    nothing to the one sum of the region, or what an element 0 does there, which is the same for
    products of finite numbers. So a window that hangs over the edge of an image needs no copy of
    the image with zeros around it.

    Upstream's linalg.generic cannot hold two reductions in a row, nor a carry.

    ```mlir
    // y = softmax(x) along the last axis
    %y = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
        maps [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>] {
      ^bb0(%v: f32):
        %m = ssm.reduce maximumf %v over [1] : f32
        %d = arith.subf %v, %m : f32
        %x = math.exp %d : f32
        %s = ssm.reduce addf %x over [1] : f32
        %q = arith.divf %x, %s : f32
        ssm.yield %q : f32
    } -> tensor<?x?xf32>
    ```
  }];
  let arguments = (ins I64Attr:$loops, OptionalAttr<I64Attr>:$time,
                       Variadic<AnyType>:$inputs, Variadic<AnyType>:$inits,
                       Variadic<AnyShaped>:$outs,
                       AffineMapArrayAttr:$maps,
                       DefaultValuedAttr<DenseBoolArrayAttr, "{}">:$mirrored,
                       OptionalAttr<SSM_TransitionAttr>:$transition,
                       OptionalAttr<SSM_ConfigAttr>:$config,
                       UnitAttr:$padded);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `loops` $loops (`time` $time^)?
    (`ins` `(` $inputs^ `:` type($inputs) `)`)?
    (`inits` `(` $inits^ `:` type($inits) `)`)?
    `outs` `(` $outs `:` type($outs) `)` `maps` $maps
    (`mirrored` $mirrored^)?
    (`transition` $transition^)? (`config` $config^)? (`padded` $padded^)?
    $body attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    unsigned getNumLoops() { return getLoops(); }
    unsigned getNumCarries() { return getInits().size(); }
    mlir::Block &getStep() { return getBody().front(); }
    YieldOp getYield();
    mlir::AffineMap getInputMap(unsigned i) { return getMap(i); }
    mlir::AffineMap getInitMap(unsigned i) { return getMap(getInputs().size() + i); }
    mlir::AffineMap getOutMap(unsigned i) {
      return getMap(getInputs().size() + getInits().size() + i);
    }
    mlir::AffineMap getMap(unsigned i) {
      return mlir::cast<mlir::AffineMapAttr>(getMaps()[i]).getValue();
    }
    /// The argument that stands for an element of input i, or of carry i.
    mlir::BlockArgument getInputArg(unsigned i) { return getStep().getArgument(i); }
    mlir::BlockArgument getCarryArg(unsigned i) {
      return getStep().getArgument(getInputs().size() + i);
    }
    /// Whether input i, or out i (counting carries), runs against time.
    bool isInputMirrored(unsigned i) { return i < getMirrored().size() && getMirrored()[i]; }
    bool isOutMirrored(unsigned i) {
      if (i < getNumCarries() || getMirrored().empty())
        return false;
      return getMirrored()[getInputs().size() + i - getNumCarries()];
    }
    bool isTime(unsigned loop) { return getTime() && *getTime() == loop; }
    bool hasBuffers() { return getNumResults() == 0; }
    /// An operand and an axis of it whose index is the loop alone. Null if there is none.
    std::pair<mlir::Value, unsigned> getSizeSource(unsigned loop);
    /// The sizes of the loops, from the operands' sizes.
    llvm::SmallVector<mlir::OpFoldResult> getLoopSizes(mlir::OpBuilder &builder);
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let hasCanonicalizer = 1;
}

def SSM_ReduceOp : SSM_Op<"reduce", [
    Pure, HasParent<"::ssm::KernelOp">, SameOperandsAndResultType]> {
  let summary = "reduces a value of a kernel's region over whole loops";
  let description = [{
    The result no longer depends on `loops`. Time cannot be reduced over. Sums may
    be taken in any order. A loop of size 0 gives the neutral element of `kind`.
  }];
  let arguments = (ins AtomicRMWKindAttr:$kind, AnyType:$value, DenseI64ArrayAttr:$loops);
  let results = (outs AnyType:$result);
  let assemblyFormat = "$kind $value `over` $loops attr-dict `:` type($value)";
}

def SSM_IndexOp : SSM_Op<"index", [Pure, HasParent<"::ssm::KernelOp">]> {
  let summary = "the index of a loop of the kernel";
  let description = "For time: the step, counted from 0 in the order of the steps.";
  let arguments = (ins I64Attr:$loop);
  let results = (outs Index:$result);
  let assemblyFormat = "$loop attr-dict";
}

#endif // SSM_DIALECTS_SSM_KERNELOPS

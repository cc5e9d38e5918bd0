//===- TopKOp.td - The first of sorted rows -----------------*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_TOPKOP
#define SSM_DIALECTS_SSM_TOPKOP

include "dialects/SSM/SSMBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def SSM_TopKOp : SSM_Op<"topk", [
    DeclareOpInterfaceMethods<DestinationStyleOpInterface, ["getDpsInitsMutable"]>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]> {
  let summary = "where the first elements of sorted rows are, on tensors or buffers";
  let description = [{
    For each row along `axis` the indices of its k first elements, in order: the greatest first,
    or the least with `least`. k is the size of `out` along the axis, at most the input's. Of
    equal elements the one of the lower index is first. NaN counts as greatest; -0 and 0 are
    equal. `unsigned` tells how integers are compared. `out` is only written.

    An operation, because processors go different ways: a heap for each row on one, teams of
    threads that count digits and sort what is left on the other. Upstream has none.

    ```mlir
    %i = ssm.topk axis 1 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x8xi64>) -> tensor<?x8xi64>
    ```
  }];
  let arguments = (ins I64Attr:$axis, UnitAttr:$least, UnitAttr:$is_unsigned, AnyShaped:$input,
                       AnyShaped:$out);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    `axis` $axis (`least` $least^)? (`unsigned` $is_unsigned^)? `ins` `(` $input `:` type($input) `)`
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($result)^)?
  }];
  let extraClassDeclaration = [{
    mlir::Type getElementType() {
      return mlir::cast<mlir::ShapedType>(getInput().getType()).getElementType();
    }
    int64_t getRank() { return mlir::cast<mlir::ShapedType>(getInput().getType()).getRank(); }
  }];
  let hasVerifier = 1;
}

#endif // SSM_DIALECTS_SSM_TOPKOP

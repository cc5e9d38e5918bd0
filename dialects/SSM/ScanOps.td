//===- ScanOps.td - Recurrences -----------------------------*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_SCANOPS
#define SSM_DIALECTS_SSM_SCANOPS

include "dialects/SSM/SSMBase.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def SSM_ScanOp : SSM_Op<"scan", [
    AttrSizedOperandSegments, RecursiveMemoryEffects,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
    SingleBlockImplicitTerminator<"::ssm::YieldOp">]> {
  let summary = "general recurrence along one axis, one region per step";
  let description = [{
    Runs the body once for each step t of [0, length). The body gets the carries,
    then one slice of each input without its scan axis, and yields the next
    carries, then one slice for each output. Results are the last carries, then
    the outputs. Carries keep their shape.

    `input_axes` and `output_axes` say which axis of each input and output is
    time. With `input_reversed[i]`, step t reads slice length-1-t; with
    `output_reversed[i]`, step t writes slice length-1-t. Length 0 gives the
    initial carries and empty outputs. Outputs are written in place into `outs`,
    slice by slice: no step touches what another wrote.

    The body may use values from outside. Source: ONNX Scan (versions 9 to 25);
    upstream has no operation with a carried state that tiles along time.

    ```mlir
    %h, %y = ssm.scan length(%n) carries(%h0 : tensor<8xf32>)
        ins(%x : tensor<?x8xf32>) outs(%e : tensor<?x8xf32>)
        input_axes [0] output_axes [0] input_reversed [false]
        output_reversed [false] {
      ^bb0(%h: tensor<8xf32>, %xt: tensor<8xf32>):
        ...
        ssm.yield %next, %next : tensor<8xf32>, tensor<8xf32>
    } -> tensor<8xf32>, tensor<?x8xf32>
    ```
  }];
  let arguments = (ins Index:$length, Variadic<AnyRankedTensor>:$carries,
                       Variadic<AnyRankedTensor>:$inputs,
                       Variadic<AnyRankedTensor>:$outs,
                       DenseI64ArrayAttr:$input_axes,
                       DenseI64ArrayAttr:$output_axes,
                       DenseBoolArrayAttr:$input_reversed,
                       DenseBoolArrayAttr:$output_reversed);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `length` `(` $length `)` (`carries` `(` $carries^ `:` type($carries) `)`)?
    (`ins` `(` $inputs^ `:` type($inputs) `)`)?
    (`outs` `(` $outs^ `:` type($outs) `)`)?
    `input_axes` $input_axes `output_axes` $output_axes
    `input_reversed` $input_reversed `output_reversed` $output_reversed
    $body attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def SSM_YieldOp : SSM_Op<"yield", [Pure, Terminator,
                                   ParentOneOf<["::ssm::KernelOp", "::ssm::ParallelForOp",
                                                "::ssm::ScanOp"]>]> {
  let summary = "ends a step of a recurrence, a kernel's region or a piece of a parallel loop";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, ::mlir::ValueRange()); }]>];
}

#endif // SSM_DIALECTS_SSM_SCANOPS

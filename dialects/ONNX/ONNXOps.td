//===- ONNXOps.td - The graph stage: one generic operation --*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_ONNX_OPS
#define SSM_DIALECTS_ONNX_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def ONNX_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::ssm::onnx";
  let summary = "ONNX graphs as they are read";
  let description = [{
    A graph of one generic operation, `onnx.node`. What an operator means is in
    the operator table (lib/Import/OperatorTable.h): types, shapes, lowering.

    Values are ranked tensors. Element types keep ONNX's meaning: signless
    integers are ONNX's signed ones, `ui8` to `ui64` its unsigned ones, `i1` its
    bool. Subgraphs are regions and capture outer values directly.

    Module attribute: `onnx.producer`. Function arguments carry `onnx.name` (the
    ONNX name) and `onnx.dims` (an array: integer for a size, string for a
    symbol, unit for unknown); function results carry the same two.
  }];
  let useDefaultTypePrinterParser = 1;
  let hasConstantMaterializer = 1;
}

class ONNX_Type<string name, string typeMnemonic> : TypeDef<ONNX_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def ONNX_NoneType : ONNX_Type<"None", "none"> {
  let summary = "an operand or result that is left out";
}
def ONNX_UnknownType : ONNX_Type<"Unknown", "unknown"> {
  let summary = "a value whose type is not inferred yet";
}

class ONNX_Op<string mnemonic, list<Trait> traits = []>
    : Op<ONNX_Dialect, mnemonic, traits>;

def ONNX_NodeOp : ONNX_Op<"node", [RecursiveMemoryEffects]> {
  let summary = "one ONNX node";
  let description = [{
    `version` is the opset version that the model imports for `domain`; the
    operator table resolves it to the newest definition at or below it. ONNX
    attributes are in `onnx_attrs`: int as i64, float as f32, ints and floats as
    dense arrays, strings as string arrays, tensors as elements. A graph attribute
    is a region, named in `region_names` in order. An input given as "" is an
    `onnx.absent` value; an output given as "" has type `!onnx.none`.

    ```mlir
    %y = onnx.node "Gemm"(%a, %b, %c) version 13 attributes {transB = 1 : i64}
        : (tensor<?x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<?x8xf32>
    ```
  }];
  let arguments = (ins StrAttr:$op_type, OptionalAttr<StrAttr>:$domain,
                       I64Attr:$version, OptionalAttr<DictionaryAttr>:$onnx_attrs,
                       OptionalAttr<StrArrayAttr>:$region_names,
                       Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyType>:$outputs);
  let regions = (region VariadicRegion<AnyRegion>:$bodies);
  let assemblyFormat = [{
    $op_type `(` $inputs `)` (`domain` $domain^)? `version` $version
    (`attributes` $onnx_attrs^)? (`regions` $region_names^ $bodies)? attr-dict
    `:` functional-type($inputs, $outputs)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The attribute of that ONNX name, or null.
    ::mlir::Attribute getONNXAttr(::llvm::StringRef name);
    /// The region of that ONNX graph attribute, or null.
    ::mlir::Region *getONNXRegion(::llvm::StringRef name);
    /// "domain::Operator", the domain left out if it is the default one.
    std::string getOperatorName();
    /// The ONNX node name out of the location, with the operator: 'name' (Op).
    std::string getNodeName();
  }];
}

def ONNX_ConstantOp : ONNX_Op<"constant", [Pure, ConstantLike,
                                           AllTypesMatch<["value", "output"]>]> {
  let summary = "a small constant tensor";
  let description = [{
    Larger ones are `ssm.weight`, so that weights never enter the IR. Unlike
    `arith.constant` it takes unsigned element types.
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs AnyStaticShapeTensor:$output);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
}

def ONNX_AbsentOp : ONNX_Op<"absent", [Pure]> {
  let summary = "stands for an input that is left out";
  let results = (outs ONNX_NoneType:$output);
  let assemblyFormat = "attr-dict `:` type($output)";
}

def ONNX_YieldOp : ONNX_Op<"yield", [Pure, Terminator]> {
  let summary = "gives the outputs of a subgraph";
  let arguments = (ins Variadic<AnyType>:$outputs);
  let assemblyFormat = "($outputs^ `:` type($outputs))? attr-dict";
}

#endif // SSM_DIALECTS_ONNX_OPS

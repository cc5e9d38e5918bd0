//===- ModuleOps.td - Weights, checks, the module's borders -*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_MODULEOPS
#define SSM_DIALECTS_SSM_MODULEOPS

include "dialects/SSM/SSMBase.td"
include "mlir/Dialect/LLVMIR/LLVMOpBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def SSM_WeightOp : SSM_Op<"weight", [Symbol]> {
  let summary = "a weight that stays in its file";
  let description = [{
    A constant tensor by reference: `length` bytes at `offset` of `file`, or
    computed from other weights by the function `init` (see hoist-weights-init).
    `index` is the place of the source in the importer's list where the bytes are
    not a plain range of a file. `type` is what the graph sees; the bytes are in
    ONNX's layout (row major, little endian). Equal `hash` means equal bytes.

    Weights are kept out of the IR because models have gigabytes of them; upstream
    resources would hold the bytes in memory.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyRankedTensor>:$type,
                       OptionalAttr<StrAttr>:$file, OptionalAttr<I64Attr>:$offset,
                       I64Attr:$length, OptionalAttr<I64Attr>:$index,
                       OptionalAttr<I64Attr>:$hash,
                       OptionalAttr<FlatSymbolRefAttr>:$init);
  let assemblyFormat = "$sym_name `:` $type `length` $length (`file` $file^ `at` $offset)? "
                       "(`index` $index^)? (`hash` $hash^)? (`init` $init^)? attr-dict";
  let hasVerifier = 1;
}

def SSM_LoadWeightOp : SSM_Op<"load_weight", [
    Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a weight as a value";
  let description = [{
    Reads nothing: stands for a view of the mapped weights, a tensor or, after
    bufferization, a memref that is never written.
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

def SSM_CheckOp : SSM_Op<"check", [MemoryEffects<[MemWrite]>]> {
  let summary = "ends the run with a status unless the condition holds";
  let description = [{
    `node` names the ONNX node; `text` says what was expected, with {0}, {1}, ...
    for `values`. Nothing after a failed check runs, so a size or an index that
    was checked can be used freely. cf.assert would abort the process.

    The effect is a write so that checks stay, in order.

    `of_indices`: the condition is that all elements of a tensor lie in [-size, size); the values
    are the least or the greatest of them, selected, and the size.
  }];
  let arguments = (ins I1:$condition, Variadic<AnyTypeOf<[Index, I64]>>:$values,
                       StrAttr:$node, StrAttr:$text, UnitAttr:$of_indices);
  let assemblyFormat = "$condition `,` $node `,` $text (`values` `(` $values^ `:` "
                       "type($values) `)`)? (`of_indices` $of_indices^)? attr-dict";
  let hasCanonicalizer = 1;
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// The module's borders, on memrefs (include/ssmrt/module_abi.h)
//===----------------------------------------------------------------------===//

def SSM_ArgOp : SSM_Op<"arg", [Pure]> {
  let summary = "input `index` of the call";
  let description = [{
    `number`, if given, is the input instead of `index`: in a loop over inputs of
    one type.
  }];
  let arguments = (ins LLVM_AnyPointer:$args, Optional<I64>:$number, I64Attr:$index);
  let results = (outs AnyMemRef:$result);
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$args,
                                 "int64_t":$index), [{
    build($_builder, $_state, result, args, ::mlir::Value(), index);
  }]>];
  let assemblyFormat = "$args `[` $index (`or` $number^)? `]` attr-dict `:` type($args) `->` type($result)";
}

def SSM_OutputOp : SSM_Op<"output", [
    AttrSizedOperandSegments, MemoryEffects<[MemAlloc, MemWrite]>]> {
  let summary = "where to write output `index`, whose dynamic sizes are given";
  let description = [{
    Ends the run with a status if the runtime refuses. `number`, if given, is the
    output instead of `index`: in a loop over outputs of one type.
  }];
  let arguments = (ins LLVM_AnyPointer:$table, LLVM_AnyPointer:$ctx,
                       Variadic<Index>:$sizes, Optional<I32>:$number, I64Attr:$index);
  let results = (outs AnyMemRef:$result);
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$table,
                                 "::mlir::Value":$ctx, "::mlir::ValueRange":$sizes,
                                 "int64_t":$index), [{
    build($_builder, $_state, result, table, ctx, sizes, ::mlir::Value(), index);
  }]>];
  let assemblyFormat = "$table `,` $ctx `[` $index (`or` $number^)? `]` `(` $sizes `)` attr-dict "
                       "`:` type($table) `,` type($ctx) `->` type($result)";
  let hasVerifier = 1;
}

def SSM_SegmentAllocOp : SSM_Op<"segment_alloc", [MemoryEffects<[MemAlloc]>]> {
  let summary = "memory whose size only the run can tell";
  let description = [{
    Valid until the run ends. Ends the run with a status if there is none.
  }];
  let arguments = (ins LLVM_AnyPointer:$table, LLVM_AnyPointer:$context,
                       Variadic<Index>:$sizes);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$table `,` $context `(` $sizes `)` attr-dict "
                       "`:` type($table) `,` type($context) `->` type($result)";
  let hasVerifier = 1;
}

def SSM_SegmentMarkOp : SSM_Op<"segment_mark", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "how full the segment is";
  let arguments = (ins LLVM_AnyPointer:$table, LLVM_AnyPointer:$context);
  let results = (outs I64:$mark);
  let assemblyFormat = "$table `,` $context attr-dict `:` type($table) `,` type($context)";
}

def SSM_SegmentReleaseOp : SSM_Op<"segment_release", [
    MemoryEffects<[MemRead, MemWrite, MemFree]>]> {
  let summary = "gives back all that the segment handed out since the mark";
  let arguments = (ins LLVM_AnyPointer:$table, LLVM_AnyPointer:$context, I64:$mark);
  let assemblyFormat = "$table `,` $context `to` $mark attr-dict `:` type($table) `,` "
                       "type($context)";
}

def SSM_ArenaViewOp : SSM_Op<"arena_view", [Pure]> {
  let summary = "a temporary at a planned byte offset of the arena";
  let arguments = (ins LLVM_AnyPointer:$arena, Index:$offset, Variadic<Index>:$sizes);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$arena `[` $offset `]` `(` $sizes `)` attr-dict "
                       "`:` type($arena) `->` type($result)";
  let hasVerifier = 1;
}

def SSM_PointerOp : SSM_Op<"pointer", [Pure]> {
  let summary = "where the elements of a plain memref begin";
  let arguments = (ins AnyMemRef:$memref);
  let results = (outs LLVM_AnyPointer:$result);
  let assemblyFormat = "$memref attr-dict `:` type($memref) `->` type($result)";
}

def SSM_WeightViewOp : SSM_Op<"weight_view", [
    Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a weight in the mapped weights";
  let arguments = (ins LLVM_AnyPointer:$weights, FlatSymbolRefAttr:$weight);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$weights `,` $weight attr-dict `:` type($weights) `->` type($result)";
}

#endif // SSM_DIALECTS_SSM_MODULEOPS

//===- TensorMapOp.td - Maps for bulk copies ----------------*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_TENSORMAPOP
#define SSM_DIALECTS_SSM_TENSORMAPOP

include "dialects/SSM/SSMBase.td"
include "mlir/Dialect/LLVMIR/LLVMOpBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def SSM_TensorMapOp : SSM_Op<"tensor_map", [
    MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "how bulk copies of a kernel move boxes of a buffer";
  let description = [{
    A pointer to a map on the host, an argument of ssm.launch alone: the kernel, whose
    `ssm.tensor_maps` has the argument's number, gets the map itself in a parameter, and a
    pointer to it. `box` are the elements that a copy moves, in the order of the buffer's
    axes; in shared memory they lie dense, pieces of 16 bytes swapped within `swizzle` bytes
    (0, 32, 64 or 128). The buffer begins at a multiple of 16 bytes, and so do all rows, which
    may be parts of longer ones. Ends
    the run with a status if there is no such map. A buffer without elements has a map that a
    kernel must not use.
  }];
  let arguments = (ins LLVM_AnyPointer:$table, LLVM_AnyPointer:$context, AnyMemRef:$memref,
                       DenseI32ArrayAttr:$box, I64Attr:$swizzle);
  let results = (outs LLVM_AnyPointer:$result);
  let assemblyFormat = "$table `,` $context $memref `box` $box `swizzle` $swizzle attr-dict `:` "
                       "type($table) `,` type($context) `,` type($memref) `->` type($result)";
  let hasVerifier = 1;
}

#endif // SSM_DIALECTS_SSM_TENSORMAPOP

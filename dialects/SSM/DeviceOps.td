//===- DeviceOps.td - Host code of a device -----------------*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_DEVICEOPS
#define SSM_DIALECTS_SSM_DEVICEOPS

include "dialects/SSM/SSMBase.td"
include "mlir/Dialect/LLVMIR/LLVMOpBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

// The calls of the runtime's table that a version for a device makes
// (include/ssmrt/module_abi.h). Upstream's gpu.launch_func lowers to functions of
// a runtime of its own, which knows neither our context nor our errors.

def SSM_LaunchOp : SSM_Op<"launch", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "queues a kernel of the device";
  let description = [{
    `kernel` is a gpu.func of the module's gpu.module; `args` are its arguments. `grid` are
    blocks, `threads` those of a block. Ends the run with a status if it cannot be
    queued.
  }];
  let arguments = (ins LLVM_AnyPointer:$table, LLVM_AnyPointer:$context, SymbolRefAttr:$kernel,
                       Index:$gridX, Index:$gridY, Index:$gridZ, Index:$threads,
                       Variadic<AnyType>:$args);
  let assemblyFormat = "$table `,` $context $kernel `grid` `(` $gridX `,` $gridY `,` $gridZ `)` "
                       "`threads` $threads (`args` `(` $args^ `:` type($args) `)`)? attr-dict `:` "
                       "type($table) `,` type($context)";
}

def SSM_ReadOp : SSM_Op<"read", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "an element of the device's memory, on the host";
  let description = [{
    Waits for all that was queued. Ends the run with a status if that failed, or if
    a check on the device did.
  }];
  let arguments = (ins LLVM_AnyPointer:$table, LLVM_AnyPointer:$context, AnyMemRef:$memref,
                       Variadic<Index>:$indices);
  let results = (outs AnyType:$result);
  let assemblyFormat = "$table `,` $context $memref `[` $indices `]` attr-dict `:` "
                       "type($table) `,` type($context) `,` type($memref) `->` type($result)";
}

def SSM_FaultOp : SSM_Op<"fault", [MemoryEffects<[MemRead]>]> {
  let summary = "where the device's checks report";
  let arguments = (ins LLVM_AnyPointer:$table, LLVM_AnyPointer:$context);
  let results = (outs LLVM_AnyPointer:$result);
  let assemblyFormat = "$table `,` $context attr-dict `:` type($table) `,` type($context) "
                       "`->` type($result)";
}

def SSM_CheckSiteOp : SSM_Op<"check_site", [Pure]> {
  let summary = "the number of a check that the device makes";
  let arguments = (ins StrAttr:$node, StrAttr:$text);
  let results = (outs I64:$site);
  let assemblyFormat = "$node `,` $text attr-dict";
}

def SSM_CheckIndexOp : SSM_Op<"check_index", !listconcat(ElementwiseMappable.traits, [
    Pure, AllTypesMatch<["index", "size", "site", "result"]>])> {
  let summary = "an index from 0 on; the run fails if it is out of range";
  let description = [{
    `index`, or `index + size` if it is negative. In kernels of a device, which find a bad
    index where they use it and go on: where `index` is not in [-size, size), the fault flag
    (ssm.fault) is set to `site` (ssm.check_site) with `index` and `size`, if no other check has
    set it, and the result is out of range too.

    Pure, as computing it again and leaving it out where nobody needs it are allowed: an
    index that is not used is no error.
  }];
  let arguments = (ins SignlessIntegerLike:$index, SignlessIntegerLike:$size,
                       SignlessIntegerLike:$site);
  let results = (outs SignlessIntegerLike:$result);
  let assemblyFormat = "$index `of` $size `,` $site attr-dict `:` type($result)";
}

def SSM_CheckValuesOp : SSM_Op<"check_values", [MemoryEffects<[MemWrite]>]> {
  let summary = "the run fails unless the condition holds";
  let description = [{
    `ssm.check` in a kernel of a device, which cannot end the run and goes on: the fault flag
    (ssm.fault) is set to `site` (ssm.check_site) with `values`, if no other check has set it.
  }];
  let arguments = (ins I1:$condition, I64:$site, Variadic<AnyTypeOf<[Index, I64]>>:$values);
  let assemblyFormat = "$condition `,` $site `values` `(` $values `:` type($values) `)` attr-dict";
}

#endif // SSM_DIALECTS_SSM_DEVICEOPS

//===- SSMBase.td - The ssm dialect -------------------------*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_BASE
#define SSM_DIALECTS_SSM_BASE

include "mlir/IR/OpBase.td"

def SSM_Dialect : Dialect {
  let name = "ssm";
  let cppNamespace = "::ssm";
  let summary = "recurrences, weights and the borders of a module";
  let description = [{
    What upstream lacks: recurrences with carried state, weights that stay in
    files, run-time checks that become statuses, and the operations through which
    a module meets its runtime.
  }];
  let useDefaultAttributePrinterParser = 1;
}

class SSM_Op<string mnemonic, list<Trait> traits = []>
    : Op<SSM_Dialect, mnemonic, traits>;

#endif // SSM_DIALECTS_SSM_BASE

//===- ParallelOps.td - Loops whose pieces run at once ------*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_PARALLELOPS
#define SSM_DIALECTS_SSM_PARALLELOPS

include "dialects/SSM/SSMBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def SSM_ParallelForOp : SSM_Op<"parallel_for", [
    AutomaticAllocationScope, RecursiveMemoryEffects,
    SingleBlockImplicitTerminator<"::ssm::YieldOp">]> {
  let summary = "runs its body on pieces of a range, maybe at the same time";
  let description = [{
    The body runs on pieces [lo, hi), none of them empty, that together cover
    [0, n), each index once: in any order, maybe at the same time. A piece has
    `grain` indices or more, where `n` allows it: what `grain` does not divide may
    make pieces shorter. An empty range runs nothing. What one piece writes, no
    other may read or write. The body holds no operation that may end the run;
    what it allocates on the stack is the piece's own.

    Upstream's `scf.parallel` and `scf.forall` run their body for one index; the
    body of this one has the loop over its piece, so that it can keep what indices
    share, and is what the runtime calls (ssm_range_fn of
    include/ssmrt/module_abi.h).

    ```mlir
    ssm.parallel_for %n grain %c64 {
      ^bb0(%lo: index, %hi: index):
        scf.for %i = %lo to %hi step %c1 {
          ...
        }
        ssm.yield
    }
    ```
  }];
  let arguments = (ins Index:$n, Index:$grain);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$n `grain` $grain $body attr-dict";
  let hasVerifier = 1;
}

#endif // SSM_DIALECTS_SSM_PARALLELOPS

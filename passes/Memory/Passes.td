//===- Passes.td - Buffers, arena, the module's borders ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_MEMORY_PASSES
#define SSM_PASSES_MEMORY_PASSES

include "mlir/Pass/PassBase.td"

def PlaceCarries : Pass<"ssm-place-carries", "::mlir::func::FuncOp"> {
  let summary = "makes carried tensors that keep their buffers fit to bufferize";
  let description = [{
    Loops keep a carry of fixed size in its buffer by materialize_in_destination,
    which bufferization must do in place or give up. So none may be left where it
    is no loop's last word on a carry (a loop of one step that was unrolled, say):
    there the source is taken as it is, and so where an inner loop has left it in the carry's
    buffer already: it keeps it itself, or inserts elements. The others move to the end of the step, and
    a source that lies in another carry's buffer is saved before any is written.

    ```mlir
    scf.for ... iter_args(%a = %a0, %b = %b0) {
      %an = bufferization.materialize_in_destination %b in %a
      %bn = bufferization.materialize_in_destination %a in %b
      scf.yield %an, %bn
    }
    // becomes
    scf.for ... iter_args(%a = %a0, %b = %b0) {
      %t = tensor.empty() : tensor<8xf32>
      %saved_b = linalg.copy ins(%b) outs(%t)
      %u = tensor.empty() : tensor<8xf32>
      %saved_a = linalg.copy ins(%a) outs(%u)
      %an = bufferization.materialize_in_destination %saved_b in %a
      %bn = bufferization.materialize_in_destination %saved_a in %b
      scf.yield %an, %bn
    }
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def PlacePieces : Pass<"ssm-place-pieces", "::mlir::func::FuncOp"> {
  let summary = "what many pieces are put side by side to becomes a buffer";
  let description = [{
    The outs of an unrolled loop's steps are put side by side by a chain of insert_slices. Upstream's
    one-shot analysis compares each of them with all others, along all of the chain: 128 steps took
    20 s. Pieces that static offsets and sizes along one axis tell to be apart need no analysis: each
    is put into a view of one buffer.

    ```mlir
    %e = tensor.empty() : tensor<128x8xf32>
    %0 = tensor.insert_slice %y0 into %e[0, 0] [1, 8] [1, 1]
    %1 = tensor.insert_slice %y1 into %0[1, 0] [1, 8] [1, 1] ...
    // becomes
    %b = memref.alloc() : memref<128x8xf32>
    %v0 = memref.subview %b[0, 0] [1, 8] [1, 1]
    bufferization.materialize_in_destination %y0 in restrict writable %v0
    %v1 = memref.subview %b[1, 0] [1, 8] [1, 1] ...
    %r = bufferization.to_tensor %b restrict writable
    ```
  }];
  let options = [
    Option<"minPieces", "min-pieces", "int64_t", /*default=*/"16",
           "Chains of fewer pieces stay, and are placed by bufferization.">
  ];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect",
                           "::mlir::memref::MemRefDialect"];
}

def SeparateTemporaries : Pass<"ssm-separate-temporaries", "::mlir::func::FuncOp"> {
  let summary = "each operation writes to a temporary of its own, made in front of it";
  let description = [{
    Empty tensors of equal sizes are equal to CSE. One-shot bufferization makes one buffer of
    each, which lives from there to its last writer's last reader, and so takes room where
    nobody needs it. With one for each writer, the arena planner knows when each is needed.

    ```mlir
    %e = tensor.empty(%n) : tensor<?xf32>
    %a = ssm.kernel ... outs(%e : tensor<?xf32>)
    %s = ssm.kernel ins(%a) ...
    %b = ssm.kernel ... outs(%e : tensor<?xf32>)
    // becomes
    %e = tensor.empty(%n) : tensor<?xf32>
    %a = ssm.kernel ... outs(%e : tensor<?xf32>)
    %s = ssm.kernel ins(%a) ...
    %f = tensor.empty(%n) : tensor<?xf32>
    %b = ssm.kernel ... outs(%f : tensor<?xf32>)
    ```
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect"];
}

def EntryABI : Pass<"ssm-entry-abi", "::mlir::ModuleOp"> {
  let summary = "entry functions meet the runtime: arguments, outputs, weights";
  let description = [{
    After bufferization. A public function `@name` of memrefs becomes `@name.run`
    of the pointers of include/ssmrt/module_abi.h: arguments are ssm.arg, weights
    ssm.weight_view, and a result is written where ssm.output says, without a copy
    if its buffer is one that the function allocates for it alone.

    A private function (of ssm-outline-repeats) gets the table and the context too,
    a buffer for each result, which the caller makes, and returns a status.

    ```mlir
    func.func @main(%x: memref<?xf32>) -> memref<?xf32> {
      %y = memref.alloc(%d) : memref<?xf32>
      ...
      return %y : memref<?xf32>
    }
    // becomes
    func.func @main.run(%table: !llvm.ptr, %context: !llvm.ptr, %args: !llvm.ptr,
                        %arena: !llvm.ptr, %weights: !llvm.ptr) -> i32 {
      %x = ssm.arg %args[0] : !llvm.ptr -> memref<?xf32>
      %y = ssm.output %table, %context[0] (%d) : !llvm.ptr, !llvm.ptr -> memref<?xf32>
      ...
      return %ok : i32
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::memref::MemRefDialect", "::ssm::SSMDialect",
                           "::mlir::LLVM::LLVMDialect"];
}

def ForwardCopies : Pass<"ssm-forward-copies", "::mlir::func::FuncOp"> {
  let summary = "a kernel writes at once where its result would be copied to";
  let description = [{
    Of several results that are put side by side into one buffer, one-shot bufferization
    places one; the others are temporaries that are copied. If a kernel writes such a
    temporary, nothing else reads it, and no one touches its place in between, the kernel
    writes there. So the windows of a causal convolution become its next past without a
    copy. Upstream has no pass that removes copies between different buffers.

    ```mlir
    %t = memref.alloc(%n) : memref<?xf32>
    ssm.kernel ... outs(%t : memref<?xf32>)
    %p = memref.subview %y[0, 1] [%n, 1] [1, 1] : memref<?x3xf32> to memref<?xf32, strided<[3], offset: 1>>
    memref.copy %t, %p
    // becomes
    %p = memref.subview %y[0, 1] [%n, 1] [1, 1] : ...
    ssm.kernel ... outs(%p : memref<?xf32, strided<[3], offset: 1>>)
    ```
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def PlanArena : Pass<"ssm-plan-arena", "::mlir::ModuleOp"> {
  let summary = "every temporary gets an offset in one arena; makes @name.plan";
  let description = [{
    Temporaries whose sizes follow from the sizes of the inputs share one arena:
    buffers that are not live together share space, and the offsets are functions
    of the sizes. Those whose size only the run can tell, and those that live from
    one step of a loop into the next, come from the run's segment. `@name.plan`
    computes the arena's bytes and the output sizes from the input sizes alone. The
    temporaries of a repeated function lie in one buffer of bytes, its last argument,
    which is a temporary of its caller for as long as the call takes.

    Upstream has no planner for dynamic sizes.

    ```mlir
    %t = memref.alloc(%n) : memref<?xf32>
    // becomes
    %t = ssm.arena_view %arena[%offset] (%n) : !llvm.ptr -> memref<?xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect",
                           "::ssm::SSMDialect"];
}

def FindStatesInPlace : Pass<"ssm-find-states-in-place", "::mlir::ModuleOp"> {
  let summary = "states whose output may be written where their input is";
  let description = [{
    A state's output may take its input's place if each element of the input was read for the
    last time before it is written: by operations before, or by the same iteration of one
    kernel. Such states get `in_place` in `ssm.entries`, and a number (`ssm.in_place`) on both
    buffers, so that kernels do not take them for memory that does not overlap. Why a
    state is none is a remark of category `buffer`.

    ```mlir
    %h0 = ssm.arg %args[0]
    %h = ssm.output %table, %context[0]
    ssm.kernel time 0 ins(%x) inits(%h0) outs(%h) maps [(t, d) -> (t, d), (t, d) -> (d), (t, d) -> (d)]
    // becomes
    %h0 = ssm.arg %args[0] {ssm.in_place = 0}
    %h = ssm.output %table, %context[0] {ssm.in_place = 0}
    ```
  }];
  let dependentDialects = ["::ssm::SSMDialect"];
}

def RollCalls : Pass<"ssm-roll-calls", "::mlir::ModuleOp"> {
  let summary = "calls of one repeated function become a loop over a table of places";
  let description = [{
    After the arena and the weights file are laid out. Consecutive calls of a
    function of ssm-outline-repeats differ in where their operands lie: the offset
    of a weight, the number of an input or output, one of the arena's offsets. A
    constant table tells these, and a loop makes the calls: without it each layer
    costs 600 bytes of code that moves pointers, and LLVM's time for them.

    ```mlir
    %w0 = ssm.weight_view %weights, @w0 : !llvm.ptr -> memref<8xf32>
    call @repeated(%table, %context, %x, %w0, %y) : (...) -> i32
    %w1 = ssm.weight_view %weights, @w1 : !llvm.ptr -> memref<8xf32>
    call @repeated(%table, %context, %x, %w1, %y) : (...) -> i32
    // becomes
    memref.global "private" constant @places : memref<2x1xi64> = dense<[[0], [64]]>
    scf.for %i = %c0 to %c2 step %c1 {
      %place = memref.load %places[%i, %c0] : memref<2x1xi64>
      %offset = arith.index_cast %place : i64 to index
      %w = ssm.arena_view %weights[%offset] () : !llvm.ptr -> memref<8xf32>
      call @repeated(%table, %context, %x, %w, %y) : (...) -> i32
    }
    ```
  }];
  let options = [
    Option<"minCalls", "min-calls", "uint64_t", /*default=*/"4",
           "Fewer calls stay as they are: a loop and its table are no smaller.">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::ssm::SSMDialect"];
}

def LayoutWeights : Pass<"ssm-layout-weights", "::mlir::ModuleOp"> {
  let summary = "gives every used weight its offset in the weights file";
  let description = [{
    Unused weights are erased; equal ones (same hash and length, or the same bytes
    of the same file) share an offset. Sets `ssm.offset`, aligned to 64 bytes.

    A weight that has one keeps it, and the others lie behind the module's attribute
    `ssm.weights_begin` (0 if there is none): so versions of a module for several
    processors share one file. What was computed from weights comes first: what versions
    share then lies between what each has alone, and a device takes one piece of the file.
  }];
  let dependentDialects = ["::ssm::SSMDialect"];
}

def HoistWeightsInit : Pass<"ssm-hoist-weights-init", "::mlir::ModuleOp"> {
  let summary = "what is computed from weights alone is computed once, at compile time";
  let description = [{
    Each tensor that follows from weights and constants, and that something else
    uses, becomes a weight of its own. How to compute it goes to a function of the
    nested module `weights_init`, which the compiler builds for the host and runs;
    its attribute `ssm.init_entries` tells the sources and the result of each.
    Plain views of weights stay as they are. In a repeated function, arguments that
    are weights in every call count as weights: the result becomes one more argument,
    and each call gets its own, all computed by one function. Loops and branches count
    too: what they compute from weights alone does not wait for them.

    ```mlir
    %w = ssm.load_weight @w : tensor<4x8xf32>
    %t = linalg.transpose ins(%w) outs(%e) permutation = [1, 0]
    // becomes
    %t = ssm.load_weight @derived : tensor<8x4xf32>
    ```
  }];
  let options = [
    Option<"maxGrowth", "max-growth", "int64_t", /*default=*/"1 << 20",
           "Bytes that a result may always have; above, at most twice its sources'.">
  ];
  let dependentDialects = ["::mlir::func::FuncDialect", "::ssm::SSMDialect"];
}

#endif // SSM_PASSES_MEMORY_PASSES

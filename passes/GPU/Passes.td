//===- Passes.td - Kernels for GPUs and their host code -----*- tablegen -*- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_PASSES
#define SSM_PASSES_GPU_PASSES

include "mlir/Pass/PassBase.td"

def EmitDeviceKernels : Pass<"ssm-emit-device-kernels", "::mlir::ModuleOp"> {
  let summary = "functions of kernels become kernels of the device and their launches";
  let description = [{
    Each function of ssm-outline-kernels is one kernel: its body goes to a gpu.func of
    `gpu.module @device`, in the first form that takes it, and what remains is a ssm.launch
    whose grid is computed from the sizes. Such a function returns a status.

    - products of matrices (MatmulForms.cpp): blocks of threads have tiles of the out, factors go
      through shared memory ahead of their use. 16-bit factors on tensor cores by warpgroups
      that others copy for (EmitWgmmaMatmul.cpp, sm_90a) or by warps (EmitMmaMatmul.cpp), 32-bit
      ones by fused multiply-adds (EmitFmaMatmul.cpp). Several forms, each a kernel of its own:
      the host chooses by sizes and whether pointers and rows are aligned, and makes the tensor
      maps that copies for warpgroups need.
    - teams (EmitTeams.cpp): kernels without time. A team of threads has one point of the loops
      that all outs and sums share; a block for long sums, a warp for short ones, one thread
      where nothing is summed or sums run across lines of memory. Memory is accessed 16 bytes at
      a time along the loop that lies densest, in a second body that runs if the size is a
      multiple of the lanes and pointers and strides are of 16 bytes.
    - staged (StagedRecurrence.cpp): recurrences with sums over a state, of many steps and aligned
      operands. Warps of one role step through a tile of time, those of the other compute what
      depends on no state, a tile ahead and a tile behind. Persistent blocks hand carries over.
    - windows (EmitWindows.cpp): kernels with time whose carries soon forget, on sequences that are
      dense along it. A thread has 16 bytes of steps and reads those in front of them for the
      carries.
    - lanes (EmitLaneRecurrence.cpp): kernels with time. A thread, or up to 32 lanes that share
      the summed loop, has one recurrence; its carries are registers. Lanes share out what comes
      before and after the steps of a block of time.
    - blocks (EmitBlocks.cpp): other kernels with time. A block of threads has one recurrence,
      whose carries are in their buffers.
    - nests (EmitNest.cpp): loops around kernels. One block, barriers between kernels.
    - running sums (EmitPrefix.cpp): one carry that something is combined with at each step; blocks
      have parts of a row, three kernels.
    - scatters (EmitScatter.cpp): loops that write an element a step where data tells, as if in
      order.
    - topk (EmitTopK.cpp, EmitSort.cpp): ssm.topk, a block for each row, or many that sort by
      digits.
    - one thread: loops around anything else.

    ```mlir
    func.func private @kernel_map(%table, %context, %x: !llvm.ptr, %n: index) {
      %v = ssm.arena_view %x[%c0] (%n) : !llvm.ptr -> memref<?xf32>
      ssm.kernel loops 1 ins(%v) outs(%v) maps [#i, #i] { ... }
    }
    // becomes
    func.func private @kernel_map(%table, %context, %x, %n) -> i32 {
      %blocks = arith.ceildivui %n, %c1024
      ssm.launch %table, %context @device::@kernel_map grid(%blocks, %c1, %c1) threads %c256 args(%x, %n)
    }
    gpu.module @device { gpu.func @kernel_map(%x: !llvm.ptr, %n: index) kernel { ... } }
    ```
  }];
  let options = [Option<"chip", "chip", "std::string", "\"sm_75\"",
                        "the GPU to compile for, as in --target=cuda:CHIP">,
                 Option<"f32Products", "f32-products", "std::string", "\"ieee\"",
                        "products of f32 matrices: ieee, tf32 or tf32x3, as in --f32-products">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::NVVM::NVVMDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect",
                           "::ssm::SSMDialect"];
}

def FillBorders : Pass<"ssm-fill-borders"> {
  let summary = "what is written again by the next kernel is not filled before";
  let description = [{
    After ssm-copy-to-kernel. Padding is a kernel that fills a buffer with a constant, and one that
    writes a part of it. Of large buffers the first becomes two kernels for each axis that is padded,
    of what lies in front of the part and behind it; the host chooses by the size. Upstream bufferizes
    padding as the two.

    ```mlir
    ssm.kernel loops 1 outs(%y) { yield %zero }
    %part = memref.subview %y[2] [%n] [1]
    ssm.kernel loops 1 ins(%x) outs(%part) { .. }
    // becomes
    scf.if %isLarge { fill %y[0] [2]; fill %y[%n + 2] [%size - %n - 2] } else { fill %y }
    ssm.kernel loops 1 ins(%x) outs(%part) { .. }
    ```
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect", "::mlir::memref::MemRefDialect"];
}

def PlaceConstants : Pass<"ssm-place-constants"> {
  let summary = "constants that a branch, a loop or a call hands on are copied to the device";
  let description = [{
    Before ssm-plan-arena. A kernel that reads a constant has it in its own module. One that
    reads what an arm of a branch yields gets an address, which for a constant would be the
    host's: such a constant becomes a buffer, written where the constant is taken.

    ```mlir
    %c = memref.get_global @c : memref<2xi64>
    scf.yield %c : memref<2xi64>
    // becomes
    %c = memref.get_global @c : memref<2xi64>
    %b = memref.alloc() : memref<2xi64>
    memref.copy %c, %b : memref<2xi64> to memref<2xi64>
    scf.yield %b : memref<2xi64>
    ```
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def PlaceHostCode : Pass<"ssm-place-host-code", "::mlir::ModuleOp"> {
  let summary = "what host code takes from the device's memory: checks go there, the rest is read";
  let description = [{
    After ssm-outline-kernels, in functions of entries and repeated ones. A ssm.check whose
    condition comes from elements of the device's memory by arithmetic becomes a kernel of
    one thread that sets the fault flag (ssm.fault): no waiting. All other loads become ssm.read,
    which waits for the device; a remark (category `placement`) names each.
    Memory is on the device but for memref.alloca and memref.get_global.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect",
                           "::ssm::SSMDialect"];
}

def CheckInKernels : Pass<"ssm-check-in-kernels", "::mlir::func::FuncOp"> {
  let summary = "indices are checked where they are used";
  let description = [{
    The first pass of the stage fuse for a device. A check that all indices of a tensor are in
    range takes the least and the greatest of them: a kernel that reads them all, before the one
    that uses them reads them again. What brings negative ones into range makes the check too
    instead (ssm.check_index), and is fused with what reads by them.

    Where it does not find that kernel, and of weights, which are checked once when they are
    loaded, the check stays.

    ```mlir
    %least, %most = ssm.kernel ins(%i) { ssm.reduce mins; ssm.reduce maxs }
    ssm.check %good, "node", "index {0} .." values(%culprit, %size) of_indices
    %wrapped = ssm.kernel ins(%i) { ^bb0(%v): select (%v < 0), %v + %size, %v }
    // becomes
    %site = ssm.check_site "node", "index {0} .."
    %wrapped = ssm.kernel ins(%i) { ^bb0(%v): ssm.check_index %v of %size, %site }
    ```
  }];
  let dependentDialects = ["::ssm::SSMDialect"];
}

def LowerIndexChecks : Pass<"ssm-lower-index-checks"> {
  let summary = "ssm.check_index: the fault flag is set at the end of a block";
  let description = [{
    In kernels of a device, where an argument marked `ssm.fault` is the fault flag. A branch
    behind each check would have one load wait for the other: what checks of one site
    in a block find is one condition, and the one branch is at the block's end. After
    ssm-guard-indices, which has a bad index stay inside.

    ```mlir
    %i = ssm.check_index %v of %size, %site
    memref.load %x[%i]
    // becomes
    %i = select (%v < 0), %v + %size, %v; %bad = %i >= %size (unsigned)
    memref.load %x[%i]
    scf.if %bad { cmpxchg %fault, %site + 1; ... }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def GuardIndices : Pass<"ssm-guard-indices"> {
  let summary = "indices that come from data stay inside, whatever the data";
  let description = [{
    Kernels that are queued behind a check that failed run all the same. A load whose
    index was computed from loaded numbers, or is checked (ssm.check_index), takes the last element instead of one outside; such a
    store is left out, and a part of a buffer that begins there ends with the buffer.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect"];
}

def VerifySync : Pass<"ssm-verify-sync"> {
  let summary = "finds missing and unmatched barriers, missing fences, shared memory overrun";
  let description = [{
    Of every gpu.func, before it is lowered; changes nothing. It is an error if

    - threads read shared memory that others may have written since the last barrier, or
      write what others may have to read yet or wrote: also from one step of a loop to the
      next. Accesses with the same indices are one thread's, and those whose indices along an
      axis are in different ranges, differ modulo 2 to 16, or are the same and grow from thread to
      thread, never meet. Atomic accesses may meet each
      other, and numbers that threads got by counting one on never do. Arms of a branch between roles are not compared with each other;
    - views of dynamic shared memory (ssm.arena_view of a pointer to it) overlap or reach past its
      end;
    - a barrier is in a branch or loop that not all threads of a block take alike. Arms of a
      branch between roles may hold the same barriers in the same loops;
    - shared memory is read past the threads (bulk tensor copies, wgmma) after a store that no
      nvvm.fence.proxy follows;
    - an index can be larger than its axis, or all memory than a block of the chip can have
      (ssm.max_shared of the module);
    - memory is read that nothing was written to, neither in front nor in a loop around, or an
      operation reaches it that is not followed here (copies, transfers, parts of it);
    - a thread tells other blocks by a releasing store of what all threads wrote, with no barrier in
      between.

    Where dynamic shared memory is reached by LLVM pointers, all threads of a block are
    followed at once (TraceBlock.cpp, ReplayBlock.cpp) on numbers that threads and constants make
    known: a loop takes a few steps if its end is not known, and both arms of such a branch
    are taken. A place that data tells lies between the bounds that the numbers it is computed
    from have, or those that the emitter tells (ssm.within of the pointer): whatever others do
    somewhere between them may meet it, but for two stores or two atomic accesses. Blocks of a
    cluster are taken to do all the same, so that what one reads of another others read of it. It is
    an error if

    - a load, store or cp.async meets another thread's with no order between: by barriers of all or
      some threads, mbarriers, or waiting for cp.async;
    - a product of a warpgroup reads what was not copied yet, or what no one waited for, or what
      was stored without a proxy fence; a copy overwrites what products read yet, or what
      nothing has read;
    - a mbarrier is used before all can see it, gets more arrivals than it counts, or is waited for
      in vain: arrivals or bytes (of the boxes of the launch's tensor maps) are missing;
    - a byte outside is reached, or one of which nothing is known, or read that nothing was
      written to;
    - memory of another block of the cluster is read with no barrier of the cluster behind its
      writer, or none in front of who writes it again or of the end; places that the emitter marks
      with ssm.own_part no other block's pointers of that kind reach. Arriving there and waiting
      alternate, and all threads come;
    - products of a warpgroup begin with no nvvm.wgmma.fence in front, or their sums are used
      while no nvvm.wgmma.wait_group is between.

    A kernel with ssm.constants may begin before those in front of it are done: until it, or a thread
    that it is ordered behind, has passed nvvm.griddepcontrol wait, it is an error to read or write
    the memory of any argument but these. It must pass one.

    Not checked: the order of accesses to global memory within a block (but for releasing stores);
    tensor copies that a kernel makes before it waits for others.

    Upstream has no such check; compute-sanitizer finds only what a run happens to do.
  }];
}

def LowerDeviceViews : Pass<"ssm-lower-device-views"> {
  let summary = "ssm.arena_view and ssm.pointer of kernels in LLVM terms";
  let description = "As ssm-lower-module-ops does for host code.";
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def LowerDeviceMath : Pass<"ssm-lower-device-math"> {
  let summary = "math operations that LLVM has instructions for on GPUs become its intrinsics";
  let description = [{
    Square roots (rounded to nearest), absolute values, rounding, fused multiply-add, copied
    signs, the larger and the smaller of two. Upstream's gpu-to-nvvm would call NVIDIA's
    libdevice for each. A function of real numbers that is none of these is an error.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect"];
}

#endif // SSM_PASSES_GPU_PASSES

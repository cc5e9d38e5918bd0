// RUN: ssm-opt %s -ssm-verify-sync -split-input-file -verify-diagnostics

// Kernels that begin before those in front of them are done.

// What is right: what no kernel writes is read before, all other memory after the wait.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%weight: !llvm.ptr, %input: !llvm.ptr) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 0 : i64, ssm.constants = array<i32: 0>} {
    %c0 = arith.constant 0 : index
    %w = ssm.arena_view %weight[%c0] () : !llvm.ptr -> memref<64xf32>
    %x = ssm.arena_view %input[%c0] () : !llvm.ptr -> memref<64xf32>
    %id = gpu.thread_id x
    %scale = memref.load %w[%id] : memref<64xf32>
    nvvm.griddepcontrol wait
    %v = memref.load %x[%id] : memref<64xf32>
    gpu.return
  }
}

// -----

// No wait.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%weight: !llvm.ptr, %input: !llvm.ptr) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 0 : i64, ssm.constants = array<i32: 0>} {
    %c0 = arith.constant 0 : index
    %w = ssm.arena_view %weight[%c0] () : !llvm.ptr -> memref<64xf32>
    %x = ssm.arena_view %input[%c0] () : !llvm.ptr -> memref<64xf32>
    %id = gpu.thread_id x
    %scale = memref.load %w[%id] : memref<64xf32>
    // expected-error @+1 {{reaches memory that kernels in front may use yet, and no nvvm.griddepcontrol wait is before}}
    %v = memref.load %x[%id] : memref<64xf32>
    gpu.return
  }
}

// -----

// Nor one where nothing is read: the kernels behind would not know that those in front are done.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  // expected-error @+1 {{may begin before the kernels in front are done, and has no nvvm.griddepcontrol wait}}
  gpu.func @kernel(%weight: !llvm.ptr, %input: !llvm.ptr) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 0 : i64, ssm.constants = array<i32: 0>} {
    gpu.return
  }
}

// -----

// Read before the wait.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%weight: !llvm.ptr, %input: !llvm.ptr) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 0 : i64, ssm.constants = array<i32: 0>} {
    %c0 = arith.constant 0 : index
    %w = ssm.arena_view %weight[%c0] () : !llvm.ptr -> memref<64xf32>
    %x = ssm.arena_view %input[%c0] () : !llvm.ptr -> memref<64xf32>
    %id = gpu.thread_id x
    %scale = memref.load %w[%id] : memref<64xf32>
    // expected-error @+1 {{reaches memory that kernels in front may use yet, and no nvvm.griddepcontrol wait is before}}
    %early = memref.load %x[%id] : memref<64xf32>
    nvvm.griddepcontrol wait
    %v = memref.load %x[%id] : memref<64xf32>
    gpu.return
  }
}

// -----

// Written before the wait.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%weight: !llvm.ptr, %input: !llvm.ptr) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 0 : i64, ssm.constants = array<i32: 0>} {
    %c0 = arith.constant 0 : index
    %w = ssm.arena_view %weight[%c0] () : !llvm.ptr -> memref<64xf32>
    %x = ssm.arena_view %input[%c0] () : !llvm.ptr -> memref<64xf32>
    %id = gpu.thread_id x
    %scale = memref.load %w[%id] : memref<64xf32>
    // expected-error @+1 {{reaches memory that kernels in front may use yet, and no nvvm.griddepcontrol wait is before}}
    memref.store %scale, %x[%id] : memref<64xf32>
    nvvm.griddepcontrol wait
    %v = memref.load %x[%id] : memref<64xf32>
    gpu.return
  }
}

// -----

// One that begins when the others are done needs none.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%weight: !llvm.ptr, %input: !llvm.ptr) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 0 : i64} {
    %c0 = arith.constant 0 : index
    %w = ssm.arena_view %weight[%c0] () : !llvm.ptr -> memref<64xf32>
    %x = ssm.arena_view %input[%c0] () : !llvm.ptr -> memref<64xf32>
    %id = gpu.thread_id x
    %scale = memref.load %w[%id] : memref<64xf32>
    %v = memref.load %x[%id] : memref<64xf32>
    gpu.return
  }
}

// -----

// What is right: one role waits and tells the other by a barrier.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%weight: !llvm.ptr, %input: !llvm.ptr) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 4 : i64, ssm.constants = array<i32: 0>} {
    %c0 = arith.constant 0 : index
    %c32 = arith.constant 32 : index
    %zero = arith.constant 0 : i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %x = ssm.arena_view %input[%c0] () : !llvm.ptr -> memref<64xf32>
    %id = gpu.thread_id x
    %waits = arith.cmpi ult, %id, %c32 : index
    scf.if %waits {
      nvvm.griddepcontrol wait
    }
    %isFirst = arith.cmpi eq, %id, %c0 : index
    scf.if %isFirst {
      llvm.store %zero, %a : i32, !llvm.ptr<3>
    }
    gpu.barrier
    %v = memref.load %x[%id] : memref<64xf32>
    gpu.return
  }
}

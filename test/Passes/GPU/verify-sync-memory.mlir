// RUN: ssm-opt %s -ssm-verify-sync -split-input-file -verify-diagnostics

// How much shared memory there is, and that it is written before it is read.

// What is right: a step of the loop reads what the last one wrote.
gpu.module @device attributes {ssm.max_shared = 65536 : i64} {
  gpu.func @kernel(%n: index) workgroup(%s : memref<64xf32, 3>) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 65280 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %f = arith.constant 1.0 : f32
    %t = gpu.thread_id x
    scf.for %i = %c0 to %n step %c1 {
      %isLater = arith.cmpi ne, %i, %c0 : index
      scf.if %isLater {
        %v = memref.load %s[%t] : memref<64xf32, 3>
      }
      memref.store %f, %s[%t] : memref<64xf32, 3>
    }
    gpu.return
  }
}

// -----

// More than a block of the chip can have.
gpu.module @device attributes {ssm.max_shared = 65536 : i64} {
  // expected-error @+1 {{has 65664 bytes of shared memory, expected at most 65536}}
  gpu.func @kernel() workgroup(%s : memref<64xf32, 3>) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 65408 : i64} {
    gpu.return
  }
}

// -----

// Nothing is written before.
gpu.module @device {
  gpu.func @kernel() workgroup(%s : memref<64xf32, 3>) kernel attributes {ssm.max_threads = 64 : i64} {
    %f = arith.constant 1.0 : f32
    %t = gpu.thread_id x
    // expected-error @+1 {{reads shared memory that nothing was written to}}
    %v = memref.load %s[%t] : memref<64xf32, 3>
    memref.store %f, %s[%t] : memref<64xf32, 3>
    gpu.return
  }
}

// -----

// Nor behind a pointer.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 8 : i64} {
    %c1 = arith.constant 1 : i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %b = llvm.getelementptr %a[4] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %t = gpu.thread_id x
    %c0 = arith.constant 0 : index
    %isFirst = arith.cmpi eq, %t, %c0 : index
    scf.if %isFirst {
      llvm.store %c1, %a : i32, !llvm.ptr<3>
      %written = llvm.load %a : !llvm.ptr<3> -> i32
      // expected-error @+1 {{reads shared memory that nothing was written to yet}}
      %v = llvm.load %b : !llvm.ptr<3> -> i32
    }
    gpu.return
  }
}

// -----

// Counted, and never set to 0.
gpu.module @device {
  gpu.func @kernel() workgroup(%s : memref<64xi32, 3>) kernel attributes {ssm.max_threads = 64 : i64} {
    %c1 = arith.constant 1 : i32
    %t = gpu.thread_id x
    // expected-error @+1 {{reads shared memory that nothing was written to}}
    %v = memref.atomic_rmw addi %c1, %s[%t] : (i32, memref<64xi32, 3>) -> i32
    gpu.return
  }
}

// -----

// What is not followed.
gpu.module @device {
  gpu.func @kernel() workgroup(%s : memref<64xf32, 3>, %r : memref<64xf32, 3>) kernel attributes {ssm.max_threads = 64 : i64} {
    %f = arith.constant 1.0 : f32
    %t = gpu.thread_id x
    // expected-error @+1 {{reaches shared memory in a way that is not followed}}
    %v = vector.transfer_read %s[%t], %f : memref<64xf32, 3>, vector<4xf32>
    // expected-error @+1 {{reaches shared memory in a way that is not followed}}
    memref.copy %s, %r : memref<64xf32, 3> to memref<64xf32, 3>
    // expected-error @+1 {{reaches shared memory in a way that is not followed}}
    %part = memref.subview %s[32] [32] [1] : memref<64xf32, 3> to memref<32xf32, strided<[1], offset: 32>, 3>
    gpu.return
  }
}

// -----

// A thread tells other blocks of what all threads wrote: what is right, a barrier in between.
gpu.module @device {
  gpu.func @kernel(%flag: !llvm.ptr, %y: memref<64xf32>) kernel attributes {ssm.max_threads = 64 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : i32
    %f = arith.constant 1.0 : f32
    %t = gpu.thread_id x
    memref.store %f, %y[%t] : memref<64xf32>
    gpu.barrier
    %isFirst = arith.cmpi eq, %t, %c0 : index
    scf.if %isFirst {
      memref.store %f, %y[%c0] : memref<64xf32>
      llvm.store %c1, %flag atomic syncscope("device") release {alignment = 4 : i64} : i32, !llvm.ptr
    }
    gpu.return
  }
}

// -----

// None.
gpu.module @device {
  gpu.func @kernel(%flag: !llvm.ptr, %y: memref<64xf32>) kernel attributes {ssm.max_threads = 64 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : i32
    %f = arith.constant 1.0 : f32
    %t = gpu.thread_id x
    memref.store %f, %y[%t] : memref<64xf32> // expected-note {{the write}}
    %isFirst = arith.cmpi eq, %t, %c0 : index
    scf.if %isFirst {
      // expected-error @+1 {{tells others of what threads wrote, and no barrier is between}}
      llvm.store %c1, %flag atomic syncscope("device") release {alignment = 4 : i64} : i32, !llvm.ptr
    }
    gpu.return
  }
}

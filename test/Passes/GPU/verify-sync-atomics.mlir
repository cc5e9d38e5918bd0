// RUN: ssm-opt %s -ssm-verify-sync -split-input-file -verify-diagnostics

// Places in shared memory that data tells, and counters there.

// What is right: counters set to 0, counted, read.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%x: i32) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 64 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %c15 = arith.constant 15 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %isFew = arith.cmpi ult, %t, %c15 : i32
    %from = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%from] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    scf.if %isFew {
      llvm.store %c0, %own : i32, !llvm.ptr<3>
    }
    gpu.barrier
    %digit = arith.andi %x, %c15 : i32
    %bytes = arith.muli %digit, %c4 : i32
    %at = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %old = llvm.atomicrmw add %at, %c1 monotonic : !llvm.ptr<3>, i32
    %again = llvm.atomicrmw add %at, %c1 monotonic : !llvm.ptr<3>, i32
    gpu.barrier
    scf.if %isFew {
      %sum = llvm.load %own : !llvm.ptr<3> -> i32
    }
    gpu.return
  }
}

// -----

// Counted before all are 0.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%x: i32) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 64 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %c15 = arith.constant 15 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %isFew = arith.cmpi ult, %t, %c15 : i32
    %from = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%from] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    scf.if %isFew {
      llvm.store %c0, %own : i32, !llvm.ptr<3> // expected-note {{the other access}}
    }
    %digit = arith.andi %x, %c15 : i32
    %bytes = arith.muli %digit, %c4 : i32
    %at = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    // expected-error @+1 {{writes shared memory that another thread may have written, and no barrier is between}}
    %old = llvm.atomicrmw add %at, %c1 monotonic : !llvm.ptr<3>, i32
    %again = llvm.atomicrmw add %at, %c1 monotonic : !llvm.ptr<3>, i32
    gpu.barrier
    scf.if %isFew {
      %sum = llvm.load %own : !llvm.ptr<3> -> i32
    }
    gpu.return
  }
}

// -----

// Read before all have counted.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%x: i32) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 64 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %c15 = arith.constant 15 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %isFew = arith.cmpi ult, %t, %c15 : i32
    %from = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%from] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    scf.if %isFew {
      llvm.store %c0, %own : i32, !llvm.ptr<3>
    }
    gpu.barrier
    %digit = arith.andi %x, %c15 : i32
    %bytes = arith.muli %digit, %c4 : i32
    %at = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %old = llvm.atomicrmw add %at, %c1 monotonic : !llvm.ptr<3>, i32
    %again = llvm.atomicrmw add %at, %c1 monotonic : !llvm.ptr<3>, i32 // expected-note {{the other access}}
    scf.if %isFew {
      // expected-error @+1 {{reads shared memory that another thread may have written, and no barrier is between}}
      %sum = llvm.load %own : !llvm.ptr<3> -> i32
    }
    gpu.return
  }
}

// -----

// At known places, too.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%x: i32) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 64 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %c15 = arith.constant 15 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %isFew = arith.cmpi ult, %t, %c15 : i32
    %from = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%from] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    scf.if %isFew {
      llvm.store %c0, %own : i32, !llvm.ptr<3>
    }
    gpu.barrier
    %digit = arith.andi %t, %c15 : i32
    %bytes = arith.muli %digit, %c4 : i32
    %at = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %old = llvm.atomicrmw add %at, %c1 monotonic : !llvm.ptr<3>, i32
    %again = llvm.atomicrmw add %at, %c1 monotonic : !llvm.ptr<3>, i32 // expected-note {{the other access}}
    scf.if %isFew {
      // expected-error @+1 {{reads shared memory that another thread may have written, and no barrier is between}}
      %sum = llvm.load %own : !llvm.ptr<3> -> i32
    }
    gpu.return
  }
}

// -----

// What is right: an emitter tells between which bytes a place lies.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%x: i32) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 64 : i64} {
    %c0 = arith.constant 0 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %x, %c4 : i32
    %at = llvm.getelementptr %a[%bytes] {ssm.within = array<i64: 0, 64>} : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %at : i32, !llvm.ptr<3>
    gpu.barrier
    %first = arith.andi %t, %c4 : i32
    %from = llvm.getelementptr %a[%first] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %v = llvm.load %from : !llvm.ptr<3> -> i32
    gpu.return
  }
}

// -----

// Read before others have stored.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%x: i32) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 64 : i64} {
    %c0 = arith.constant 0 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %x, %c4 : i32
    %at = llvm.getelementptr %a[%bytes] {ssm.within = array<i64: 0, 64>} : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %at : i32, !llvm.ptr<3> // expected-note {{the other access}}
    %first = arith.andi %t, %c4 : i32
    %from = llvm.getelementptr %a[%first] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    // expected-error @+1 {{reads shared memory that another thread may have written, and no barrier is between}}
    %v = llvm.load %from : !llvm.ptr<3> -> i32
    gpu.return
  }
}

// -----

// Nothing tells where.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%x: i32) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 64 : i64} {
    %c0 = arith.constant 0 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %x, %c4 : i32
    %at = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    // expected-error @+1 {{reaches shared memory at a place of which nothing is known}}
    llvm.store %t, %at : i32, !llvm.ptr<3>
    gpu.barrier
    %first = arith.andi %t, %c4 : i32
    %from = llvm.getelementptr %a[%first] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %v = llvm.load %from : !llvm.ptr<3> -> i32
    gpu.return
  }
}

// -----

// Beyond the end.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel(%x: i32) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 64 : i64} {
    %c0 = arith.constant 0 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %x, %c4 : i32
    %at = llvm.getelementptr %a[%bytes] {ssm.within = array<i64: 0, 68>} : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    // expected-error @+1 {{may reach byte 67 of dynamic shared memory, whose size is 64}}
    llvm.store %t, %at : i32, !llvm.ptr<3>
    gpu.barrier
    %first = arith.andi %t, %c4 : i32
    %from = llvm.getelementptr %a[%first] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %v = llvm.load %from : !llvm.ptr<3> -> i32
    gpu.return
  }
}

// RUN: ssm-opt %s -ssm-verify-sync -split-input-file -verify-diagnostics

// Blocks of a cluster, which all do the same, and what they read of each other.

// What is right: a barrier of the cluster behind the stores, another one in front of the end.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %own : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    %v = llvm.load %there : !llvm.ptr<7> -> i32
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    gpu.return
  }
}

// -----

// No barrier behind the stores.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %own : i32, !llvm.ptr<3> // expected-note {{the other access}}
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    // expected-error @+1 {{reads shared memory that another block may have to write yet, and no barrier of the cluster is between}}
    %v = llvm.load %there : !llvm.ptr<7> -> i32
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    gpu.return
  }
}

// -----

// A barrier of the block is none of the cluster.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %own : i32, !llvm.ptr<3> // expected-note {{the other access}}
    gpu.barrier
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    // expected-error @+1 {{reads shared memory that another block may have to write yet, and no barrier of the cluster is between}}
    %v = llvm.load %there : !llvm.ptr<7> -> i32
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    gpu.return
  }
}

// -----

// None in front of the end.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %own : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    // expected-error @+1 {{reads shared memory of another block, which may have ended: no barrier of the cluster is behind}}
    %v = llvm.load %there : !llvm.ptr<7> -> i32
    gpu.return
  }
}

// -----

// None in front of what writes it anew.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %own : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    %v = llvm.load %there : !llvm.ptr<7> -> i32 // expected-note {{the other access}}
    // expected-error @+1 {{writes shared memory that another block may have to read yet, and no barrier of the cluster is between}}
    llvm.store %t, %own : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    gpu.return
  }
}

// -----

// Behind it is right; and so is a part of the block's own, which the others do not read.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %own : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    %v = llvm.load %there : !llvm.ptr<7> -> i32
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    llvm.store %t, %own : i32, !llvm.ptr<3>
    gpu.return
  }
}

// -----

gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %first = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %own = llvm.getelementptr %a[%bytes] {ssm.own_part} : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %first : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    %v = llvm.load %there : !llvm.ptr<7> -> i32
    llvm.store %t, %own : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    gpu.return
  }
}

// -----

// Nothing was stored.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    // expected-error @+1 {{reads shared memory of another block that nothing was written to yet}}
    %v = llvm.load %there : !llvm.ptr<7> -> i32
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    gpu.return
  }
}

// -----

// Arrived at again, and not waited for in between.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    nvvm.cluster.arrive {aligned}
    // expected-error @+1 {{arrives at the cluster's barrier again, and did not wait there}}
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    gpu.return
  }
}

// -----

// Waited for, and no one arrived.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %own : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    %v = llvm.load %there : !llvm.ptr<7> -> i32
    // expected-error @+1 {{waits at the cluster's barrier, and did not arrive there}}
    nvvm.cluster.wait {aligned}
    gpu.return
  }
}

// -----

// Arrived at, and no one waits.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  // expected-error @+1 {{ends, and threads that arrived at the cluster's barrier did not wait there}}
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %own : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    // expected-error @+1 {{reads shared memory of another block, which may have ended: no barrier of the cluster is behind}}
    %v = llvm.load %there : !llvm.ptr<7> -> i32
    nvvm.cluster.arrive {aligned}
    gpu.return
  }
}

// -----

// Half of the block arrives.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %bytes = arith.muli %t, %c4 : i32
    %own = llvm.getelementptr %a[%bytes] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %t, %own : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %there = nvvm.mapa %own, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    %v = llvm.load %there : !llvm.ptr<7> -> i32
    %half = arith.cmpi ult, %t, %c4 : i32
    scf.if %half {
      nvvm.cluster.arrive {aligned}
    }
    scf.if %half {
    // expected-error @+1 {{waits at the cluster's barrier, which other threads never reach}}
      nvvm.cluster.wait {aligned}
    }
    gpu.return
  }
}

// -----

// A block stores where another one's memory is.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @kernel() kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c1 = arith.constant 1 : i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %there = nvvm.mapa %a, %c1 : !llvm.ptr<3> -> !llvm.ptr<7>
    // expected-error @+1 {{reaches shared memory at a place of which nothing is known}}
    llvm.store %c1, %there : i32, !llvm.ptr<7>
    gpu.return
  }
}

// RUN: ssm-opt %s -ssm-lower-index-checks -split-input-file | FileCheck %s

// Two checks of one site are one branch, behind what reads by both.
// CHECK-LABEL: gpu.func @two(
// CHECK-SAME: %[[FAULT:[a-z0-9]+]]: !llvm.ptr)
// CHECK-NOT: scf.if
// CHECK: %[[A:.*]] = arith.select
// CHECK: %[[BAD:.*]] = arith.cmpi uge, %[[A]], %[[SIZE:.*]] : i64
// CHECK: %[[B:.*]] = arith.select
// CHECK: %[[WORSE:.*]] = arith.cmpi uge, %[[B]], %[[SIZE]] : i64
// CHECK: %[[CULPRIT:.*]] = arith.select %[[WORSE]]
// CHECK: %[[ANY:.*]] = arith.ori %[[BAD]], %[[WORSE]]
// CHECK: memref.store
// CHECK: scf.if %[[ANY]]
// CHECK: llvm.cmpxchg %[[FAULT]]
// CHECK: llvm.store %[[CULPRIT]]
// CHECK: llvm.store %[[SIZE]]
// CHECK-NOT: llvm.cmpxchg
gpu.module @device {
  gpu.func @two(%x: memref<?xf32>, %i: memref<?xi64>, %y: memref<?xf32>, %size: i64, %site: i64, %fault: !llvm.ptr {ssm.fault}) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %a = memref.load %i[%c0] : memref<?xi64>
    %b = memref.load %i[%c1] : memref<?xi64>
    %p = ssm.check_index %a of %size, %site : i64
    %q = ssm.check_index %b of %size, %site : i64
    %pi = arith.index_cast %p : i64 to index
    %qi = arith.index_cast %q : i64 to index
    %u = memref.load %x[%pi] : memref<?xf32>
    %v = memref.load %x[%qi] : memref<?xf32>
    %s = arith.addf %u, %v : f32
    memref.store %s, %y[%c0] : memref<?xf32>
    gpu.return
  }
}

// -----

// Lanes of a vector.
// CHECK-LABEL: gpu.func @lanes(
// CHECK-COUNT-2: arith.cmpi uge
// CHECK: vector.insert
// CHECK: vector.store
// CHECK: arith.constant 5 : i64
// CHECK-COUNT-2: arith.cmpi uge
// CHECK: vector.store
// CHECK-COUNT-2: llvm.cmpxchg
gpu.module @device {
  gpu.func @lanes(%i: memref<?xi64>, %y: memref<?xi64>, %size: i64, %site: i64, %fault: !llvm.ptr {ssm.fault}) kernel {
    %c0 = arith.constant 0 : index
    %a = vector.load %i[%c0] : memref<?xi64>, vector<2xi64>
    %sizes = vector.broadcast %size : i64 to vector<2xi64>
    %sites = vector.broadcast %site : i64 to vector<2xi64>
    %p = ssm.check_index %a of %sizes, %sites : vector<2xi64>
    vector.store %p, %y[%c0] : memref<?xi64>, vector<2xi64>
    // Sizes may be known.
    %known = arith.constant dense<5> : vector<2xi64>
    %q = ssm.check_index %p of %known, %sites : vector<2xi64>
    vector.store %q, %y[%c0] : memref<?xi64>, vector<2xi64>
    gpu.return
  }
}

// -----

// A check of numbers, where one thread tells.
// CHECK-LABEL: gpu.func @values(
// CHECK-SAME: %[[HOLDS:[a-z0-9]+]]: i1, %[[SITE:[a-z0-9]+]]: i64, %[[VALUE:[a-z0-9]+]]: index, %[[FAULT:[a-z0-9]+]]: !llvm.ptr)
// CHECK: %[[FAILS:.*]] = arith.xori %[[HOLDS]]
// CHECK: scf.if %[[FAILS]]
// CHECK: llvm.cmpxchg %[[FAULT]]
// CHECK: %[[WORD:.*]] = arith.index_cast %[[VALUE]]
// CHECK: llvm.store %[[WORD]]
// CHECK-NOT: ssm.check_values
gpu.module @device {
  gpu.func @values(%holds: i1, %site: i64, %value: index, %fault: !llvm.ptr {ssm.fault}) kernel {
    ssm.check_values %holds, %site values(%value : index)
    gpu.return
  }
}

// RUN: ssm-opt %s -ssm-guard-indices | FileCheck %s

// CHECK-LABEL: func.func @gather(
// CHECK: %[[I:.*]] = arith.index_cast
// CHECK: %[[SIZE:.*]] = memref.dim %[[TABLE:.*]], %
// CHECK: %[[LAST:.*]] = arith.subi
// CHECK: %[[IN:.*]] = arith.minui %[[I]], %[[LAST]]
// CHECK: memref.load %{{.*}}[%[[IN]], %{{.*}}] : memref<?x?xf32>
func.func @gather(%ids: memref<?xi64>, %table: memref<?x?xf32>, %y: memref<?xf32>, %n: index) {
  %id = memref.load %ids[%n] : memref<?xi64>
  %i = arith.index_cast %id : i64 to index
  %v = memref.load %table[%i, %n] : memref<?x?xf32>
  memref.store %v, %y[%n] : memref<?xf32>
  return
}

// What is checked, wherever it comes from.
// CHECK-LABEL: func.func @checked(
// CHECK: %[[I:.*]] = arith.index_cast
// CHECK: arith.minui %[[I]],
func.func @checked(%id: i64, %size: i64, %site: i64, %x: memref<?xf32>, %y: memref<?xf32>, %n: index) {
  %c = ssm.check_index %id of %size, %site : i64
  %i = arith.index_cast %c : i64 to index
  %v = memref.load %x[%i] : memref<?xf32>
  memref.store %v, %y[%n] : memref<?xf32>
  return
}

// CHECK-LABEL: func.func @scatter(
// CHECK: %[[FITS:.*]] = arith.cmpi ult
// CHECK: scf.if %[[FITS]]
// CHECK-NEXT: memref.store
func.func @scatter(%ids: memref<?xi32>, %v: f32, %y: memref<?xf32>, %n: index) {
  %id = memref.load %ids[%n] : memref<?xi32>
  %i = arith.index_cast %id : i32 to index
  memref.store %v, %y[%i] : memref<?xf32>
  return
}

// Of sizes and loops alone nothing is guarded.
// CHECK-LABEL: func.func @plain(
// CHECK-NOT: minui
// CHECK-NOT: scf.if
func.func @plain(%x: memref<?xf32>, %y: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    %v = memref.load %x[%i] : memref<?xf32>
    memref.store %v, %y[%i] : memref<?xf32>
  }
  return
}

// Nor of what loops carry and branches choose by them.
// CHECK-LABEL: func.func @digits(
// CHECK-NOT: minui
// CHECK-NOT: scf.if
func.func @digits(%x: memref<?x?xf32>, %y: memref<?x?xf32>, %n: index, %size: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 iter_args(%row = %c0) -> index {
    %v = memref.load %x[%row, %i] : memref<?x?xf32>
    memref.store %v, %y[%row, %i] : memref<?x?xf32>
    %more = arith.addi %row, %c1 : index
    %over = arith.cmpi uge, %more, %size : index
    %next = arith.select %over, %c0, %more : index
    scf.yield %next : index
  }
  return
}

// But of what data counts.
// CHECK-LABEL: func.func @counted(
// CHECK: arith.cmpi ult
// CHECK: memref.store
func.func @counted(%keep: memref<?xi1>, %y: memref<?xindex>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 iter_args(%count = %c0) -> index {
    memref.store %i, %y[%count] : memref<?xindex>
    %is = memref.load %keep[%i] : memref<?xi1>
    %next = scf.if %is -> index {
      %more = arith.addi %count, %c1 : index
      scf.yield %more : index
    } else {
      scf.yield %count : index
    }
    scf.yield %next : index
  }
  return
}

// A part that data places ends with the buffer.
// CHECK-LABEL: gpu.func @part
// CHECK: %[[I:.+]] = arith.index_cast
// CHECK: %[[SIZE:.+]] = memref.dim %{{.+}}, %{{.+}} : memref<?x?xf32>
// CHECK: %[[ALL:.+]] = arith.maxui %[[SIZE]], %[[N:.+]] : index
// CHECK: %[[MOST:.+]] = arith.subi %[[ALL]], %[[N]]
// CHECK: %[[AT:.+]] = arith.minui %[[I]], %[[MOST]]
// CHECK: memref.subview %{{.+}}[%{{.+}}, %[[AT]]] [1, %[[N]]]
gpu.module @parts {
  gpu.func @part(%at: memref<?xi64>, %x: memref<?x?xf32>, %n: index, %row: index) kernel {
    %zero = arith.constant 0 : index
    %f = arith.constant 1.0 : f32
    %v = memref.load %at[%row] : memref<?xi64>
    %i = arith.index_cast %v : i64 to index
    %part = memref.subview %x[%row, %i] [1, %n] [1, 1] : memref<?x?xf32> to memref<1x?xf32, strided<[?, 1], offset: ?>>
    memref.store %f, %part[%zero, %zero] : memref<1x?xf32, strided<[?, 1], offset: ?>>
    gpu.return
  }
}

// RUN: ssm-opt %s -ssm-entry-abi | FileCheck %s

ssm.weight @w : tensor<4xf32> length 16 file "m" at 0

// A buffer that is a result is the output itself.
// CHECK-LABEL: func.func @direct.run(
// CHECK-SAME: %[[T:[^:]*]]: !llvm.ptr, %[[C:[^:]*]]: !llvm.ptr, %[[A:[^:]*]]: !llvm.ptr, %{{[^:]*}}: !llvm.ptr, %[[W:[^:]*]]: !llvm.ptr) -> i32 attributes {ssm.entry = "direct"}
// CHECK-DAG: %[[X:.*]] = ssm.arg %[[A]][0] : !llvm.ptr -> memref<?xf32>
// CHECK-DAG: %[[V:.*]] = ssm.weight_view %[[W]], @w
// CHECK: %[[Y:.*]] = ssm.output %[[T]], %[[C]][0] (%{{.*}})
// CHECK: linalg.map ins(%[[X]]{{.*}}) outs(%[[Y]]
// CHECK-NOT: memref.alloc
// CHECK-NOT: memref.copy
func.func @direct(%x: memref<?xf32>) -> memref<?xf32> {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?xf32>
  %w = ssm.load_weight @w : memref<4xf32>
  %v = memref.load %w[%c0] : memref<4xf32>
  %y = memref.alloc(%n) : memref<?xf32>
  linalg.map ins(%x : memref<?xf32>) outs(%y : memref<?xf32>) (%in: f32, %out: f32) {
    %s = arith.addf %in, %v : f32
    linalg.yield %s : f32
  }
  return %y : memref<?xf32>
}

// An argument, and a buffer that is returned twice, are copied.
// CHECK-LABEL: func.func @copied.run(
// CHECK: %[[X:.*]] = ssm.arg
// CHECK: %[[X2:.*]] = ssm.output %{{.*}}[0]
// CHECK: memref.copy %[[X]], %[[X2]]
// CHECK: %[[Y:.*]] = ssm.output %{{.*}}[1]
// CHECK: %[[Y2:.*]] = ssm.output %{{.*}}[2]
// CHECK: memref.copy %[[Y]], %[[Y2]]
func.func @copied(%x: memref<4xf32>) -> (memref<4xf32>, memref<4xf32>, memref<4xf32>) {
  %y = memref.alloc() : memref<4xf32>
  return %x, %y, %y : memref<4xf32>, memref<4xf32>, memref<4xf32>
}

// A copy comes after the last write of what it copies, in a loop or not, and before
// reads that follow.
// CHECK-LABEL: func.func @early.run(
// CHECK: %[[A:.*]] = memref.alloc
// CHECK: scf.for
// CHECK: memref.store
// CHECK: }
// CHECK: %[[TAIL:.*]] = memref.subview %[[A]]
// CHECK: %[[OUT:.*]] = ssm.output %{{.*}}[0]
// CHECK: memref.copy %[[TAIL]], %[[OUT]]
// CHECK: linalg.map ins(%[[A]]
// CHECK: return
func.func @early(%x: memref<8xf32>) -> (memref<3xf32>, memref<8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %a = memref.alloc() : memref<8xf32>
  scf.for %i = %c0 to %c8 step %c1 {
    %v = memref.load %x[%i] : memref<8xf32>
    memref.store %v, %a[%i] : memref<8xf32>
  }
  %tail = memref.subview %a[5] [3] [1] : memref<8xf32> to memref<3xf32, strided<[1], offset: 5>>
  %y = memref.alloc() : memref<8xf32>
  linalg.map ins(%a : memref<8xf32>) outs(%y : memref<8xf32>) (%in: f32, %out: f32) {
    %s = arith.addf %in, %in : f32
    linalg.yield %s : f32
  }
  %t = memref.alloc() : memref<3xf32>
  memref.copy %tail, %t : memref<3xf32, strided<[1], offset: 5>> to memref<3xf32>
  return %t, %y : memref<3xf32>, memref<8xf32>
}

// A repeated function gets the table, the context and places for its results; the
// caller's buffer, here the output itself, has the sizes that the call tells.
// CHECK-LABEL: func.func @calls.run(
// CHECK-SAME: %[[T:[^:]*]]: !llvm.ptr, %[[C:[^:]*]]: !llvm.ptr
// CHECK: %[[N:.*]] = memref.dim
// CHECK: %[[A:.*]] = memref.alloc(%[[N]]) : memref<?xf32>
// CHECK: %{{.*}} = call @repeated(%[[T]], %[[C]], %{{.*}}, %[[N]], %[[A]])
// CHECK: %[[Y:.*]] = ssm.output %[[T]], %[[C]][0] (%[[N]])
// CHECK: %{{.*}} = call @repeated(%[[T]], %[[C]], %[[A]], %[[N]], %[[Y]])
// CHECK-NOT: memref.copy
func.func @calls(%x: memref<?xf32>) -> memref<?xf32> {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?xf32>
  %y = call @repeated(%x, %n) : (memref<?xf32>, index) -> memref<?xf32>
  %z = call @repeated(%y, %n) : (memref<?xf32>, index) -> memref<?xf32>
  return %z : memref<?xf32>
}
// CHECK: func.func private @repeated(%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %[[X:.*]]: memref<?xf32>, %{{.*}}: index, %[[P:.*]]: memref<?xf32> {ssm.result_place}) -> i32 attributes {ssm.repeated}
// CHECK-NOT: memref.alloc
// CHECK: linalg.map {{.*}} ins(%[[X]]{{.*}}) outs(%[[P]]
func.func private @repeated(%x: memref<?xf32>, %n: index) -> (memref<?xf32> {ssm.sizes = array<i64: 1>}) attributes {ssm.repeated} {
  %y = memref.alloc(%n) : memref<?xf32>
  linalg.map { math.exp } ins(%x : memref<?xf32>) outs(%y : memref<?xf32>)
  return %y : memref<?xf32>
}

// A result that is a view of a buffer: the buffer is a view of the output.
// CHECK-LABEL: func.func @reshaped.run(
// CHECK: %[[N:.*]] = memref.dim
// CHECK: %[[S:.*]] = ssm.output %{{.*}}[0] (%[[N]]) : !llvm.ptr, !llvm.ptr -> memref<?x4xf32>
// CHECK: %[[A:.*]] = memref.expand_shape %[[S]] {{\[}}[0, 1], [2]] output_shape [%[[N]], 1, 4]
// CHECK: %[[M:.*]] = arith.muli
// CHECK: %[[J:.*]] = ssm.output %{{.*}}[1] (%[[M]]) : !llvm.ptr, !llvm.ptr -> memref<?xf32>
// CHECK: %[[B:.*]] = memref.expand_shape %[[J]] {{\[}}[0, 1]] output_shape [%[[N]], 4]
// CHECK: %[[W:.*]] = ssm.output %{{.*}}[2] (%[[N]]) : !llvm.ptr, !llvm.ptr -> memref<?x2x2xf32>
// CHECK: %[[C:.*]] = memref.collapse_shape %[[W]] {{\[}}[0], [1, 2]]
// CHECK: linalg.copy ins(%{{.*}}) outs(%[[A]]
// CHECK: linalg.copy ins(%{{.*}}) outs(%[[B]]
// CHECK: linalg.copy ins(%{{.*}}) outs(%[[C]]
// CHECK-NOT: memref.copy
// CHECK: return
func.func @reshaped(%x: memref<?x1x4xf32>, %y: memref<?x4xf32>) -> (memref<?x4xf32>, memref<?xf32>, memref<?x2x2xf32>) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x1x4xf32>
  %a = memref.alloc(%n) : memref<?x1x4xf32>
  %b = memref.alloc(%n) : memref<?x4xf32>
  %c = memref.alloc(%n) : memref<?x4xf32>
  linalg.copy ins(%x : memref<?x1x4xf32>) outs(%a : memref<?x1x4xf32>)
  linalg.copy ins(%y : memref<?x4xf32>) outs(%b : memref<?x4xf32>)
  linalg.copy ins(%y : memref<?x4xf32>) outs(%c : memref<?x4xf32>)
  %s = memref.collapse_shape %a [[0, 1], [2]] : memref<?x1x4xf32> into memref<?x4xf32>
  %j = memref.collapse_shape %b [[0, 1]] : memref<?x4xf32> into memref<?xf32>
  %w = memref.expand_shape %c [[0], [1, 2]] output_shape [%n, 2, 2] : memref<?x4xf32> into memref<?x2x2xf32>
  return %s, %j, %w : memref<?x4xf32>, memref<?xf32>, memref<?x2x2xf32>
}

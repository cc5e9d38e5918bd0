// RUN: ssm-opt %s -ssm-outline-kernels | FileCheck %s

// CHECK: module attributes {ssm.kernels.checked = ["kernel_map_addi"], ssm.kernels.main = ["kernel_map_exp", "kernel_map_negf"], ssm.kernels.parallel = ["kernel_loop"]}

// Two equal nests call one kernel; each has the table and the context, its pointers
// and its dynamic sizes.
// CHECK-LABEL: func.func @main.run(
// CHECK-SAME: %[[T:[a-z0-9]*]]: !llvm.ptr, %[[C:[a-z0-9]*]]: !llvm.ptr,
// CHECK: %[[N:.*]] = memref.dim
// CHECK: call @kernel_map_exp(%[[T]], %[[C]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) : (!llvm.ptr, !llvm.ptr, !llvm.ptr, index, !llvm.ptr, index) -> ()
// CHECK: call @kernel_map_exp(
// CHECK: call @kernel_map_negf(
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @main.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                    %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "main"} {
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<?xf32>
  %n = memref.dim %x, %c0 : memref<?xf32>
  %a = ssm.arena_view %arena[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  %y = ssm.output %t, %c[0] (%n) : !llvm.ptr, !llvm.ptr -> memref<?xf32>
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
                  iterator_types = ["parallel"]}
      ins(%x : memref<?xf32>) outs(%a : memref<?xf32>) {
  ^bb0(%in: f32, %out: f32):
    %v = math.exp %in : f32
    linalg.yield %v : f32
  }
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
                  iterator_types = ["parallel"]}
      ins(%a : memref<?xf32>) outs(%y : memref<?xf32>) {
  ^bb0(%in: f32, %out: f32):
    %v = math.exp %in : f32
    linalg.yield %v : f32
  }
  // In place: one buffer, one pointer.
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      outs(%y : memref<?xf32>) {
  ^bb0(%out: f32):
    %v = arith.negf %out : f32
    linalg.yield %v : f32
  }
  return %ok : i32
}

// A nest with a check stays; what it holds goes out.
// CHECK-LABEL: func.func @checked.run
// CHECK: scf.for
// CHECK: ssm.check
// CHECK: func.call @kernel_
func.func @checked.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                       %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "checked"} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %ok = arith.constant 0 : i32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<4xi64>
  %a = ssm.arena_view %arena[%c0] () : !llvm.ptr -> memref<4xi64>
  scf.for %i = %c0 to %c4 step %c1 {
    %v = memref.load %x[%i] : memref<4xi64>
    %in = arith.cmpi eq, %v, %v : i64
    ssm.check %in, "node", "value {0}" values(%v : i64)
    linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
                    iterator_types = ["parallel"]}
        ins(%x : memref<4xi64>) outs(%a : memref<4xi64>) {
    ^bb0(%in2: i64, %out: i64):
      %s = arith.addi %in2, %v : i64
      linalg.yield %s : i64
    }
  }
  return %ok : i32
}

// A parallel loop is a nest.
// CHECK-LABEL: func.func @parallel.run
// CHECK: call @kernel_loop(
// CHECK-NOT: ssm.parallel_for
// CHECK: return
func.func @parallel.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                        %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "parallel"} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %ok = arith.constant 0 : i32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<?xf32>
  %n = memref.dim %x, %c0 : memref<?xf32>
  %a = ssm.arena_view %arena[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  ssm.parallel_for %n grain %c1 {
  ^bb0(%lo: index, %hi: index):
    scf.for %i = %lo to %hi step %c1 {
      memref.store %zero, %a[%i] : memref<?xf32>
    }
  }
  return %ok : i32
}

// CHECK: func.func private @kernel_map_exp(%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: index, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: index)
// CHECK-SAME: passthrough = ["noinline"]
// CHECK: ssm.arena_view
// CHECK: linalg.generic
// CHECK: func.func private @kernel_map_negf(%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: index)

// RUN: ssm-opt %s -split-input-file "-ssm-outline-kernels=device=true" "-ssm-emit-device-kernels=chip=sm_90a" -canonicalize -cse -ssm-verify-sync | FileCheck %s
// RUN: ssm-opt %s -split-input-file "-ssm-outline-kernels=device=true" | FileCheck %s --check-prefix=MARKS
// RUN: ssm-opt %s -split-input-file "-ssm-outline-kernels=device=true" "-ssm-emit-device-kernels=chip=sm_80" -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefix=OLD

// An input of the run is written by none of its kernels: the second one reads it before it waits for
// the first, and the runtime is told so (flags 1 and 4). What the first one made it reads after.
// Rows that one kernel has are few: each thread has one vector, and the scale's before there is a row.
// OLD: gpu.func @kernel_rmsnorm
// OLD-NOT: griddepcontrol
// MARKS: func.func private @kernel_rmsnorm({{.*}}%[[SCALE:[a-z0-9]*]]: !llvm.ptr {llvm.noalias, ssm.input}
// MARKS: func.func private @kernel_matmul
// MARKS-SAME: ssm.input
// CHECK: gpu.func @kernel_rmsnorm_few(
// CHECK-SAME: ssm.flags = 5
// CHECK: vector.load {{.*}}vector<8xf32>
// CHECK: nvvm.griddepcontrol wait
// CHECK: vector.load {{.*}}vector<8xbf16>
// CHECK: gpu.func @kernel_rmsnorm_row(
// CHECK-SAME: ssm.flags = 5
// CHECK: nvvm.prefetch level = L2
// CHECK: nvvm.griddepcontrol wait
// CHECK: vector.load
// CHECK: gpu.func @kernel_matmul
// CHECK-SAME: ssm.flags = 5
// CHECK: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<1> -> vector<8xbf16>
// CHECK: nvvm.griddepcontrol wait
// CHECK: vector.load

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
#ij = affine_map<(i, j) -> (i, j)>
#j = affine_map<(i, j) -> (j)>
func.func @main.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                    %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "main"} {
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %one = arith.constant 1.0 : f32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<1x2560xbf16>
  %w = ssm.arg %args[1] : !llvm.ptr -> memref<5120x2560xbf16>
  %scale = ssm.arg %args[2] : !llvm.ptr -> memref<2560xf32>
  %a = ssm.arena_view %arena[%c0] () : !llvm.ptr -> memref<1x2560xbf16>
  %y = ssm.output %t, %c[0] () : !llvm.ptr, !llvm.ptr -> memref<1x5120xbf16>
  ssm.kernel loops 2 ins(%scale, %x : memref<2560xf32>, memref<1x2560xbf16>) outs(%a : memref<1x2560xbf16>) maps [#j, #ij, #ij] {
  ^bb0(%s: f32, %v: bf16):
    %wide = arith.extf %v : bf16 to f32
    %square = arith.mulf %wide, %wide : f32
    %sum = ssm.reduce addf %square over [1] : f32
    %moved = arith.addf %sum, %one : f32
    %root = math.sqrt %moved : f32
    %normal = arith.divf %wide, %root : f32
    %scaled = arith.mulf %normal, %s : f32
    %r = arith.truncf %scaled : f32 to bf16
    ssm.yield %r : bf16
  }
  ssm.kernel loops 3 ins(%a, %w : memref<1x2560xbf16>, memref<5120x2560xbf16>) outs(%y : memref<1x5120xbf16>) maps [#mk, #nk, #mn] {
  ^bb0(%l: bf16, %r: bf16):
    %wideL = arith.extf %l : bf16 to f32
    %wideR = arith.extf %r : bf16 to f32
    %p = arith.mulf %wideL, %wideR : f32
    %s = ssm.reduce addf %p over [2] : f32
    %n = arith.truncf %s : f32 to bf16
    ssm.yield %n : bf16
  }
  return %ok : i32
}

// -----

// A kernel that runs alone could not begin earlier.
// MARKS: func.func private @kernel_matmul_1280x5120{{.*}}
// MARKS-NOT: ssm.input
// MARKS: return
// CHECK: gpu.func @kernel_matmul_1280x5120_{{.*}}ssm.flags = 1
// CHECK: nvvm.griddepcontrol wait
// CHECK: llvm.load

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func @main.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                    %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "main"} {
  %ok = arith.constant 0 : i32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<1x1280xbf16>
  %w = ssm.arg %args[1] : !llvm.ptr -> memref<5120x1280xbf16>
  %y = ssm.output %t, %c[0] () : !llvm.ptr, !llvm.ptr -> memref<1x5120xbf16>
  ssm.kernel loops 3 ins(%x, %w : memref<1x1280xbf16>, memref<5120x1280xbf16>) outs(%y : memref<1x5120xbf16>) maps [#mk, #nk, #mn] {
  ^bb0(%l: bf16, %r: bf16):
    %wideL = arith.extf %l : bf16 to f32
    %wideR = arith.extf %r : bf16 to f32
    %p = arith.mulf %wideL, %wideR : f32
    %s = ssm.reduce addf %p over [2] : f32
    %n = arith.truncf %s : f32 to bf16
    ssm.yield %n : bf16
  }
  return %ok : i32
}

// -----

// A window's single step is few points: a form of its own begins early, without a loop. So does the
// state's. Both read what is an input before they wait.
// CHECK: ssm.launch {{.*}} @device::@[[WINDOW:[a-z0-9_]*]]_step
// CHECK: gpu.func @[[WINDOW]]_step(
// CHECK-SAME: ssm.flags = 5
// CHECK-NOT: scf.for
// CHECK: memref.load
// CHECK: memref.load
// CHECK: nvvm.griddepcontrol wait
// CHECK: memref.store
// CHECK: gpu.func @[[WINDOW]](
// CHECK-SAME: ssm.flags = 0
// CHECK: gpu.func @[[STATE:[a-z0-9_]*]]_step(
// CHECK-SAME: ssm.flags = 5
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x16xf32>, vector<4xf32>
// CHECK: nvvm.griddepcontrol wait
// CHECK: memref.load %{{.*}} : memref<?x?xf32>
func.func @main.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                    %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "main"} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %ok = arith.constant 0 : i32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<?x?xf32>
  %past = ssm.arg %args[1] : !llvm.ptr -> memref<?xf32>
  %h = ssm.arg %args[2] : !llvm.ptr -> memref<?x16xf32>
  %n = memref.dim %x, %c0 : memref<?x?xf32>
  %d = memref.dim %x, %c1 : memref<?x?xf32>
  %next = ssm.output %t, %c[0] (%d) : !llvm.ptr, !llvm.ptr -> memref<?xf32>
  %e = ssm.output %t, %c[1] (%d) : !llvm.ptr, !llvm.ptr -> memref<?x16xf32>
  %y = ssm.output %t, %c[2] (%n, %d) : !llvm.ptr, !llvm.ptr -> memref<?x?xf32>
  %a = ssm.arena_view %arena[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 time 0 ins(%x : memref<?x?xf32>) inits(%past : memref<?xf32>)
      outs(%next, %a : memref<?xf32>, memref<?x?xf32>)
      maps [affine_map<(t, d) -> (t, d)>, affine_map<(t, d) -> (d)>, affine_map<(t, d) -> (d)>,
            affine_map<(t, d) -> (t, d)>] {
    ^bb0(%v: f32, %p: f32):
      %r = arith.addf %v, %p : f32
      ssm.yield %v, %r : f32, f32
  }
  ssm.kernel loops 3 time 0 ins(%a : memref<?x?xf32>) inits(%h : memref<?x16xf32>)
      outs(%e, %y : memref<?x16xf32>, memref<?x?xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (d, n)>,
            affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (t, d)>] {
    ^bb0(%v: f32, %p: f32):
      %m = arith.mulf %v, %p : f32
      %s = ssm.reduce addf %m over [2] : f32
      ssm.yield %m, %s : f32, f32
  }
  return %ok : i32
}

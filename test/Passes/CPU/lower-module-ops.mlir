// RUN: ssm-opt %s -ssm-lower-module-ops | FileCheck %s

// CHECK: module attributes {ssm.checks.looped = [], ssm.checks.main = [{node = "'g' (Gather)", text = "index {0} is out of range"}]}

// A failed check returns what the table's report gives; what follows does not run.
// CHECK-LABEL: func.func @main.run
// CHECK: cf.cond_br %{{.*}}, ^[[GO:.*]], ^[[FAIL:bb[0-9]+]]
// CHECK: ^[[GO]]:
// CHECK: return %c0_i32
// CHECK: ^[[FAIL]]:
// CHECK: %[[STATUS:.*]] = llvm.call %{{.*}}(%arg1, %{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i32, !llvm.ptr, i32) -> i32
// CHECK: return %[[STATUS]]
func.func @main.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                    %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "main"} {
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<?xi64>
  %v = memref.load %x[%c0] : memref<?xi64>
  %c7 = arith.constant 7 : i64
  %in = arith.cmpi slt, %v, %c7 : i64
  ssm.check %in, "'g' (Gather)", "index {0} is out of range" values(%v : i64)
  return %ok : i32
}

// No output to write to ends the run.
// CHECK-LABEL: func.func @refused.run
// CHECK: %[[P:.*]] = llvm.call %{{.*}} -> !llvm.ptr
// CHECK: %[[OK:.*]] = llvm.icmp "ne" %[[P]]
// CHECK: cf.cond_br %[[OK]]
// CHECK: %[[S:.*]] = arith.constant 3 : i32
// CHECK: return %[[S]]
func.func @refused.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                       %weights: !llvm.ptr) -> i32 {
  %ok = arith.constant 0 : i32
  %one = arith.constant 1.0 : f32
  %c0 = arith.constant 0 : index
  %n = arith.constant 5 : index
  %y = ssm.output %t, %c[0] (%n) : !llvm.ptr, !llvm.ptr -> memref<?xf32>
  memref.store %one, %y[%c0] : memref<?xf32>
  return %ok : i32
}

// A repeated function's status ends the run unless it is 0; numbers that a loop
// counts choose the input and the output.
// CHECK-LABEL: func.func @looped.run(
// CHECK: llvm.mul %{{.*}}, %{{.*}} : i64
// CHECK: llvm.load
// CHECK: %[[STATUS:.*]] = call @repeated(
// CHECK: %[[OK:.*]] = arith.cmpi eq, %[[STATUS]], %{{.*}}
// CHECK: cf.cond_br %[[OK]], ^bb{{[0-9]+}}, ^[[FAIL:bb[0-9]+]]
// CHECK: ^[[FAIL]]:
// CHECK-NEXT: return %[[STATUS]]
func.func @looped.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                      %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "looped"} {
  %ok = arith.constant 0 : i32
  %place = arith.constant 3 : i64
  %x = ssm.arg %args[0 or %place] : !llvm.ptr -> memref<8xf32>
  %0 = call @repeated(%t, %c, %x) : (!llvm.ptr, !llvm.ptr, memref<8xf32>) -> i32
  return %ok : i32
}
func.func private @repeated(%t: !llvm.ptr, %c: !llvm.ptr, %x: memref<8xf32>) -> i32 attributes {ssm.repeated} {
  %ok = arith.constant 0 : i32
  return %ok : i32
}

// A map of 128 bytes on the stack, made before the launch, which gets it where other arguments are
// stored: axes from the innermost one, strides in bytes, bf16, swizzled over 128 bytes.
// CHECK-LABEL: func.func @mapped.run
// CHECK-DAG: %[[RANK:.*]] = llvm.mlir.constant(2 : i32)
// CHECK-DAG: %[[TYPE:.*]] = llvm.mlir.constant(16 : i32)
// CHECK-DAG: %[[SWIZZLE:.*]] = llvm.mlir.constant(3 : i32)
// CHECK-DAG: %[[MAP:.*]] = llvm.alloca %{{.*}} x i8 {alignment = 64 : i64}
// CHECK: llvm.call %{{.*}}(%{{.*}}, %[[MAP]], %[[TYPE]], %[[RANK]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[SWIZZLE]])
// CHECK: cf.cond_br
// CHECK: llvm.store %[[MAP]], %{{.*}} : !llvm.ptr, !llvm.ptr
func.func @mapped.run(%t: !llvm.ptr, %c: !llvm.ptr, %x: memref<?x64xbf16>, %n: index) -> i32
    attributes {ssm.repeated} {
  %map = ssm.tensor_map %t, %c %x box [128, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<?x64xbf16> -> !llvm.ptr
  ssm.launch %t, %c @kernels::@copies grid(%n, %n, %n) threads %n args(%n, %map : index, !llvm.ptr) : !llvm.ptr, !llvm.ptr
  %0 = arith.constant 0 : i32
  return %0 : i32
}
gpu.module @kernels {
  gpu.func @copies(%n: index, %map: !llvm.ptr) kernel attributes {ssm.tensor_maps = array<i32: 1>} {
    gpu.return
  }
}

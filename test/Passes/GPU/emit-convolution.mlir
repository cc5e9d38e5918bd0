// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_80" -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefixes=MMA,CHECK
// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_75" -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefixes=OLD,CHECK

// A product of weights [o, (k, c)] with windows: chunks of eight channels are copied from where the
// window is, or zeros where it is outside of the input.
// MMA-LABEL: func.func private @kernel_conv(
// MMA: ssm.launch {{.*}} @device::@kernel_conv_split
// MMA: ssm.launch {{.*}} @device::@kernel_conv_split_sums
// MMA: gpu.func @kernel_conv_split(
// MMA: scf.for
// MMA:   nvvm.cp.async.wait.group
// MMA:   %[[TAP:.*]] = arith.divui %{{.*}}, %c8_i32
// MMA:   %[[ROW:.*]] = arith.addi %{{.*}}, %[[TAP]] : i32
// MMA:   %[[IN:.*]] = arith.cmpi ult, %[[ROW]], %{{.*}} : i32
// MMA:   %[[BOTH:.*]] = arith.andi %[[IN]], %{{.*}} : i1
// MMA:   %[[SIZE:.*]] = arith.select %[[BOTH]], %{{.*}}, %c0_i32 : i32
// MMA:   nvvm.cp.async.shared.global {{.*}}, 16, cache = cg, %[[SIZE]]
// MMA:   nvvm.mma.sync
// OLD-LABEL: gpu.func @kernel_conv(
// OLD-NOT: nvvm.cp.async
// OLD: memref.load
#wmap = affine_map<(n, o, i, k, c) -> (o, k, c)>
#omap = affine_map<(n, o, i, k, c) -> (n, o, i)>
func.func private @kernel_conv(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %wp: !llvm.ptr {llvm.noalias}, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c40 = arith.constant 40 : index
  %zero = arith.constant 0.0 : bf16
  %x = ssm.arena_view %xp[%c0] () : !llvm.ptr -> memref<2x40x8xbf16>
  %w = ssm.arena_view %wp[%c0] () : !llvm.ptr -> memref<64x3x8xbf16>
  %y = ssm.arena_view %yp[%c0] () : !llvm.ptr -> memref<2x64x40xbf16>
  ssm.kernel loops 5 ins(%w : memref<64x3x8xbf16>) outs(%y : memref<2x64x40xbf16>) maps [#wmap, #omap] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%f: bf16):
    %n = ssm.index 0
    %i = ssm.index 2
    %k = ssm.index 3
    %c = ssm.index 4
    %s = arith.addi %i, %k : index
    %at = arith.subi %s, %c1 : index
    %in = arith.cmpi ult, %at, %c40 : index
    %safe = arith.select %in, %at, %c0 : index
    %e = memref.load %x[%n, %safe, %c] : memref<2x40x8xbf16>
    %v = arith.select %in, %e, %zero : bf16
    %0 = arith.extf %v : bf16 to f32
    %1 = arith.extf %f : bf16 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = ssm.reduce addf %2 over [3, 4] : f32
    %4 = arith.truncf %3 : f32 to bf16
    ssm.yield %4 : bf16
  }
  return
}

// Of a single channel: a thread has eight places of four rows, and reads each row of the input
// that they need once: six of them, three vectors each.
// CHECK-LABEL: gpu.func @kernel_channels_wide(
// CHECK-NOT: scf.for
// CHECK-COUNT-18: vector.load %{{.*}} {alignment = 16 : i64} : memref<4x16x32xbf16>, vector<8xbf16>
// CHECK-NOT: vector.load
// CHECK-COUNT-4: vector.store %{{.*}} {alignment = 16 : i64} : memref<4x16x32xbf16>, vector<8xbf16>
func.func private @kernel_channels(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %wp: !llvm.ptr {llvm.noalias}, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  %c32 = arith.constant 32 : index
  %zero = arith.constant 0.0 : bf16
  %x = ssm.arena_view %xp[%c0] () : !llvm.ptr -> memref<4x16x32xbf16>
  %w = ssm.arena_view %wp[%c0] () : !llvm.ptr -> memref<4x3x3xbf16>
  %y = ssm.arena_view %yp[%c0] () : !llvm.ptr -> memref<4x16x32xbf16>
  ssm.kernel loops 5 ins(%w : memref<4x3x3xbf16>) outs(%y : memref<4x16x32xbf16>)
      maps [affine_map<(c, i, j, k, l) -> (c, k, l)>, affine_map<(c, i, j, k, l) -> (c, i, j)>] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%f: bf16):
    %c = ssm.index 0
    %i = ssm.index 1
    %j = ssm.index 2
    %k = ssm.index 3
    %l = ssm.index 4
    %si = arith.addi %i, %k : index
    %ati = arith.subi %si, %c1 : index
    %ini = arith.cmpi ult, %ati, %c16 : index
    %safei = arith.select %ini, %ati, %c0 : index
    %sj = arith.addi %j, %l : index
    %atj = arith.subi %sj, %c1 : index
    %inj = arith.cmpi ult, %atj, %c32 : index
    %safej = arith.select %inj, %atj, %c0 : index
    %in = arith.andi %ini, %inj : i1
    %e = memref.load %x[%c, %safei, %safej] : memref<4x16x32xbf16>
    %v = arith.select %in, %e, %zero : bf16
    %0 = arith.extf %v : bf16 to f32
    %1 = arith.extf %f : bf16 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = ssm.reduce addf %2 over [3, 4] : f32
    %4 = arith.truncf %3 : f32 to bf16
    ssm.yield %4 : bf16
  }
  return
}

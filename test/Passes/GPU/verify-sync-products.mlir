// RUN: ssm-opt %s -ssm-verify-sync -split-input-file -verify-diagnostics

// Registers of products of warpgroups.

// What is right: a fence in front of products, their sums read behind a wait.
func.func @host(%table: !llvm.ptr, %context: !llvm.ptr, %a: memref<64x64xbf16>, %b: memref<8x64xbf16>, %n: i32) {
  %c1 = arith.constant 1 : index
  %c256 = arith.constant 256 : index
  %ma = ssm.tensor_map %table, %context %a box [64, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<64x64xbf16> -> !llvm.ptr
  %mb = ssm.tensor_map %table, %context %b box [8, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<8x64xbf16> -> !llvm.ptr
  ssm.launch %table, %context @device::@product grid(%c1, %c1, %c1) threads %c256 args(%ma, %mb, %n : !llvm.ptr, !llvm.ptr, i32) : !llvm.ptr, !llvm.ptr
  return
}
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @product(%ma: !llvm.ptr, %mb: !llvm.ptr, %n: i32) kernel
      attributes {ssm.max_threads = 256 : i64, ssm.dynamic_shared = 9232 : i64, ssm.tensor_maps = array<i32: 0, 1>} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c128 = arith.constant 128 : i32
    %ticks = arith.constant 1000 : i32
    %bytes = arith.constant 9216 : i32
    %left = arith.constant 4611686293305360384 : i64
    %right = arith.constant 4611686293305360896 : i64
    %f = arith.constant 1.0 : f32
    %none = llvm.mlir.zero : !llvm.struct<(f32, f32, f32, f32)>
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %b = llvm.getelementptr %a[8192] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %full = llvm.getelementptr %a[9216] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %empty = llvm.getelementptr %a[9224] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %a7 = llvm.addrspacecast %a : !llvm.ptr<3> to !llvm.ptr<7>
    %b7 = llvm.addrspacecast %b : !llvm.ptr<3> to !llvm.ptr<7>
    %isFirst = arith.cmpi eq, %t, %c0 : i32
    scf.if %isFirst {
      nvvm.mbarrier.init %full, %c1 : !llvm.ptr<3>, i32
      nvvm.mbarrier.init %empty, %c1 : !llvm.ptr<3>, i32
      nvvm.fence.mbarrier.init
    }
    gpu.barrier
    %isProducer = arith.cmpi ult, %t, %c128 : i32
    scf.if %isProducer {
      scf.if %isFirst {
        scf.for %i = %c0 to %n step %c1 iter_args(%phase = %c1) -> (i32) : i32 {
          nvvm.mbarrier.try_wait.parity %empty, %phase, %ticks : !llvm.ptr<3>, i32, i32
          nvvm.mbarrier.arrive.expect_tx %full, %bytes : !llvm.ptr<3>, i32
          nvvm.cp.async.bulk.tensor.shared.cluster.global %a7, %ma, %full, box[%c0, %c0] : !llvm.ptr<7>, !llvm.ptr
          nvvm.cp.async.bulk.tensor.shared.cluster.global %b7, %mb, %full, box[%c0, %c0] : !llvm.ptr<7>, !llvm.ptr
          %next = arith.xori %phase, %c1 : i32
          scf.yield %next : i32
        }
      }
    } else {
      %isTelling = arith.cmpi eq, %t, %c128 : i32
      scf.for %i = %c0 to %n step %c1 iter_args(%phase = %c0) -> (i32) : i32 {
        nvvm.mbarrier.try_wait.parity %full, %phase, %ticks : !llvm.ptr<3>, i32, i32
        nvvm.wgmma.fence.aligned
        %sums = nvvm.wgmma.mma_async %left, %right, %none, <m = 64, n = 8, k = 16>, D [<f32>, #nvvm.wgmma_scale_out<one>], A [<bf16>, #nvvm.wgmma_scale_in<one>, <row>], B [<bf16>, #nvvm.wgmma_scale_in<one>, <col>] : !llvm.struct<(f32, f32, f32, f32)> -> !llvm.struct<(f32, f32, f32, f32)>
        nvvm.wgmma.commit.group.sync.aligned
        nvvm.wgmma.wait.group.sync.aligned 0
        %sum = llvm.extractvalue %sums[0] : !llvm.struct<(f32, f32, f32, f32)>
        scf.if %isTelling {
          nvvm.mbarrier.arrive %empty : !llvm.ptr<3>
        }
        %next = arith.xori %phase, %c1 : i32
        scf.yield %next : i32
      }
    }
    gpu.return
  }
}

// -----

// No fence in front.
func.func @host(%table: !llvm.ptr, %context: !llvm.ptr, %a: memref<64x64xbf16>, %b: memref<8x64xbf16>, %n: i32) {
  %c1 = arith.constant 1 : index
  %c256 = arith.constant 256 : index
  %ma = ssm.tensor_map %table, %context %a box [64, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<64x64xbf16> -> !llvm.ptr
  %mb = ssm.tensor_map %table, %context %b box [8, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<8x64xbf16> -> !llvm.ptr
  ssm.launch %table, %context @device::@product grid(%c1, %c1, %c1) threads %c256 args(%ma, %mb, %n : !llvm.ptr, !llvm.ptr, i32) : !llvm.ptr, !llvm.ptr
  return
}
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @product(%ma: !llvm.ptr, %mb: !llvm.ptr, %n: i32) kernel
      attributes {ssm.max_threads = 256 : i64, ssm.dynamic_shared = 9232 : i64, ssm.tensor_maps = array<i32: 0, 1>} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c128 = arith.constant 128 : i32
    %ticks = arith.constant 1000 : i32
    %bytes = arith.constant 9216 : i32
    %left = arith.constant 4611686293305360384 : i64
    %right = arith.constant 4611686293305360896 : i64
    %f = arith.constant 1.0 : f32
    %none = llvm.mlir.zero : !llvm.struct<(f32, f32, f32, f32)>
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %b = llvm.getelementptr %a[8192] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %full = llvm.getelementptr %a[9216] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %empty = llvm.getelementptr %a[9224] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %a7 = llvm.addrspacecast %a : !llvm.ptr<3> to !llvm.ptr<7>
    %b7 = llvm.addrspacecast %b : !llvm.ptr<3> to !llvm.ptr<7>
    %isFirst = arith.cmpi eq, %t, %c0 : i32
    scf.if %isFirst {
      nvvm.mbarrier.init %full, %c1 : !llvm.ptr<3>, i32
      nvvm.mbarrier.init %empty, %c1 : !llvm.ptr<3>, i32
      nvvm.fence.mbarrier.init
    }
    gpu.barrier
    %isProducer = arith.cmpi ult, %t, %c128 : i32
    scf.if %isProducer {
      scf.if %isFirst {
        scf.for %i = %c0 to %n step %c1 iter_args(%phase = %c1) -> (i32) : i32 {
          nvvm.mbarrier.try_wait.parity %empty, %phase, %ticks : !llvm.ptr<3>, i32, i32
          nvvm.mbarrier.arrive.expect_tx %full, %bytes : !llvm.ptr<3>, i32
          nvvm.cp.async.bulk.tensor.shared.cluster.global %a7, %ma, %full, box[%c0, %c0] : !llvm.ptr<7>, !llvm.ptr
          nvvm.cp.async.bulk.tensor.shared.cluster.global %b7, %mb, %full, box[%c0, %c0] : !llvm.ptr<7>, !llvm.ptr
          %next = arith.xori %phase, %c1 : i32
          scf.yield %next : i32
        }
      }
    } else {
      %isTelling = arith.cmpi eq, %t, %c128 : i32
      scf.for %i = %c0 to %n step %c1 iter_args(%phase = %c0) -> (i32) : i32 {
        nvvm.mbarrier.try_wait.parity %full, %phase, %ticks : !llvm.ptr<3>, i32, i32
        // expected-error @+1 {{begins products, and no nvvm.wgmma.fence is in front}}
        %sums = nvvm.wgmma.mma_async %left, %right, %none, <m = 64, n = 8, k = 16>, D [<f32>, #nvvm.wgmma_scale_out<one>], A [<bf16>, #nvvm.wgmma_scale_in<one>, <row>], B [<bf16>, #nvvm.wgmma_scale_in<one>, <col>] : !llvm.struct<(f32, f32, f32, f32)> -> !llvm.struct<(f32, f32, f32, f32)>
        nvvm.wgmma.commit.group.sync.aligned
        nvvm.wgmma.wait.group.sync.aligned 0
        scf.if %isTelling {
          nvvm.mbarrier.arrive %empty : !llvm.ptr<3>
        }
        %next = arith.xori %phase, %c1 : i32
        scf.yield %next : i32
      }
    }
    gpu.return
  }
}

// -----

// Read, and not waited for.
func.func @host(%table: !llvm.ptr, %context: !llvm.ptr, %a: memref<64x64xbf16>, %b: memref<8x64xbf16>, %n: i32) {
  %c1 = arith.constant 1 : index
  %c256 = arith.constant 256 : index
  %ma = ssm.tensor_map %table, %context %a box [64, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<64x64xbf16> -> !llvm.ptr
  %mb = ssm.tensor_map %table, %context %b box [8, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<8x64xbf16> -> !llvm.ptr
  ssm.launch %table, %context @device::@product grid(%c1, %c1, %c1) threads %c256 args(%ma, %mb, %n : !llvm.ptr, !llvm.ptr, i32) : !llvm.ptr, !llvm.ptr
  return
}
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @product(%ma: !llvm.ptr, %mb: !llvm.ptr, %n: i32) kernel
      attributes {ssm.max_threads = 256 : i64, ssm.dynamic_shared = 9232 : i64, ssm.tensor_maps = array<i32: 0, 1>} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c128 = arith.constant 128 : i32
    %ticks = arith.constant 1000 : i32
    %bytes = arith.constant 9216 : i32
    %left = arith.constant 4611686293305360384 : i64
    %right = arith.constant 4611686293305360896 : i64
    %f = arith.constant 1.0 : f32
    %none = llvm.mlir.zero : !llvm.struct<(f32, f32, f32, f32)>
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %b = llvm.getelementptr %a[8192] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %full = llvm.getelementptr %a[9216] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %empty = llvm.getelementptr %a[9224] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %a7 = llvm.addrspacecast %a : !llvm.ptr<3> to !llvm.ptr<7>
    %b7 = llvm.addrspacecast %b : !llvm.ptr<3> to !llvm.ptr<7>
    %isFirst = arith.cmpi eq, %t, %c0 : i32
    scf.if %isFirst {
      nvvm.mbarrier.init %full, %c1 : !llvm.ptr<3>, i32
      nvvm.mbarrier.init %empty, %c1 : !llvm.ptr<3>, i32
      nvvm.fence.mbarrier.init
    }
    gpu.barrier
    %isProducer = arith.cmpi ult, %t, %c128 : i32
    scf.if %isProducer {
      scf.if %isFirst {
        scf.for %i = %c0 to %n step %c1 iter_args(%phase = %c1) -> (i32) : i32 {
          nvvm.mbarrier.try_wait.parity %empty, %phase, %ticks : !llvm.ptr<3>, i32, i32
          nvvm.mbarrier.arrive.expect_tx %full, %bytes : !llvm.ptr<3>, i32
          nvvm.cp.async.bulk.tensor.shared.cluster.global %a7, %ma, %full, box[%c0, %c0] : !llvm.ptr<7>, !llvm.ptr
          nvvm.cp.async.bulk.tensor.shared.cluster.global %b7, %mb, %full, box[%c0, %c0] : !llvm.ptr<7>, !llvm.ptr
          %next = arith.xori %phase, %c1 : i32
          scf.yield %next : i32
        }
      }
    } else {
      %isTelling = arith.cmpi eq, %t, %c128 : i32
      scf.for %i = %c0 to %n step %c1 iter_args(%phase = %c0) -> (i32) : i32 {
        nvvm.mbarrier.try_wait.parity %full, %phase, %ticks : !llvm.ptr<3>, i32, i32
        nvvm.wgmma.fence.aligned
        %sums = nvvm.wgmma.mma_async %left, %right, %none, <m = 64, n = 8, k = 16>, D [<f32>, #nvvm.wgmma_scale_out<one>], A [<bf16>, #nvvm.wgmma_scale_in<one>, <row>], B [<bf16>, #nvvm.wgmma_scale_in<one>, <col>] : !llvm.struct<(f32, f32, f32, f32)> -> !llvm.struct<(f32, f32, f32, f32)>
        nvvm.wgmma.commit.group.sync.aligned
        // expected-error @+1 {{reads sums of products that may not be done: no nvvm.wgmma.wait_group is between}}
        %sum = llvm.extractvalue %sums[0] : !llvm.struct<(f32, f32, f32, f32)>
        nvvm.wgmma.wait.group.sync.aligned 0
        scf.if %isTelling {
          nvvm.mbarrier.arrive %empty : !llvm.ptr<3>
        }
        %next = arith.xori %phase, %c1 : i32
        scf.yield %next : i32
      }
    }
    gpu.return
  }
}

// -----

// Waited for, but not put into a group: the group waited for is another one.
func.func @host(%table: !llvm.ptr, %context: !llvm.ptr, %a: memref<64x64xbf16>, %b: memref<8x64xbf16>, %n: i32) {
  %c1 = arith.constant 1 : index
  %c256 = arith.constant 256 : index
  %ma = ssm.tensor_map %table, %context %a box [64, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<64x64xbf16> -> !llvm.ptr
  %mb = ssm.tensor_map %table, %context %b box [8, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<8x64xbf16> -> !llvm.ptr
  ssm.launch %table, %context @device::@product grid(%c1, %c1, %c1) threads %c256 args(%ma, %mb, %n : !llvm.ptr, !llvm.ptr, i32) : !llvm.ptr, !llvm.ptr
  return
}
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @product(%ma: !llvm.ptr, %mb: !llvm.ptr, %n: i32) kernel
      attributes {ssm.max_threads = 256 : i64, ssm.dynamic_shared = 9232 : i64, ssm.tensor_maps = array<i32: 0, 1>} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c128 = arith.constant 128 : i32
    %ticks = arith.constant 1000 : i32
    %bytes = arith.constant 9216 : i32
    %left = arith.constant 4611686293305360384 : i64
    %right = arith.constant 4611686293305360896 : i64
    %f = arith.constant 1.0 : f32
    %none = llvm.mlir.zero : !llvm.struct<(f32, f32, f32, f32)>
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %b = llvm.getelementptr %a[8192] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %full = llvm.getelementptr %a[9216] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %empty = llvm.getelementptr %a[9224] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %a7 = llvm.addrspacecast %a : !llvm.ptr<3> to !llvm.ptr<7>
    %b7 = llvm.addrspacecast %b : !llvm.ptr<3> to !llvm.ptr<7>
    %isFirst = arith.cmpi eq, %t, %c0 : i32
    scf.if %isFirst {
      nvvm.mbarrier.init %full, %c1 : !llvm.ptr<3>, i32
      nvvm.mbarrier.init %empty, %c1 : !llvm.ptr<3>, i32
      nvvm.fence.mbarrier.init
    }
    gpu.barrier
    %isProducer = arith.cmpi ult, %t, %c128 : i32
    scf.if %isProducer {
      scf.if %isFirst {
        scf.for %i = %c0 to %n step %c1 iter_args(%phase = %c1) -> (i32) : i32 {
          nvvm.mbarrier.try_wait.parity %empty, %phase, %ticks : !llvm.ptr<3>, i32, i32
          nvvm.mbarrier.arrive.expect_tx %full, %bytes : !llvm.ptr<3>, i32
          nvvm.cp.async.bulk.tensor.shared.cluster.global %a7, %ma, %full, box[%c0, %c0] : !llvm.ptr<7>, !llvm.ptr
          nvvm.cp.async.bulk.tensor.shared.cluster.global %b7, %mb, %full, box[%c0, %c0] : !llvm.ptr<7>, !llvm.ptr
          %next = arith.xori %phase, %c1 : i32
          scf.yield %next : i32
        }
      }
    } else {
      %isTelling = arith.cmpi eq, %t, %c128 : i32
      scf.for %i = %c0 to %n step %c1 iter_args(%phase = %c0) -> (i32) : i32 {
        nvvm.mbarrier.try_wait.parity %full, %phase, %ticks : !llvm.ptr<3>, i32, i32
        nvvm.wgmma.fence.aligned
        %sums = nvvm.wgmma.mma_async %left, %right, %none, <m = 64, n = 8, k = 16>, D [<f32>, #nvvm.wgmma_scale_out<one>], A [<bf16>, #nvvm.wgmma_scale_in<one>, <row>], B [<bf16>, #nvvm.wgmma_scale_in<one>, <col>] : !llvm.struct<(f32, f32, f32, f32)> -> !llvm.struct<(f32, f32, f32, f32)>
        nvvm.wgmma.wait.group.sync.aligned 0
        // expected-error @+1 {{reads sums of products that may not be done: no nvvm.wgmma.wait_group is between}}
        %sum = llvm.extractvalue %sums[0] : !llvm.struct<(f32, f32, f32, f32)>
        scf.if %isTelling {
          nvvm.mbarrier.arrive %empty : !llvm.ptr<3>
        }
        %next = arith.xori %phase, %c1 : i32
        scf.yield %next : i32
      }
    }
    gpu.return
  }
}

// -----

// The group before is done only.
func.func @host(%table: !llvm.ptr, %context: !llvm.ptr, %a: memref<64x64xbf16>, %b: memref<8x64xbf16>, %n: i32) {
  %c1 = arith.constant 1 : index
  %c256 = arith.constant 256 : index
  %ma = ssm.tensor_map %table, %context %a box [64, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<64x64xbf16> -> !llvm.ptr
  %mb = ssm.tensor_map %table, %context %b box [8, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<8x64xbf16> -> !llvm.ptr
  ssm.launch %table, %context @device::@product grid(%c1, %c1, %c1) threads %c256 args(%ma, %mb, %n : !llvm.ptr, !llvm.ptr, i32) : !llvm.ptr, !llvm.ptr
  return
}
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @product(%ma: !llvm.ptr, %mb: !llvm.ptr, %n: i32) kernel
      attributes {ssm.max_threads = 256 : i64, ssm.dynamic_shared = 9232 : i64, ssm.tensor_maps = array<i32: 0, 1>} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c128 = arith.constant 128 : i32
    %ticks = arith.constant 1000 : i32
    %bytes = arith.constant 9216 : i32
    %left = arith.constant 4611686293305360384 : i64
    %right = arith.constant 4611686293305360896 : i64
    %f = arith.constant 1.0 : f32
    %none = llvm.mlir.zero : !llvm.struct<(f32, f32, f32, f32)>
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %a = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %b = llvm.getelementptr %a[8192] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %full = llvm.getelementptr %a[9216] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %empty = llvm.getelementptr %a[9224] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %a7 = llvm.addrspacecast %a : !llvm.ptr<3> to !llvm.ptr<7>
    %b7 = llvm.addrspacecast %b : !llvm.ptr<3> to !llvm.ptr<7>
    %isFirst = arith.cmpi eq, %t, %c0 : i32
    scf.if %isFirst {
      nvvm.mbarrier.init %full, %c1 : !llvm.ptr<3>, i32
      nvvm.mbarrier.init %empty, %c1 : !llvm.ptr<3>, i32
      nvvm.fence.mbarrier.init
    }
    gpu.barrier
    %isProducer = arith.cmpi ult, %t, %c128 : i32
    scf.if %isProducer {
      scf.if %isFirst {
        scf.for %i = %c0 to %n step %c1 iter_args(%phase = %c1) -> (i32) : i32 {
          nvvm.mbarrier.try_wait.parity %empty, %phase, %ticks : !llvm.ptr<3>, i32, i32
          nvvm.mbarrier.arrive.expect_tx %full, %bytes : !llvm.ptr<3>, i32
          nvvm.cp.async.bulk.tensor.shared.cluster.global %a7, %ma, %full, box[%c0, %c0] : !llvm.ptr<7>, !llvm.ptr
          nvvm.cp.async.bulk.tensor.shared.cluster.global %b7, %mb, %full, box[%c0, %c0] : !llvm.ptr<7>, !llvm.ptr
          %next = arith.xori %phase, %c1 : i32
          scf.yield %next : i32
        }
      }
    } else {
      %isTelling = arith.cmpi eq, %t, %c128 : i32
      scf.for %i = %c0 to %n step %c1 iter_args(%phase = %c0) -> (i32) : i32 {
        nvvm.mbarrier.try_wait.parity %full, %phase, %ticks : !llvm.ptr<3>, i32, i32
        nvvm.wgmma.fence.aligned
        %sums = nvvm.wgmma.mma_async %left, %right, %none, <m = 64, n = 8, k = 16>, D [<f32>, #nvvm.wgmma_scale_out<one>], A [<bf16>, #nvvm.wgmma_scale_in<one>, <row>], B [<bf16>, #nvvm.wgmma_scale_in<one>, <col>] : !llvm.struct<(f32, f32, f32, f32)> -> !llvm.struct<(f32, f32, f32, f32)>
        nvvm.wgmma.commit.group.sync.aligned
        nvvm.wgmma.wait.group.sync.aligned 1
        // expected-error @+1 {{reads sums of products that may not be done: no nvvm.wgmma.wait_group is between}}
        %sum = llvm.extractvalue %sums[0] : !llvm.struct<(f32, f32, f32, f32)>
        nvvm.wgmma.wait.group.sync.aligned 0
        scf.if %isTelling {
          nvvm.mbarrier.arrive %empty : !llvm.ptr<3>
        }
        %next = arith.xori %phase, %c1 : i32
        scf.yield %next : i32
      }
    }
    gpu.return
  }
}

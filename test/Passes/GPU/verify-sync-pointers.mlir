// RUN: ssm-opt %s -ssm-verify-sync -split-input-file -verify-diagnostics

// Shared memory reached by pointers: threads are followed through what they do to it.

// What is right: copies by one thread, products by the others, one stage.
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

// Products do not wait for the copies.
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
        nvvm.wgmma.fence.aligned
        // expected-error@+1 {{reads shared memory that nothing was written to yet}}
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

// The copies do not wait for the products.
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
          nvvm.mbarrier.arrive.expect_tx %full, %bytes : !llvm.ptr<3>, i32
          // expected-error@+2 {{writes shared memory that was copied there and not read yet}}
          // expected-note@+1 {{the copy}}
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

// A stage is given back before the products have read it.
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
          // expected-error@+1 {{writes shared memory that a product may have to read yet}}
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
        // expected-note@+1 {{the product}}
        %sums = nvvm.wgmma.mma_async %left, %right, %none, <m = 64, n = 8, k = 16>, D [<f32>, #nvvm.wgmma_scale_out<one>], A [<bf16>, #nvvm.wgmma_scale_in<one>, <row>], B [<bf16>, #nvvm.wgmma_scale_in<one>, <col>] : !llvm.struct<(f32, f32, f32, f32)> -> !llvm.struct<(f32, f32, f32, f32)>
        nvvm.wgmma.commit.group.sync.aligned
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

// No stage is given back.
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
          // expected-error@+1 {{waits for a mbarrier whose arrivals or bytes never are complete}}
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
        %next = arith.xori %phase, %c1 : i32
        scf.yield %next : i32
      }
    }
    gpu.return
  }
}

// -----

// Fewer bytes are expected than copied.
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
    %bytes = arith.constant 8192 : i32
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
          // expected-note@+1 {{the copy}}
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
        // expected-error@+1 {{reads shared memory that a copy may write yet}}
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

// All threads arrive where one is counted.
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
      // expected-note@+1 {{where it is made}}
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
        // expected-error@+1 {{arrives at a mbarrier more often than it counts (1)}}
        nvvm.mbarrier.arrive %empty : !llvm.ptr<3>
        %next = arith.xori %phase, %c1 : i32
        scf.yield %next : i32
      }
    }
    gpu.return
  }
}

// -----

// Other threads may not see the mbarriers yet.
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
      // expected-note@+1 {{where it is made}}
      nvvm.mbarrier.init %full, %c1 : !llvm.ptr<3>, i32
      nvvm.mbarrier.init %empty, %c1 : !llvm.ptr<3>, i32
      nvvm.fence.mbarrier.init
    }
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
        // expected-error@+1 {{uses a mbarrier that another thread makes, and no barrier is between}}
        nvvm.mbarrier.try_wait.parity %full, %phase, %ticks : !llvm.ptr<3>, i32, i32
        nvvm.wgmma.fence.aligned
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

// Nor may the copies.
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
      // expected-note@+1 {{where it is made}}
      nvvm.mbarrier.init %full, %c1 : !llvm.ptr<3>, i32
      nvvm.mbarrier.init %empty, %c1 : !llvm.ptr<3>, i32
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
        // expected-error@+1 {{uses a mbarrier, and no nvvm.fence.mbarrier.init follows where it is made}}
        nvvm.mbarrier.try_wait.parity %full, %phase, %ticks : !llvm.ptr<3>, i32, i32
        nvvm.wgmma.fence.aligned
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

// A store that no proxy fence follows.
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
        %mine = llvm.getelementptr %b[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
        %isOne = arith.cmpi eq, %t, %c128 : i32
        scf.if %isOne {
          // expected-note@+1 {{the store}}
          llvm.store %f, %mine {alignment = 4 : i64} : f32, !llvm.ptr<3>
        }
        nvvm.barrier id = %c1 number_of_threads = %c128
        nvvm.wgmma.fence.aligned
        // expected-error@+1 {{reads shared memory past the threads, and no proxy fence follows a store}}
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

// Right: stores, a barrier, loads.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @right(%x: f32, %from: !llvm.ptr<1>) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c4 = arith.constant 4 : i32
    %c63 = arith.constant 63 : i32
    %c16 = arith.constant 16 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %other = arith.xori %t, %c63 : i32
    %offset = arith.muli %t, %c4 : i32
    %otherOffset = arith.muli %other, %c4 : i32
    %s = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %mine = llvm.getelementptr %s[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %theirs = llvm.getelementptr %s[%otherOffset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %x, %mine {alignment = 4 : i64} : f32, !llvm.ptr<3>
    gpu.barrier
    %v = llvm.load %theirs {alignment = 4 : i64} : !llvm.ptr<3> -> f32
    gpu.return
  }
}

// -----

// No barrier.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @store(%x: f32, %from: !llvm.ptr<1>) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c4 = arith.constant 4 : i32
    %c63 = arith.constant 63 : i32
    %c16 = arith.constant 16 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %other = arith.xori %t, %c63 : i32
    %offset = arith.muli %t, %c4 : i32
    %otherOffset = arith.muli %other, %c4 : i32
    %s = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %mine = llvm.getelementptr %s[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %theirs = llvm.getelementptr %s[%otherOffset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    // expected-note@+1 {{the other access}}
    llvm.store %x, %mine {alignment = 4 : i64} : f32, !llvm.ptr<3>
    // expected-error@+1 {{reads shared memory that another thread may have written, and no barrier is between}}
    %v = llvm.load %theirs {alignment = 4 : i64} : !llvm.ptr<3> -> f32
    gpu.return
  }
}

// -----

// Nor before the next store.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @load(%x: f32, %from: !llvm.ptr<1>) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c4 = arith.constant 4 : i32
    %c63 = arith.constant 63 : i32
    %c16 = arith.constant 16 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %other = arith.xori %t, %c63 : i32
    %offset = arith.muli %t, %c4 : i32
    %otherOffset = arith.muli %other, %c4 : i32
    %s = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %mine = llvm.getelementptr %s[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %theirs = llvm.getelementptr %s[%otherOffset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    llvm.store %x, %mine {alignment = 4 : i64} : f32, !llvm.ptr<3>
    gpu.barrier
    // expected-note@+1 {{the other access}}
    %v = llvm.load %theirs {alignment = 4 : i64} : !llvm.ptr<3> -> f32
    // expected-error@+1 {{writes shared memory that another thread may have to read yet, and no barrier is between}}
    llvm.store %x, %mine {alignment = 4 : i64} : f32, !llvm.ptr<3>
    gpu.return
  }
}

// -----

// A barrier, but nobody waits for the copies.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @copy(%x: f32, %from: !llvm.ptr<1>) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c4 = arith.constant 4 : i32
    %c63 = arith.constant 63 : i32
    %c16 = arith.constant 16 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %other = arith.xori %t, %c63 : i32
    %offset = arith.muli %t, %c4 : i32
    %otherOffset = arith.muli %other, %c4 : i32
    %s = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %mine = llvm.getelementptr %s[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %theirs = llvm.getelementptr %s[%otherOffset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    // expected-note@+1 {{the copy}}
    nvvm.cp.async.shared.global %mine, %from, 4, cache = ca : !llvm.ptr<3>, !llvm.ptr<1>
    nvvm.cp.async.commit.group
    gpu.barrier
    // expected-error@+1 {{reads shared memory that a copy may write yet}}
    %v = llvm.load %theirs {alignment = 4 : i64} : !llvm.ptr<3> -> f32
    gpu.return
  }
}

// -----

// Right: both.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @copy(%x: f32, %from: !llvm.ptr<1>) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c4 = arith.constant 4 : i32
    %c63 = arith.constant 63 : i32
    %c16 = arith.constant 16 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %other = arith.xori %t, %c63 : i32
    %offset = arith.muli %t, %c4 : i32
    %otherOffset = arith.muli %other, %c4 : i32
    %s = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %mine = llvm.getelementptr %s[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %theirs = llvm.getelementptr %s[%otherOffset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    nvvm.cp.async.shared.global %mine, %from, 4, cache = ca : !llvm.ptr<3>, !llvm.ptr<1>
    nvvm.cp.async.commit.group
    nvvm.cp.async.wait.group 0
    gpu.barrier
    %v = llvm.load %theirs {alignment = 4 : i64} : !llvm.ptr<3> -> f32
    gpu.return
  }
}

// -----

// Not all of what is touched is there.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @overrun(%x: f32, %from: !llvm.ptr<1>) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 192 : i64} {
    %c4 = arith.constant 4 : i32
    %c63 = arith.constant 63 : i32
    %c16 = arith.constant 16 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %other = arith.xori %t, %c63 : i32
    %offset = arith.muli %t, %c4 : i32
    %otherOffset = arith.muli %other, %c4 : i32
    %s = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %mine = llvm.getelementptr %s[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %theirs = llvm.getelementptr %s[%otherOffset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    // expected-error@+1 {{reaches byte 195 of dynamic shared memory, whose size is 192}}
    llvm.store %x, %mine {alignment = 4 : i64} : f32, !llvm.ptr<3>
    gpu.return
  }
}

// -----

// A barrier of more threads than come.
gpu.module @device {
  llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  gpu.func @few(%x: f32, %from: !llvm.ptr<1>) kernel attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 256 : i64} {
    %c4 = arith.constant 4 : i32
    %c63 = arith.constant 63 : i32
    %c16 = arith.constant 16 : i32
    %id = gpu.thread_id x
    %t = arith.index_castui %id : index to i32
    %other = arith.xori %t, %c63 : i32
    %offset = arith.muli %t, %c4 : i32
    %otherOffset = arith.muli %other, %c4 : i32
    %s = llvm.mlir.addressof @shared : !llvm.ptr<3>
    %mine = llvm.getelementptr %s[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %theirs = llvm.getelementptr %s[%otherOffset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %c1 = arith.constant 1 : i32
    %c96 = arith.constant 96 : i32
    llvm.store %x, %mine {alignment = 4 : i64} : f32, !llvm.ptr<3>
    // expected-error@+1 {{waits at a barrier that other threads never reach}}
    nvvm.barrier id = %c1 number_of_threads = %c96
    gpu.return
  }
}

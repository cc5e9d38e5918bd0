// RUN: ssm-opt %s -ssm-verify-sync -split-input-file -verify-diagnostics

// What is right: a block's sum through shared memory, in a loop.
gpu.module @right {
  gpu.func @sum(%x: memref<?xf32>, %y: memref<?xf32>, %steps: index)
      workgroup(%parts: memref<32xf32, 3>) kernel attributes {ssm.max_threads = 1024 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c32 = arith.constant 32 : index
    %t = gpu.thread_id x
    %n = gpu.block_dim x
    %lane = arith.remui %t, %c32 : index
    %warp = arith.divui %t, %c32 : index
    %warps = arith.divui %n, %c32 : index
    %isFirst = arith.cmpi eq, %lane, %c0 : index
    scf.for %i = %c0 to %steps step %c1 {
      %v = memref.load %x[%t] : memref<?xf32>
      scf.if %isFirst {
        memref.store %v, %parts[%warp] : memref<32xf32, 3>
      }
      gpu.barrier
      scf.for %w = %c0 to %warps step %c1 {
        %p = memref.load %parts[%w] : memref<32xf32, 3>
        memref.store %p, %y[%t] : memref<?xf32>
      }
      gpu.barrier
    }
    gpu.return
  }

  // Lines of their own.
  gpu.func @lines(%x: f32) workgroup(%s: memref<2x64xf32, 3>) kernel
      attributes {ssm.max_threads = 64 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c63 = arith.constant 63 : index
    %t = gpu.thread_id x
    %turned = arith.subi %c63, %t : index
    memref.store %x, %s[%c0, %t] : memref<2x64xf32, 3>
    memref.store %x, %s[%c1, %turned] : memref<2x64xf32, 3>
    gpu.return
  }

  // Arms of roles with the same barriers.
  gpu.func @roles(%steps: index) workgroup(%s: memref<64xf32, 3>) kernel
      attributes {ssm.max_threads = 64 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c32 = arith.constant 32 : index
    %f = arith.constant 0.0 : f32
    %t = gpu.thread_id x
    %isProducer = arith.cmpi ult, %t, %c32 : index
    scf.if %isProducer {
      scf.for %i = %c0 to %steps step %c1 {
        memref.store %f, %s[%t] : memref<64xf32, 3>
        gpu.barrier
        gpu.barrier
      }
    } else {
      scf.for %i = %c0 to %steps step %c1 {
        gpu.barrier
        %v = memref.load %s[%c0] : memref<64xf32, 3>
        gpu.barrier
      }
    }
    gpu.return
  }
}

// -----

gpu.module @faults {
  gpu.func @read_after_write(%v: f32, %y: memref<?xf32>) workgroup(%s: memref<64xf32, 3>) kernel
      attributes {ssm.max_threads = 64 : i64} {
    %c0 = arith.constant 0 : index
    %t = gpu.thread_id x
    // expected-note@+1 {{the other access}}
    memref.store %v, %s[%t] : memref<64xf32, 3>
    // expected-error@+1 {{reads shared memory that another thread may have written, and no barrier is between}}
    %p = memref.load %s[%c0] : memref<64xf32, 3>
    memref.store %p, %y[%t] : memref<?xf32>
    gpu.return
  }
}

// -----

gpu.module @faults {
  gpu.func @next_step(%v: f32, %y: memref<?xf32>, %n: index) workgroup(%s: memref<64xf32, 3>)
      kernel attributes {ssm.max_threads = 64 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %t = gpu.thread_id x
    scf.for %i = %c0 to %n step %c1 {
      // expected-error@+1 {{writes shared memory that another thread may have to read yet}}
      memref.store %v, %s[%t] : memref<64xf32, 3>
      gpu.barrier
      // expected-note@+1 {{the other access}}
      %p = memref.load %s[%c0] : memref<64xf32, 3>
      memref.store %p, %y[%t] : memref<?xf32>
    }
    gpu.return
  }
}

// -----

gpu.module @faults {
  gpu.func @unmatched(%n: index) kernel attributes {ssm.max_threads = 64 : i64} {
    %c32 = arith.constant 32 : index
    %t = gpu.thread_id x
    %isFirst = arith.cmpi ult, %t, %c32 : index
    // expected-error@+1 {{has a barrier that not all threads of the block reach}}
    scf.if %isFirst {
      gpu.barrier
    }
    gpu.return
  }
}

// -----

gpu.module @faults {
  gpu.func @steps_differ(%n: index) kernel attributes {ssm.max_threads = 64 : i64} {
    %c1 = arith.constant 1 : index
    %t = gpu.thread_id x
    // expected-error@+1 {{has a barrier, and a number of steps that differs between threads}}
    scf.for %i = %t to %n step %c1 {
      gpu.barrier
    }
    gpu.return
  }
}

// -----

gpu.module @faults {
  gpu.func @no_fence(%v: f32, %map: !llvm.ptr, %from: !llvm.ptr<3>, %i: i32)
      workgroup(%s: memref<64xf32, 3>) kernel attributes {ssm.max_threads = 64 : i64} {
    %t = gpu.thread_id x
    // expected-note@+1 {{the store}}
    memref.store %v, %s[%t] : memref<64xf32, 3>
    gpu.barrier
    // expected-error@+1 {{no proxy fence follows a store}}
    nvvm.cp.async.bulk.tensor.global.shared.cta %map, %from, box[%i] : !llvm.ptr, !llvm.ptr<3>
    gpu.return
  }

  gpu.func @fence(%v: f32, %map: !llvm.ptr, %from: !llvm.ptr<3>, %i: i32)
      workgroup(%s: memref<64xf32, 3>) kernel attributes {ssm.max_threads = 64 : i64} {
    %t = gpu.thread_id x
    memref.store %v, %s[%t] : memref<64xf32, 3>
    nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
    gpu.barrier
    nvvm.cp.async.bulk.tensor.global.shared.cta %map, %from, box[%i] : !llvm.ptr, !llvm.ptr<3>
    gpu.return
  }
}

// -----

gpu.module @faults {
  gpu.func @overrun(%v: f32) workgroup(%s: memref<64xf32, 3>) kernel
      attributes {ssm.max_threads = 128 : i64} {
    %t = gpu.thread_id x
    // expected-error@+1 {{may reach element 127 of axis 0 of shared memory, whose size is 64}}
    memref.store %v, %s[%t] : memref<64xf32, 3>
    gpu.return
  }

  // expected-error@+1 {{has 65536 bytes of static shared memory, expected at most 49152}}
  gpu.func @large(%v: f32) workgroup(%s: memref<16384xf32, 3>) kernel {
    gpu.return
  }
}

// -----

// Views of dynamic shared memory are told apart; so are places in them.

gpu.module @faults {
  gpu.func @views(%p: !llvm.ptr<3>, %v: f32) kernel
      attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 2048 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c8 = arith.constant 8 : index
    %c512 = arith.constant 512 : index
    %c4 = arith.constant 4 : index
    %t = gpu.thread_id x
    // expected-note@+1 {{the other view}}
    %a = ssm.arena_view %p[%c0] () : !llvm.ptr<3> -> memref<2x64xf32, 3>
    // expected-error@+1 {{is shared memory that another view has too}}
    %b = ssm.arena_view %p[%c4] () : !llvm.ptr<3> -> memref<1xf32, 3>
    // expected-error@+1 {{reaches byte 2560 of dynamic shared memory, whose size is 2048}}
    %c = ssm.arena_view %p[%c512] () : !llvm.ptr<3> -> memref<512xf32, 3>
    %q = arith.divui %t, %c8 : index
    %isOdd = arith.andi %q, %c1 : index
    // Another row; any row, where each thread has its own place.
    memref.store %v, %a[%c0, %t] : memref<2x64xf32, 3>
    memref.store %v, %a[%c1, %q] : memref<2x64xf32, 3>
    gpu.barrier
    memref.store %v, %a[%c0, %t] : memref<2x64xf32, 3>
    memref.store %v, %a[%isOdd, %t] : memref<2x64xf32, 3>
    gpu.barrier
    // Elements 8 i and 8 i + 4 never meet, 8 i and i may.
    %e = arith.muli %q, %c8 : index
    %f = arith.addi %e, %c4 : index
    memref.store %v, %a[%c0, %e] : memref<2x64xf32, 3>
    memref.store %v, %a[%c0, %f] : memref<2x64xf32, 3>
    gpu.return
  }

  gpu.func @meet(%p: !llvm.ptr<3>, %v: f32) kernel
      attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 2048 : i64} {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %t = gpu.thread_id x
    %a = ssm.arena_view %p[%c0] () : !llvm.ptr<3> -> memref<64xf32, 3>
    %q = arith.divui %t, %c8 : index
    %e = arith.muli %q, %c8 : index
    // expected-note@+1 {{the other access}}
    memref.store %v, %a[%e] : memref<64xf32, 3>
    // expected-error@+1 {{writes shared memory that another thread may have written}}
    memref.store %v, %a[%q] : memref<64xf32, 3>
    gpu.return
  }

  gpu.func @role(%p: !llvm.ptr<3>, %v: f32) kernel
      attributes {ssm.max_threads = 64 : i64, ssm.dynamic_shared = 2048 : i64} {
    %c0 = arith.constant 0 : index
    %c32 = arith.constant 32 : index
    %t = gpu.thread_id x
    %a = ssm.arena_view %p[%c0] () : !llvm.ptr<3> -> memref<32xf32, 3>
    // Its threads are few enough; those of the other arm are not.
    %isFirst = arith.cmpi ult, %t, %c32 : index
    scf.if %isFirst {
      memref.store %v, %a[%t] : memref<32xf32, 3>
    } else {
      // expected-error@+1 {{may reach element 63 of axis 0}}
      memref.store %v, %a[%t] : memref<32xf32, 3>
    }
    gpu.return
  }
}

// -----

// Numbers of the last axis that differ are no lines of their own: vectors reach further.
gpu.module @vectors {
  gpu.func @lines(%x: vector<4xf32>) workgroup(%s: memref<64xf32, 3>) kernel
      attributes {ssm.max_threads = 64 : i64} {
    %c0 = arith.constant 0 : index
    %c2 = arith.constant 2 : index
    // expected-note @below {{the other access}}
    vector.store %x, %s[%c0] : memref<64xf32, 3>, vector<4xf32>
    // expected-error @below {{writes shared memory that another thread may have written, and no barrier is between}}
    vector.store %x, %s[%c2] : memref<64xf32, 3>, vector<4xf32>
    gpu.return
  }
}

// -----

gpu.module @device {
  // Threads count together; who reads the sums, or clears them, waits.
  gpu.func @atomic(%p: index, %q: index) workgroup(%s : memref<64xi32, 3>, %u : memref<64xi32, 3>) kernel
      attributes {ssm.max_threads = 64 : i64} {
    %c1 = arith.constant 1 : i32
    %zero = arith.constant 0 : index
    %t = gpu.thread_id x
    memref.store %c1, %s[%t] : memref<64xi32, 3>
    gpu.barrier
    // expected-note @+1 {{the other access}}
    %a = memref.atomic_rmw addi %c1, %s[%p] : (i32, memref<64xi32, 3>) -> i32
    %b = memref.atomic_rmw addi %c1, %s[%q] : (i32, memref<64xi32, 3>) -> i32
    // expected-error @+1 {{reads shared memory that another thread may have written}}
    %v = memref.load %s[%t] : memref<64xi32, 3>
    gpu.barrier
    memref.store %v, %s[%t] : memref<64xi32, 3>
    gpu.barrier
    // Places that are taken one by one.
    %c = memref.atomic_rmw addi %c1, %s[%zero] : (i32, memref<64xi32, 3>) -> i32
    %d = memref.atomic_rmw addi %c1, %s[%zero] : (i32, memref<64xi32, 3>) -> i32
    %ci = arith.index_castui %c : i32 to index
    %di = arith.index_castui %d : i32 to index
    memref.store %v, %u[%ci] : memref<64xi32, 3>
    memref.store %v, %u[%di] : memref<64xi32, 3>
    gpu.return
  }
}

// -----

// The same number is not the same thread.
gpu.module @same_place {
  gpu.func @one_writes(%v: f32, %y: memref<?xf32>) workgroup(%s: memref<64xf32, 3>) kernel
      attributes {ssm.max_threads = 64 : i64} {
    %c0 = arith.constant 0 : index
    %t = gpu.thread_id x
    %isFirst = arith.cmpi eq, %t, %c0 : index
    scf.if %isFirst {
      // expected-note @below {{the other access}}
      memref.store %v, %s[%c0] : memref<64xf32, 3>
    }
    // expected-error @below {{reads shared memory that another thread may have written, and no barrier is between}}
    %p = memref.load %s[%c0] : memref<64xf32, 3>
    memref.store %p, %y[%t] : memref<?xf32>
    gpu.return
  }

  gpu.func @all_write(%x: memref<?xf32>) workgroup(%s: memref<64xf32, 3>) kernel
      attributes {ssm.max_threads = 64 : i64} {
    %c0 = arith.constant 0 : index
    %t = gpu.thread_id x
    %v = memref.load %x[%t] : memref<?xf32>
    // expected-note @+2 {{the other access}}
    // expected-error @+1 {{writes shared memory that another thread may have written, and no barrier is between}}
    memref.store %v, %s[%c0] : memref<64xf32, 3>
    gpu.return
  }

  gpu.func @two_share(%x: memref<?xf32>) workgroup(%s: memref<64xf32, 3>) kernel
      attributes {ssm.max_threads = 64 : i64} {
    %c2 = arith.constant 2 : index
    %t = gpu.thread_id x
    %v = memref.load %x[%t] : memref<?xf32>
    %half = arith.divui %t, %c2 : index
    // expected-note @+2 {{the other access}}
    // expected-error @+1 {{writes shared memory that another thread may have written, and no barrier is between}}
    memref.store %v, %s[%half] : memref<64xf32, 3>
    gpu.return
  }

  // One thread does both; all store the same value.
  gpu.func @one_alone(%v: f32, %y: memref<?xf32>) workgroup(%s: memref<64xf32, 3>) kernel
      attributes {ssm.max_threads = 64 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %t = gpu.thread_id x
    %isFirst = arith.cmpi eq, %t, %c0 : index
    memref.store %v, %s[%c1] : memref<64xf32, 3>
    scf.if %isFirst {
      memref.store %v, %s[%c0] : memref<64xf32, 3>
      %p = memref.load %s[%c0] : memref<64xf32, 3>
      memref.store %p, %y[%t] : memref<?xf32>
    }
    gpu.return
  }

  // Places by ten: the 128 threads' second one follows the first.
  gpu.func @strips(%x: memref<?xf32>) workgroup(%s: memref<26x10xf32, 3>) kernel
      attributes {ssm.max_threads = 128 : i64} {
    %c10 = arith.constant 10 : index
    %c128 = arith.constant 128 : index
    %t = gpu.thread_id x
    %v = memref.load %x[%t] : memref<?xf32>
    %next = arith.addi %t, %c128 : index
    %q0 = arith.divui %t, %c10 : index
    %r0 = arith.remui %t, %c10 : index
    %q1 = arith.divui %next, %c10 : index
    %r1 = arith.remui %next, %c10 : index
    memref.store %v, %s[%q0, %r0] : memref<26x10xf32, 3>
    memref.store %v, %s[%q1, %r1] : memref<26x10xf32, 3>
    gpu.return
  }

  gpu.func @strips_meet(%x: memref<?xf32>) workgroup(%s: memref<26x10xf32, 3>) kernel
      attributes {ssm.max_threads = 128 : i64} {
    %c10 = arith.constant 10 : index
    %c127 = arith.constant 127 : index
    %t = gpu.thread_id x
    %v = memref.load %x[%t] : memref<?xf32>
    %next = arith.addi %t, %c127 : index
    %q0 = arith.divui %t, %c10 : index
    %r0 = arith.remui %t, %c10 : index
    %q1 = arith.divui %next, %c10 : index
    %r1 = arith.remui %next, %c10 : index
    // expected-note @below {{the other access}}
    memref.store %v, %s[%q0, %r0] : memref<26x10xf32, 3>
    // expected-error @below {{writes shared memory that another thread may have written, and no barrier is between}}
    memref.store %v, %s[%q1, %r1] : memref<26x10xf32, 3>
    gpu.return
  }
}

// -----

gpu.module @device {
  // A loop whose end all threads read in one place, whatever each of them carries; and one that
  // ends where each has what it carries.
  gpu.func @rounds(%n: i32) workgroup(%s : memref<1xi32, 3>) kernel attributes {ssm.max_threads = 64 : i64} {
    %c1 = arith.constant 1 : i32
    %zero = arith.constant 0 : index
    %t = gpu.thread_id x
    %own = arith.index_castui %t : index to i32
    memref.store %n, %s[%zero] : memref<1xi32, 3>
    %all:2 = scf.while (%round = %n, %left = %own) : (i32, i32) -> (i32, i32) {
      gpu.barrier
      memref.atomic_rmw minu %left, %s[%zero] : (i32, memref<1xi32, 3>) -> i32
      gpu.barrier
      %least = memref.load %s[%zero] : memref<1xi32, 3>
      %again = arith.cmpi ult, %least, %round : i32
      %next = arith.subi %round, %c1 : i32
      scf.condition(%again) %next, %left : i32, i32
    } do {
    ^bb0(%round: i32, %left: i32):
      scf.yield %round, %left : i32, i32
    }
    // expected-error @below {{has a barrier, and an end that differs between threads}}
    %more = scf.while (%left = %own) : (i32) -> i32 {
      gpu.barrier
      %again = arith.cmpi ult, %left, %n : i32
      %next = arith.addi %left, %c1 : i32
      scf.condition(%again) %next : i32
    } do {
    ^bb0(%left: i32):
      scf.yield %left : i32
    }
    gpu.return
  }
}

// -----

gpu.module @device {
  // Numbers that are written by two digits: other numbers, other places. Not where digits are of
  // different lengths.
  gpu.func @digits(%v: f32) workgroup(%s : memref<2x40x16xf32, 3>) kernel attributes {ssm.max_threads = 64 : i64} {
    %c10 = arith.constant 10 : index
    %c12 = arith.constant 12 : index
    %c64 = arith.constant 64 : index
    %c256 = arith.constant 256 : index
    %zero = arith.constant 0 : index
    %t = gpu.thread_id x
    %n = arith.addi %t, %c256 : index
    %a = arith.remui %n, %c256 : index
    %m = arith.addi %n, %c64 : index
    %b = arith.remui %m, %c256 : index
    %ahigh = arith.divui %a, %c10 : index
    %alow = arith.remui %a, %c10 : index
    memref.store %v, %s[%zero, %ahigh, %alow] : memref<2x40x16xf32, 3>
    %bhigh = arith.divui %b, %c10 : index
    %blow = arith.remui %b, %c10 : index
    memref.store %v, %s[%zero, %bhigh, %blow] : memref<2x40x16xf32, 3>
    gpu.barrier
    // expected-note @+1 {{the other access}}
    memref.store %v, %s[%zero, %ahigh, %alow] : memref<2x40x16xf32, 3>
    %chigh = arith.divui %b, %c12 : index
    %clow = arith.remui %b, %c12 : index
    // expected-error @+1 {{writes shared memory that another thread may have written}}
    memref.store %v, %s[%zero, %chigh, %clow] : memref<2x40x16xf32, 3>
    gpu.return
  }
}

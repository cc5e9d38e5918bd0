// RUN: ssm-opt %s -ssm-fuse-kernels --remark-format=emitRemark --remarks-filter=fuse 2> %t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t

// Why two kernels are not fused, one function a reason; and that it is told if they are.

#i = affine_map<(i) -> (i)>
#ij = affine_map<(i, j) -> (i, j)>
#ji = affine_map<(i, j) -> (j, i)>
#i2 = affine_map<(i, j) -> (i)>
#j2 = affine_map<(i, j) -> (j)>
#half = affine_map<(i, j) -> (i floordiv 2, j)>
#mk = affine_map<(i, j, k) -> (i, k)>
#kn = affine_map<(i, j, k) -> (k, j)>
#mn = affine_map<(i, j, k) -> (i, j)>
#nm = affine_map<(i, j, k) -> (j, i)>
#all = affine_map<(i, j, k) -> (i, j, k)>
#i3 = affine_map<(i, j, k) -> (i)>

// REMARK: a producer was fused
// CHECK-LABEL: func.func @fused
// CHECK-COUNT-1: ssm.kernel
// CHECK-NOT: ssm.kernel
func.func @fused(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %p = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      %0 = math.exp %a : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  %c = ssm.kernel loops 1 ins(%p : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      %0 = arith.negf %a : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  return %c : tensor<?xf32>
}

// REMARK: the region would be too large
// CHECK-LABEL: func.func @large
// CHECK-COUNT-2: ssm.kernel
func.func @large(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %p = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [#i, #i] {
    ^bb0(%a: f32):
      %0 = arith.addf %a, %a : f32
      %1 = arith.addf %0, %a : f32
      %2 = arith.addf %1, %a : f32
      %3 = arith.addf %2, %a : f32
      %4 = arith.addf %3, %a : f32
      %5 = arith.addf %4, %a : f32
      %6 = arith.addf %5, %a : f32
      %7 = arith.addf %6, %a : f32
      %8 = arith.addf %7, %a : f32
      %9 = arith.addf %8, %a : f32
      %10 = arith.addf %9, %a : f32
      %11 = arith.addf %10, %a : f32
      %12 = arith.addf %11, %a : f32
      %13 = arith.addf %12, %a : f32
      %14 = arith.addf %13, %a : f32
      %15 = arith.addf %14, %a : f32
      %16 = arith.addf %15, %a : f32
      %17 = arith.addf %16, %a : f32
      %18 = arith.addf %17, %a : f32
      %19 = arith.addf %18, %a : f32
      %20 = arith.addf %19, %a : f32
      %21 = arith.addf %20, %a : f32
      %22 = arith.addf %21, %a : f32
      %23 = arith.addf %22, %a : f32
      %24 = arith.addf %23, %a : f32
      %25 = arith.addf %24, %a : f32
      %26 = arith.addf %25, %a : f32
      %27 = arith.addf %26, %a : f32
      %28 = arith.addf %27, %a : f32
      %29 = arith.addf %28, %a : f32
      %30 = arith.addf %29, %a : f32
      %31 = arith.addf %30, %a : f32
      %32 = arith.addf %31, %a : f32
      %33 = arith.addf %32, %a : f32
      %34 = arith.addf %33, %a : f32
      %35 = arith.addf %34, %a : f32
      %36 = arith.addf %35, %a : f32
      %37 = arith.addf %36, %a : f32
      %38 = arith.addf %37, %a : f32
      %39 = arith.addf %38, %a : f32
      %40 = arith.addf %39, %a : f32
      %41 = arith.addf %40, %a : f32
      %42 = arith.addf %41, %a : f32
      %43 = arith.addf %42, %a : f32
      %44 = arith.addf %43, %a : f32
      %45 = arith.addf %44, %a : f32
      %46 = arith.addf %45, %a : f32
      %47 = arith.addf %46, %a : f32
      %48 = arith.addf %47, %a : f32
      %49 = arith.addf %48, %a : f32
      ssm.yield %49 : f32
  } -> tensor<?xf32>
  %c = ssm.kernel loops 1 ins(%p : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [#i, #i] {
    ^bb0(%a: f32):
      %0 = arith.addf %a, %a : f32
      %1 = arith.addf %0, %a : f32
      %2 = arith.addf %1, %a : f32
      %3 = arith.addf %2, %a : f32
      %4 = arith.addf %3, %a : f32
      %5 = arith.addf %4, %a : f32
      %6 = arith.addf %5, %a : f32
      %7 = arith.addf %6, %a : f32
      %8 = arith.addf %7, %a : f32
      %9 = arith.addf %8, %a : f32
      %10 = arith.addf %9, %a : f32
      %11 = arith.addf %10, %a : f32
      %12 = arith.addf %11, %a : f32
      %13 = arith.addf %12, %a : f32
      %14 = arith.addf %13, %a : f32
      %15 = arith.addf %14, %a : f32
      %16 = arith.addf %15, %a : f32
      %17 = arith.addf %16, %a : f32
      %18 = arith.addf %17, %a : f32
      %19 = arith.addf %18, %a : f32
      %20 = arith.addf %19, %a : f32
      %21 = arith.addf %20, %a : f32
      %22 = arith.addf %21, %a : f32
      %23 = arith.addf %22, %a : f32
      %24 = arith.addf %23, %a : f32
      %25 = arith.addf %24, %a : f32
      %26 = arith.addf %25, %a : f32
      %27 = arith.addf %26, %a : f32
      %28 = arith.addf %27, %a : f32
      %29 = arith.addf %28, %a : f32
      %30 = arith.addf %29, %a : f32
      %31 = arith.addf %30, %a : f32
      %32 = arith.addf %31, %a : f32
      %33 = arith.addf %32, %a : f32
      %34 = arith.addf %33, %a : f32
      %35 = arith.addf %34, %a : f32
      %36 = arith.addf %35, %a : f32
      %37 = arith.addf %36, %a : f32
      %38 = arith.addf %37, %a : f32
      %39 = arith.addf %38, %a : f32
      %40 = arith.addf %39, %a : f32
      %41 = arith.addf %40, %a : f32
      %42 = arith.addf %41, %a : f32
      %43 = arith.addf %42, %a : f32
      %44 = arith.addf %43, %a : f32
      %45 = arith.addf %44, %a : f32
      %46 = arith.addf %45, %a : f32
      %47 = arith.addf %46, %a : f32
      %48 = arith.addf %47, %a : f32
      %49 = arith.addf %48, %a : f32
      ssm.yield %49 : f32
  } -> tensor<?xf32>
  return %c : tensor<?xf32>
}

// REMARK: the consumer of a product is not elementwise
// CHECK-LABEL: func.func @product_rows
// CHECK-COUNT-2: ssm.kernel
func.func @product_rows(%x: tensor<?x?xf32>, %w: tensor<?x?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?xf32> {
  %p = ssm.kernel loops 3 ins(%x, %w : tensor<?x?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#mk, #kn, #mn] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.mulf %a, %b : f32
      %1 = ssm.reduce addf %0 over [2] : f32
      ssm.yield %1 : f32
  } -> tensor<?x?xf32>
  %c = ssm.kernel loops 2 ins(%p : tensor<?x?xf32>) outs(%f : tensor<?xf32>)
      maps [#ij, #i2] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [1] : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  return %c : tensor<?xf32>
}

// REMARK: the consumer turns axes
// CHECK-LABEL: func.func @product_turned
// CHECK-COUNT-2: ssm.kernel
func.func @product_turned(%x: tensor<?x?xf32>, %w: tensor<?x?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %p = ssm.kernel loops 3 ins(%x, %w : tensor<?x?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#mk, #kn, #mn] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.mulf %a, %b : f32
      %1 = ssm.reduce addf %0 over [2] : f32
      ssm.yield %1 : f32
  } -> tensor<?x?xf32>
  %c = ssm.kernel loops 2 ins(%p : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#ji, #ij] {
    ^bb0(%a: f32):
      %0 = math.exp %a : f32
      ssm.yield %0 : f32
  } -> tensor<?x?xf32>
  return %c : tensor<?x?xf32>
}

// REMARK: reductions do not run inside a recurrence
// CHECK-LABEL: func.func @rows_recurrence
// CHECK-COUNT-2: ssm.kernel
func.func @rows_recurrence(%x: tensor<?x?xf32>, %h: tensor<?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?x?xf32> {
  %p = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#ij, #ij] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [1] : f32
      %1 = arith.divf %a, %0 : f32
      ssm.yield %1 : f32
  } -> tensor<?x?xf32>
  %c:2 = ssm.kernel loops 2 time 0 ins(%p : tensor<?x?xf32>) inits(%h : tensor<?xf32>) outs(%f, %e : tensor<?xf32>, tensor<?x?xf32>)
      maps [#ij, #j2, #j2, #ij] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<?xf32>, tensor<?x?xf32>
  return %c#1 : tensor<?x?xf32>
}

// REMARK: the consumer of a recurrence is another one
// CHECK-LABEL: func.func @two_recurrences
// CHECK-COUNT-2: ssm.kernel
func.func @two_recurrences(%x: tensor<?x?xf32>, %h: tensor<?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?x?xf32> {
  %p:2 = ssm.kernel loops 2 time 0 ins(%x : tensor<?x?xf32>) inits(%h : tensor<?xf32>) outs(%f, %e : tensor<?xf32>, tensor<?x?xf32>)
      maps [#ij, #j2, #j2, #ij] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<?xf32>, tensor<?x?xf32>
  %c:2 = ssm.kernel loops 2 time 0 ins(%p#1 : tensor<?x?xf32>) inits(%h : tensor<?xf32>) outs(%f, %e : tensor<?xf32>, tensor<?x?xf32>)
      maps [#ij, #j2, #j2, #ij] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<?xf32>, tensor<?x?xf32>
  return %c#1 : tensor<?x?xf32>
}

// REMARK: a result of a recurrence is broadcast
// CHECK-LABEL: func.func @recurrence_broadcast
// CHECK-COUNT-2: ssm.kernel
func.func @recurrence_broadcast(%x: tensor<?x?xf32>, %h: tensor<?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>, %w: tensor<?x?x?xf32>, %g: tensor<?x?x?xf32>) -> tensor<?x?x?xf32> {
  %p:2 = ssm.kernel loops 2 time 0 ins(%x : tensor<?x?xf32>) inits(%h : tensor<?xf32>) outs(%f, %e : tensor<?xf32>, tensor<?x?xf32>)
      maps [#ij, #j2, #j2, #ij] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<?xf32>, tensor<?x?xf32>
  %c = ssm.kernel loops 3 ins(%p#1, %w : tensor<?x?xf32>, tensor<?x?x?xf32>) outs(%g : tensor<?x?x?xf32>)
      maps [#mn, #all, #all] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.mulf %a, %b : f32
      ssm.yield %0 : f32
  } -> tensor<?x?x?xf32>
  return %c : tensor<?x?x?xf32>
}

// REMARK: a recurrence would sum over several loops
// CHECK-LABEL: func.func @recurrence_sums
// CHECK-COUNT-2: ssm.kernel
func.func @recurrence_sums(%x: tensor<?x?x?xf32>, %h: tensor<?x?xf32>, %e: tensor<?x?x?xf32>, %f: tensor<?x?xf32>, %g: tensor<?xf32>) -> tensor<?xf32> {
  %p:2 = ssm.kernel loops 3 time 0 ins(%x : tensor<?x?x?xf32>) inits(%h : tensor<?x?xf32>) outs(%f, %e : tensor<?x?xf32>, tensor<?x?x?xf32>)
      maps [#all, affine_map<(i, j, k) -> (j, k)>, affine_map<(i, j, k) -> (j, k)>, #all] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<?x?xf32>, tensor<?x?x?xf32>
  %c = ssm.kernel loops 3 ins(%p#1 : tensor<?x?x?xf32>) outs(%g : tensor<?xf32>)
      maps [#all, #i3] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [1, 2] : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  return %c : tensor<?xf32>
}

// REMARK: what is summed over steps of a recurrence is used again
// CHECK-LABEL: func.func @recurrence_softmax
// CHECK-COUNT-2: ssm.kernel
func.func @recurrence_softmax(%x: tensor<?x?xf32>, %h: tensor<?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?x?xf32> {
  %p:2 = ssm.kernel loops 2 time 0 ins(%x : tensor<?x?xf32>) inits(%h : tensor<?xf32>) outs(%f, %e : tensor<?xf32>, tensor<?x?xf32>)
      maps [#ij, #j2, #j2, #ij] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<?xf32>, tensor<?x?xf32>
  %c = ssm.kernel loops 2 ins(%p#1 : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#ij, #ij] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [1] : f32
      %1 = arith.divf %a, %0 : f32
      ssm.yield %1 : f32
  } -> tensor<?x?xf32>
  return %c : tensor<?x?xf32>
}

// REMARK: elements would be computed several times
// CHECK-LABEL: func.func @read_twice
// CHECK-COUNT-2: ssm.kernel
func.func @read_twice(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %p = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#ij, #ij] {
    ^bb0(%a: f32):
      %0 = math.exp %a : f32
      ssm.yield %0 : f32
  } -> tensor<?x?xf32>
  %c = ssm.kernel loops 2 ins(%p, %x : tensor<?x?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#half, #ij, #ij] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.mulf %a, %b : f32
      ssm.yield %0 : f32
  } -> tensor<?x?xf32>
  return %c : tensor<?x?xf32>
}

// REMARK: the result is broadcast: elements would be computed several times
// CHECK-LABEL: func.func @broadcast
// CHECK-COUNT-2: ssm.kernel
func.func @broadcast(%x: tensor<?xf32>, %y: tensor<?x?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?x?xf32> {
  %p = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%f : tensor<?xf32>)
      maps [#i, #i] {
    ^bb0(%a: f32):
      %0 = math.exp %a : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  %c = ssm.kernel loops 2 ins(%p, %y : tensor<?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#j2, #ij, #ij] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.mulf %a, %b : f32
      ssm.yield %0 : f32
  } -> tensor<?x?xf32>
  return %c : tensor<?x?xf32>
}

// REMARK: rows and loops of the consumer cross
// CHECK-LABEL: func.func @rows_cross
// CHECK-COUNT-2: ssm.kernel
func.func @rows_cross(%x: tensor<?x?xf32>, %y: tensor<?x?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?x?xf32> {
  %p = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%f : tensor<?xf32>)
      maps [#ij, #i2] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [1] : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  %c = ssm.kernel loops 2 ins(%p, %y : tensor<?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#j2, #ij, #ij] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.mulf %a, %b : f32
      ssm.yield %0 : f32
  } -> tensor<?x?xf32>
  return %c : tensor<?x?xf32>
}

// REMARK: rows of the two differ
// CHECK-LABEL: func.func @rows_differ
// CHECK-COUNT-2: ssm.kernel
func.func @rows_differ(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?xf32> {
  %p = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#ij, #ij] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [1] : f32
      %1 = arith.divf %a, %0 : f32
      ssm.yield %1 : f32
  } -> tensor<?x?xf32>
  %c = ssm.kernel loops 2 ins(%p : tensor<?x?xf32>) outs(%f : tensor<?xf32>)
      maps [#ji, #i2] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [1] : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  return %c : tensor<?xf32>
}

// REMARK: elements would be computed for every row
// CHECK-LABEL: func.func @every_row
// CHECK-COUNT-2: ssm.kernel
func.func @every_row(%x: tensor<?xf32>, %y: tensor<?x?xf32>, %e: tensor<?xf32>, %f: tensor<?xf32>) -> tensor<?xf32> {
  %p = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [#i, #i] {
    ^bb0(%a: f32):
      %0 = math.exp %a : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  %c = ssm.kernel loops 2 ins(%p, %y : tensor<?xf32>, tensor<?x?xf32>) outs(%f : tensor<?xf32>)
      maps [#j2, #ij, #i2] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      %1 = ssm.reduce addf %0 over [1] : f32
      ssm.yield %1 : f32
  } -> tensor<?xf32>
  return %c : tensor<?xf32>
}

// REMARK: elements would be computed for every channel
// CHECK-LABEL: func.func @every_channel
// CHECK-COUNT-2: ssm.kernel
func.func @every_channel(%x: tensor<?xf32>, %h: tensor<?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>, %y: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %p = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%f : tensor<?xf32>)
      maps [#i, #i] {
    ^bb0(%a: f32):
      %0 = math.exp %a : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  %c:2 = ssm.kernel loops 2 time 0 ins(%p, %y : tensor<?xf32>, tensor<?x?xf32>) inits(%h : tensor<?xf32>) outs(%f, %e : tensor<?xf32>, tensor<?x?xf32>)
      maps [#i2, #ij, #j2, #j2, #ij] {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %0 = arith.mulf %a, %c : f32
      %1 = arith.addf %0, %b : f32
      ssm.yield %1, %1 : f32, f32
  } -> tensor<?xf32>, tensor<?x?xf32>
  return %c#1 : tensor<?x?xf32>
}

// REMARK: an initial carry is computed
// CHECK-LABEL: func.func @initial
// CHECK-COUNT-2: ssm.kernel
func.func @initial(%x: tensor<?x?xf32>, %h: tensor<?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?x?xf32> {
  %p = ssm.kernel loops 1 ins(%h : tensor<?xf32>) outs(%f : tensor<?xf32>)
      maps [#i, #i] {
    ^bb0(%a: f32):
      %0 = arith.negf %a : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  %c:2 = ssm.kernel loops 2 time 0 ins(%x : tensor<?x?xf32>) inits(%p : tensor<?xf32>) outs(%f, %e : tensor<?xf32>, tensor<?x?xf32>)
      maps [#ij, #j2, #j2, #ij] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<?xf32>, tensor<?x?xf32>
  return %c#1 : tensor<?x?xf32>
}

//===- ParallelTest.cpp - Parallel loops, from the operation to the pool --===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A module with ssm.parallel_for goes through the stages, the package and the
// runtime, and runs on several threads.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipelines/Pipelines.h"
#include "ssmrt/ssmrt.h"
#include "test/unit/package/PackageTesting.h"

#include <atomic>
#include <random>
#include <thread>

using namespace ssm;

namespace {

/// y = x * scale, x of f32[n, m], as a parallel loop over rows around one over
/// columns; sums[i] is scale plus the sum of row i, by way of memory on the stack
/// of each piece. `wide` is a vector handed to the pieces, `offset` a buffer on the
/// kernel's own stack.
constexpr const char kRows[] = R"mlir(
module attributes {
  ssm.entries = [{
    name = "main",
    inputs = [{name = "x", type = 1 : i64, dims = ["n", "m"]},
              {name = "scale", type = 1 : i64, dims = []}],
    outputs = [{name = "y", type = 1 : i64, dims = ["n", "m"]},
               {name = "sums", type = 1 : i64, dims = ["n"]}]}]
} {
  func.func @main(%x: memref<?x?xf32>, %scale: memref<f32>) -> (memref<?x?xf32>, memref<?xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c3 = arith.constant 3 : index
    %zero = arith.constant 0.0 : f32
    %n = memref.dim %x, %c0 : memref<?x?xf32>
    %m = memref.dim %x, %c1 : memref<?x?xf32>
    %y = memref.alloc(%n, %m) : memref<?x?xf32>
    %sums = memref.alloc(%n) : memref<?xf32>
    scf.for %once = %c0 to %c1 step %c1 {
      %s = memref.load %scale[] : memref<f32>
      %wide = vector.broadcast %s : f32 to vector<2x8xf32>
      %offset = memref.alloca() : memref<1xf32>
      memref.store %s, %offset[%c0] : memref<1xf32>
      ssm.parallel_for %n grain %c3 {
      ^bb0(%lo: index, %hi: index):
        %sum = memref.alloca() : memref<f32>
        %factor = vector.extract %wide[1, 7] : f32 from vector<2x8xf32>
        scf.for %i = %lo to %hi step %c1 {
          %row = memref.subview %y[%i, 0] [1, %m] [1, 1]
              : memref<?x?xf32> to memref<?xf32, strided<[1], offset: ?>>
          memref.store %zero, %sum[] : memref<f32>
          ssm.parallel_for %m grain %c1 {
          ^bb1(%lo2: index, %hi2: index):
            scf.for %j = %lo2 to %hi2 step %c1 {
              %v = memref.load %x[%i, %j] : memref<?x?xf32>
              %w = arith.mulf %v, %factor : f32
              memref.store %w, %row[%j] : memref<?xf32, strided<[1], offset: ?>>
            }
          }
          scf.for %j = %c0 to %m step %c1 {
            %v = memref.load %x[%i, %j] : memref<?x?xf32>
            %a = memref.load %sum[] : memref<f32>
            %b = arith.addf %a, %v : f32
            memref.store %b, %sum[] : memref<f32>
          }
          %total = memref.load %sum[] : memref<f32>
          %o = memref.load %offset[%c0] : memref<1xf32>
          %shifted = arith.addf %total, %o : f32
          memref.store %shifted, %sums[%i] : memref<?xf32>
        }
      }
    }
    return %y, %sums : memref<?x?xf32>, memref<?xf32>
  }
}
)mlir";

/// Runs pieces on threads of its own, and counts them.
struct Counter {
  std::atomic<int> loops{0}, pieces{0};

  static int32_t parallelFor(void *user, ssmrt_range_fn fn, void *closure, int64_t n,
                             int64_t grain) {
    auto &counter = *static_cast<Counter *>(user);
    counter.loops++;
    std::vector<std::thread> threads;
    for (int64_t lo = 0; lo < n; lo += grain)
      threads.emplace_back([=, &counter] {
        counter.pieces++;
        EXPECT_EQ(fn(closure, lo, std::min(lo + grain, n)), 0);
      });
    for (std::thread &thread : threads)
      thread.join();
    return 0;
  }
};

class Parallel : public ::testing::TestWithParam<int> {
protected:
  void SetUp() override {
    mlir::DialectRegistry registry;
    registerPipelineDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    auto text = mlir::parseSourceString<mlir::ModuleOp>(kRows, &context);
    ASSERT_TRUE(bool(text));
    PipelineOptions pipeline;
    pipeline.optLevel = GetParam();
    for (const char *stage : {"buffer", "target"}) {
      mlir::PassManager manager(&context);
      buildStage(stage, manager, pipeline);
      ASSERT_TRUE(mlir::succeeded(manager.run(*text)));
    }
    MemorySources none;
    PackageOptions options = nativeOptions();
    options.level = GetParam();
    ASSERT_EQ(toString(packageModule(nativeVersion(*text), none, options, folder.file("m.so"))), "");
    ASSERT_EQ(ssmrt_module_load(folder.file("m.so").c_str(), nullptr, &module), SSMRT_OK)
        << ssmrt_last_message();
  }
  void TearDown() override { ssmrt_module_release(module); }

  /// Runs the entry and compares.
  void run(const ssmrt_session_options *options, int64_t n, int64_t m) {
    std::mt19937 random(std::random_device{}());
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> x(size_t(n * m));
    for (float &value : x)
      value = uniform(random);
    float scale = uniform(random);
    int64_t dims[] = {n, m};
    DLTensor given[2] = {};
    given[0].data = x.data();
    given[0].device = {kDLCPU, 0};
    given[0].ndim = 2;
    given[0].dtype = {kDLFloat, 32, 1};
    given[0].shape = dims;
    given[1] = given[0];
    given[1].data = &scale;
    given[1].ndim = 0;
    ssmrt_input inputs[] = {{"x", &given[0]}, {"scale", &given[1]}};
    ssmrt_session *session;
    ASSERT_EQ(ssmrt_session_create(module, nullptr, options, &session), SSMRT_OK);
    ASSERT_EQ(ssmrt_session_run(session, inputs, 2, nullptr, 0), SSMRT_OK) << ssmrt_last_message();
    DLTensor y, sums;
    ASSERT_EQ(ssmrt_session_get_output(session, 0, &y), SSMRT_OK);
    ASSERT_EQ(ssmrt_session_get_output(session, 1, &sums), SSMRT_OK);
    for (int64_t i = 0; i < n; ++i) {
      double sum = scale;
      for (int64_t j = 0; j < m; ++j) {
        EXPECT_EQ(static_cast<float *>(y.data)[i * m + j], x[size_t(i * m + j)] * scale);
        sum += x[size_t(i * m + j)];
      }
      EXPECT_NEAR(static_cast<float *>(sums.data)[i], sum, 1e-5 * (double(m) + 1));
    }
    ssmrt_session_destroy(session);
  }

  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  ScratchFolder folder = llvm::cantFail(ScratchFolder::create("ssm-test"));
  ssmrt_module *module = nullptr;
};
} // namespace

TEST_P(Parallel, RunsOnThePool) {
  ssmrt_session_options *options;
  ASSERT_EQ(ssmrt_session_options_create(&options), SSMRT_OK);
  for (int32_t threads : {1, 2, 3}) {
    ssmrt_session_options_set_threads(options, threads);
    for (int64_t n : {0, 1, 3, 4, 37, 300})
      for (int64_t m : {0, 1, 7, 129})
        run(options, n, m);
  }
  ssmrt_session_options_destroy(options);
}

// Up to the grain there is nothing to hand out; loops inside pieces stay there.
TEST_P(Parallel, SmallLoopsStayOnTheThread) {
  ssmrt_session_options *options;
  ASSERT_EQ(ssmrt_session_options_create(&options), SSMRT_OK);
  const int cases[][3] = {{0, 0, 0}, {1, 0, 0}, {3, 0, 0}, {4, 1, 2}, {10, 1, 4}};
  for (auto [n, loops, pieces] : cases) {
    Counter counter;
    ssmrt_session_options_set_parallel_for(options, Counter::parallelFor, &counter);
    run(options, n, 5);
    EXPECT_EQ(counter.loops, loops) << n;
    EXPECT_EQ(counter.pieces, pieces) << n;
  }
  ssmrt_session_options_destroy(options);
}

INSTANTIATE_TEST_SUITE_P(Levels, Parallel, ::testing::Values(0, 3));

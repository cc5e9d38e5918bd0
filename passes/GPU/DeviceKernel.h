//===- DeviceKernel.h - What emitters of device kernels get and give *- C++ -*- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_DEVICEKERNEL_H
#define SSM_PASSES_GPU_DEVICEKERNEL_H

#include "dialects/SSM/SSMOps.h"
#include "lib/Target/GpuTarget.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <functional>
#include <optional>

namespace ssm {

/// How a kernel is launched: values of the host function, from sizes.
struct LaunchShape {
  mlir::Value grid[3];
  mlir::Value threads;
  /// The most that `threads` can be, a multiple of 32.
  int64_t maxThreads;
  /// Bytes of dynamic shared memory.
  int64_t dynamicShared = 0;
  /// Of DeviceModule.h.
  int64_t flags = 0;
  /// What the kernel gets behind the host function's arguments.
  llvm::SmallVector<mlir::Value> more = {};
};

/// A kernel on its way to the device: the same operation twice, in the host function that is to
/// launch it and in the function of the device. An emitter puts code before both; the caller
/// erases them.
struct DeviceKernel {
  KernelOp hostKernel, kernel;
  mlir::ImplicitLocOpBuilder host, device;
  mlir::gpu::GPUFuncOp function;
  /// Of a form that splits sums: the memory of their parts, if they have any, and how many parts, on
  /// the device and on the host.
  mlir::Value parts = nullptr, numParts = nullptr, hostNumParts = nullptr;
  /// What the launch gives the kernel behind the arguments of the host function.
  llvm::SmallVector<mlir::Value> tensorMaps = {};

  /// Static shared memory.
  mlir::Value addShared(llvm::ArrayRef<int64_t> shape, mlir::Type type);
  /// The shared memory whose size is told at launch.
  mlir::Value addDynamicShared();
  /// A map of an input for bulk copies of boxes, sizes in the order of its axes, to shared memory
  /// swizzled over so many bytes; the host makes it, the device gets a pointer.
  mlir::Value addTensorMap(unsigned input, llvm::ArrayRef<int32_t> box, int64_t swizzle);
};

/// What a form of several kernels is made with.
struct KernelLaunches {
  /// Puts the code of a kernel in front of the device's copy of the operation and erases it.
  /// `more` are the kernel's arguments behind those of the host's function.
  using Emit = llvm::function_ref<LaunchShape(mlir::Operation *copy, mlir::gpu::GPUFuncOp function,
                                              mlir::ValueRange more)>;
  mlir::ImplicitLocOpBuilder &host;
  /// Queues a kernel of its own, where the host's builder is.
  std::function<void(llvm::StringRef suffix, llvm::ArrayRef<mlir::Value> more, Emit emit)> launch;
  /// A pointer to so many words of 64 bits, while the body's launches are queued.
  std::function<void(mlir::Value words, llvm::function_ref<void(mlir::Value pointer)> body)>
      withMemory;
};

/// One of a kernel's forms; the host chooses by sizes and pointers.
struct KernelForm {
  /// What is appended to the kernel's name.
  llvm::StringRef suffix;
  /// Whether it is to run, from values of the host; null: always.
  std::function<mlir::Value(mlir::ImplicitLocOpBuilder &)> isFit;
  std::function<LaunchShape(DeviceKernel &)> emit;
  /// Of a form that splits sums: how many parts, from values of the host. In two kernels the first
  /// leaves parts in memory, of so many words of 64 bits for all, the second takes them.
  struct Split {
    mlir::Value numParts, words = nullptr;
  };
  std::function<Split(mlir::ImplicitLocOpBuilder &)> split = nullptr;
  std::function<LaunchShape(DeviceKernel &)> emitSecond = nullptr;
  /// Of any number of kernels, instead of all these.
  std::function<void(KernelLaunches &)> emitAll = nullptr;
};

/// How products of f32 are computed: by multiply-adds; or on tensor cores, which take the first 11
/// bits of a number (tf32): those of each factor, or these and the next ones in three products.
enum class F32Products { IEEE, TF32, TF32x3 };

/// Products of matrices for a chip: the first that fits is to run, the last one always does.
/// None if the kernel is no such product.
llvm::SmallVector<KernelForm> getMatmulForms(KernelOp kernel, const GpuTarget &target,
                                             F32Products precision);

/// Recurrences with sums over a state, in blocks of warps with roles; none if the kernel is not
/// one. Not for all sizes: others must take what is left.
llvm::SmallVector<KernelForm> getStagedForms(KernelOp kernel, const GpuTarget &target);

/// On arguments: memory that the function reaches by no other argument.
inline constexpr llvm::StringLiteral kNoAlias = "llvm.noalias";

/// The function's argument that is the memory of a buffer.
std::optional<unsigned> argumentOf(mlir::gpu::GPUFuncOp function, mlir::Value buffer);

/// Threads see through the buffer what others wrote: LLVM, to which no barrier touches memory
/// behind a noalias pointer, would read it too early.
void shareBetweenThreads(mlir::gpu::GPUFuncOp function, mlir::Value buffer);

/// Whether a buffer may be read before the kernel waits for others: it is a weight, or an input of
/// the run, in every call; of the latter the launch takes note.
bool canReadEarly(DeviceKernel &kernel, mlir::Value buffer, LaunchShape &shape);

/// The kernel may begin before those in front of it are done, and waits for them where its
/// builder is. Loads stay where they are among barriers and this: those of a noalias pointer need
/// not.
void waitForOthers(DeviceKernel &kernel, LaunchShape &shape);

/// Kernels without time: the first that fits is to run, the last takes all of them. `overlaps`:
/// the chip lets a kernel begin before the last one is done.
llvm::SmallVector<KernelForm> getTeamForms(KernelOp kernel, bool overlaps);

/// Kernels with time that turns out to be a single step.
void addStepForm(KernelOp kernel, bool overlaps, llvm::SmallVectorImpl<KernelForm> &forms);

/// Steps after which nothing may be left of where carries began, for time to be cut.
constexpr int64_t kMaxMemory = 16;

/// Kernels with time of such a memory, all along which their operands lie dense: together these
/// take all sizes. None if the kernel is not one.
llvm::SmallVector<KernelForm> getWindowForms(KernelOp kernel);

/// Kernels with time that combine one carry with something else at each step, where rows are few or
/// their steps dense.
void addPrefixForms(KernelOp kernel, llvm::SmallVectorImpl<KernelForm> &forms);

/// Kernels with time whose carries fit into registers, one summed loop across lanes of a warp.
std::optional<LaunchShape> emitLaneRecurrence(DeviceKernel &kernel);

/// Kernels with time, a block of threads for each recurrence that is independent. Takes all that
/// can update their carries in place.
std::optional<LaunchShape> emitBlockRecurrence(DeviceKernel &kernel);

/// The whole kernel, with or without time, by the one block that runs; ends with a barrier.
/// Whether it could. The host's kernel is not looked at.
bool emitInBlock(DeviceKernel &kernel);

/// Loops that write an element a step where data tells; together these take all sizes. None if
/// the nest is no such.
llvm::SmallVector<KernelForm> getScatterForms(mlir::Operation *nest);

/// Loops that write what they keep of their points, at its count. None if the nest is no such.
llvm::SmallVector<KernelForm> getCompactForms(mlir::Operation *nest);

/// Loops that hold several kernels: one block runs them, its threads share out each kernel's
/// points.
std::optional<LaunchShape> emitNest(mlir::Operation *nest, mlir::gpu::GPUFuncOp function,
                                    mlir::ImplicitLocOpBuilder &host);

} // namespace ssm

#endif // SSM_PASSES_GPU_DEVICEKERNEL_H

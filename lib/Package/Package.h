//===- Package.h - From compiled functions to a module file -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_PACKAGE_H
#define SSM_LIB_PACKAGE_PACKAGE_H

#include "lib/Package/BuildDevice.h"
#include "lib/Package/Description.h"
#include "lib/Package/ModuleSpec.h"
#include "lib/Package/WeightSources.h"
#include "lib/Package/WeightsInit.h"
#include "lib/Target/CpuTarget.h"
#include <functional>
#include <string>

namespace ssm {

/// The functions of a module for one processor or GPU, in the form that ModuleSpec.h tells. They
/// are taken apart.
struct ModuleVersion {
  /// Of host code too.
  CpuTarget target;
  /// If its kernels are a GPU's.
  std::optional<GpuTarget> gpu;
  mlir::ModuleOp module;
  /// The functions of the derived weights; null if there are none.
  mlir::ModuleOp init;
  /// Its PTX rides along, for chips that none of the versions is for.
  bool withPtx = false;

  const std::string &name() const { return gpu ? gpu->chip : target.cpu; }
};

struct PackageOptions {
  /// 0 to 3, see optimizeModule.
  int level = 3;
  /// As findLinker takes it.
  std::string linker;
  ModelOrigin origin;
  /// Of versions for GPUs.
  DeviceOptions device;
  StepInputs inputs;
  bool embedWeights = false;
  /// An object for programs to link and a header beside it, not a shared object.
  bool isStatic = false;
  bool verifyEach = false;
  /// Called with the name of a step and its seconds, if set.
  std::function<void(llvm::StringRef, double)> onStep;
  /// Called with a file extension and the content of an intermediate file, if set.
  std::function<llvm::Error(llvm::StringRef, llvm::StringRef)> saveTemporary;
};

/// The weights file of a module: model.so has model.weights.safetensors.
std::string getWeightsPath(llvm::StringRef modulePath);

/// The header of a static module: model.o has model.h.
std::string getHeaderPath(llvm::StringRef modulePath);

/// Error: the header of a static module of that path would be the object itself, or would
/// replace a file that was not written as such a header.
llvm::Error checkHeaderPath(llvm::StringRef modulePath);

/// The name of a static module's description, after its file: model.o has
/// `model_module`. Letters, digits and `_`.
std::string getStaticSymbol(llvm::StringRef modulePath);

/// Writes the module to `path` and its weights beside it, both or neither. Several
/// versions are of one model and one triple, best first, those for CPUs first; a place in the weights file
/// holds the same in all of them.
llvm::Error packageModule(llvm::ArrayRef<ModuleVersion> versions, WeightSources &sources,
                          const PackageOptions &options, llvm::StringRef path);

enum class TextForm { LLVM, Assembly, Object, Ptx };

/// The code of the module as --emit=llvm, asm, obj and ptx give it, without weights.
/// The object is what packageModule would link, except for the weights' hashes.
llvm::Expected<llvm::SmallVector<char, 0>> emitModule(const ModuleVersion &version,
                                                      const PackageOptions &options, TextForm form);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_PACKAGE_H

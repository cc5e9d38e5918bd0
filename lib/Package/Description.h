//===- Description.h - The constant a module exports ------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_DESCRIPTION_H
#define SSM_LIB_PACKAGE_DESCRIPTION_H

#include "lib/Package/DeviceCode.h"
#include "lib/Package/ModuleSpec.h"
#include "lib/Target/CpuTarget.h"

#include <optional>

namespace llvm {
class Module;
}

namespace ssm {

/// Name of the symbol that holds embedded weights, inside the linked module.
inline constexpr llvm::StringLiteral kEmbeddedWeightsSymbol = "ssm_embedded_weights";

/// Where the weights of a module are.
struct WeightsPlace {
  bool embedded = false;
  std::string fileName;    // without folders; empty if embedded or no weights
  int64_t fileBytes = 0;   // of the whole file
  int64_t base = 0;        // where offsets count from
  uint64_t headerHash = 0; // XXH3_64bits of the first `base` bytes
};

/// What a description tells of where its module came from.
struct ModelOrigin {
  /// The command line without its paths.
  std::string options;
  /// Of the model and its weights, however they are compiled; 0: not known.
  uint64_t modelHash = 0;
};

/// Under which name a description is found.
struct DescriptionSymbol {
  std::string name;
  /// By the other versions of the module only.
  bool isHidden = false;
  /// The descriptions of the other versions, if this is the first.
  std::vector<std::string> versions = {};
};

/// Adds the constant `ssm_module` (include/ssmrt/module_abi.h) to a module that
/// defines @<entry>.run and @<entry>.plan, and makes everything else internal.
/// `device` is nothing for a CPU; for a GPU it may be without kernels, as where all results are
/// known.
void addDescription(llvm::Module &module, const ModuleSpec &spec, const WeightsPlace &place,
                    const CpuTarget &target, const ModelOrigin &origin,
                    const DescriptionSymbol &symbol,
                    const std::optional<DeviceCode> &device = std::nullopt);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_DESCRIPTION_H

//===- PackageTesting.h - Helpers of these tests ---------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TEST_UNIT_PACKAGE_PACKAGETESTING_H
#define SSM_TEST_UNIT_PACKAGE_PACKAGETESTING_H

#include "include/ssmrt/module_abi.h"
#include "lib/Package/Package.h"
#include "lib/Support/ScratchFolder.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

#include <dlfcn.h>
#include <map>

namespace ssm {

template <typename T> std::string messageOf(llvm::Expected<T> value) {
  return value ? "" : llvm::toString(value.takeError());
}

inline void writeFile(llvm::StringRef path, llvm::StringRef text) {
  std::error_code code;
  llvm::raw_fd_ostream stream(path, code);
  ASSERT_FALSE(code) << code.message();
  stream << text;
}

inline std::string readFile(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, false, false);
  EXPECT_TRUE(bool(buffer)) << path.str();
  return buffer ? (*buffer)->getBuffer().str() : "";
}

/// The names in a folder, sorted.
inline std::vector<std::string> listFolder(llvm::StringRef path) {
  std::vector<std::string> names;
  std::error_code code;
  for (llvm::sys::fs::directory_iterator i(path, code), end; i != end && !code; i.increment(code))
    names.push_back(llvm::sys::path::filename(i->path()).str());
  llvm::sort(names);
  return names;
}

/// Weights in memory, given in small pieces.
class MemorySources : public WeightSources {
public:
  std::map<std::string, std::string> weights;

  template <typename T> void add(std::string name, std::vector<T> values) {
    weights[name].assign(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
  }

  llvm::Error read(WeightOp weight, WeightSink sink) override {
    auto found = weights.find(weight.getSymName().str());
    if (found == weights.end())
      return llvm::createStringError("no such weight");
    auto bytes = llvm::arrayRefFromStringRef(found->second);
    while (!bytes.empty()) {
      size_t count = std::min<size_t>(bytes.size(), 3);
      if (llvm::Error error = sink(bytes.take_front(count)))
        return error;
      bytes = bytes.drop_front(count);
    }
    return llvm::Error::success();
  }
};

/// A context with what these modules use.
struct Context : mlir::MLIRContext {
  Context() : mlir::MLIRContext(Threading::DISABLED) {
    loadDialect<SSMDialect, mlir::LLVM::LLVMDialect>();
  }
  mlir::OwningOpRef<mlir::ModuleOp> parse(llvm::StringRef text) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, this);
    EXPECT_TRUE(bool(module));
    return module;
  }
};

inline CpuTarget nativeTarget() { return llvm::cantFail(CpuTarget::resolve("native")); }

/// A module for this machine.
inline ModuleVersion nativeVersion(mlir::ModuleOp module, mlir::ModuleOp init = nullptr) {
  return {nativeTarget(), std::nullopt, module, init};
}

inline PackageOptions nativeOptions() {
  PackageOptions options;
  options.origin = {"-O3 --cpu=native", 0x1234};
  return options;
}

/// A loaded module file.
class Loaded {
public:
  explicit Loaded(llvm::StringRef path)
      : handle(dlopen(path.str().c_str(), RTLD_NOW | RTLD_LOCAL)) {
    EXPECT_TRUE(handle) << dlerror();
    if (handle)
      module = static_cast<const ssm_module *>(dlsym(handle, SSM_MODULE_SYMBOL));
    EXPECT_TRUE(module);
  }
  ~Loaded() {
    if (handle)
      dlclose(handle);
  }
  const ssm_module *operator->() const { return module; }
  void *symbol(const char *name) const { return dlsym(handle, name); }

private:
  void *handle;
  const ssm_module *module = nullptr;
};

} // namespace ssm

#endif // SSM_TEST_UNIT_PACKAGE_PACKAGETESTING_H

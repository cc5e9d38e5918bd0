//===- BuildObject.cpp - From LLVM IR to a linked file --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/BuildObject.h"

#include "lib/Package/Codegen.h"
#include "lib/Package/Linker.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace ssm;

Error ssm::writeWholeFile(StringRef path, StringRef bytes) {
  std::error_code code;
  raw_fd_ostream stream(path, code);
  if (!code) {
    stream << bytes;
    stream.close();
    code = stream.error();
    stream.clear_error();
  }
  if (code)
    return createStringError("cannot write '" + path + "': " + code.message());
  return Error::success();
}

Error ssm::buildModuleFile(Module &module, const CpuTarget &target, int level, StringRef linker,
                           std::vector<std::string> objects, const ScratchFolder &scratch,
                           StringRef output, LinkForm form) {
  Expected<SmallVector<char, 0>> code = emitCode(module, target, level, CodeForm::Object);
  if (!code)
    return code.takeError();
  StringRef bytes(code->data(), code->size());
  Expected<ObjectNeeds> needs = checkUndefinedSymbols(bytes);
  if (!needs)
    return needs.takeError();
  objects.push_back(scratch.file("module.o"));
  if (Error error = writeWholeFile(objects.back(), bytes))
    return error;
  if (needs->builtins) {
    Expected<SmallVector<char, 0>> builtins = emitBuiltins(target);
    if (!builtins)
      return builtins.takeError();
    objects.push_back(scratch.file("builtins.o"));
    if (Error error = writeWholeFile(objects.back(), StringRef(builtins->data(), builtins->size())))
      return error;
  }
  if (form == LinkForm::Static)
    return linkStaticModule(linker, objects, scratch, output);
  return linkModule(linker, objects, needs->math, scratch, output);
}

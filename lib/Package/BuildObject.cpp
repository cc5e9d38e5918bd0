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

/// Adds an object file of these bytes to the list.
static Error addObject(const SmallVector<char, 0> &bytes, std::string path,
                       std::vector<std::string> &objects) {
  objects.push_back(std::move(path));
  return writeWholeFile(objects.back(), StringRef(bytes.data(), bytes.size()));
}

Error ssm::buildModuleFile(ArrayRef<CodePart> parts, int level, StringRef linker,
                           std::vector<std::string> objects, const ScratchFolder &scratch,
                           StringRef output, LinkForm form, const StepInputs &inputs) {
  ObjectNeeds all;
  for (auto [i, part] : enumerate(parts)) {
    Expected<SmallVector<char, 0>> code =
        emitCode(part.module, part.target, level, CodeForm::Object, inputs);
    if (!code)
      return code.takeError();
    Expected<ObjectNeeds> needs = checkUndefinedSymbols(StringRef(code->data(), code->size()));
    if (!needs)
      return needs.takeError();
    all.math |= needs->math;
    all.builtins |= needs->builtins;
    if (Error error =
            addObject(*code, scratch.file("module" + std::to_string(i) + ".o"), objects))
      return error;
  }
  const CpuTarget &first = parts.front().target;
  if (all.builtins) {
    // Shared by all versions: for a processor that none of them is better than.
    Expected<CpuTarget> baseline =
        parts.size() == 1 ? first : CpuTarget::resolve(kBaselineCpu, first.triple);
    if (!baseline)
      return baseline.takeError();
    Expected<SmallVector<char, 0>> builtins = emitBuiltins(*baseline);
    if (!builtins)
      return builtins.takeError();
    if (Error error = addObject(*builtins, scratch.file("builtins.o"), objects))
      return error;
  }
  if (form == LinkForm::Static)
    return linkStaticModule(linker, objects, scratch, output, inputs);
  return linkModule(linker, objects, first.triple, all.math, scratch, output, inputs);
}

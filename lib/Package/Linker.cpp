//===- Linker.cpp - From objects to a module file -------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/Linker.h"

#include "include/ssmrt/module_abi.h"
#include "lib/Package/BuildObject.h"
#include "lib/Package/Builtins.h"
#include "lib/Package/ElfObject.h"
#include "lib/Package/Hash.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/ObjCopy/CommonConfig.h"
#include "llvm/ObjCopy/ELF/ELFConfig.h"
#include "llvm/ObjCopy/ELF/ELFObjcopy.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace ssm;

//===----------------------------------------------------------------------===//
// The linker
//===----------------------------------------------------------------------===//

Expected<std::string> ssm::findLinker(StringRef requested) {
  if (!requested.empty()) {
    if (ErrorOr<std::string> found = sys::findProgramByName(requested))
      return *found;
    return createStringError("cannot find the linker '" + requested + "' given by --linker");
  }
  std::string versioned = ("ld.lld-" + Twine(LLVM_VERSION_MAJOR)).str();
  for (StringRef name : {StringRef("ld.lld"), StringRef(versioned)})
    if (ErrorOr<std::string> found = sys::findProgramByName(name))
      return *found;
  std::string folder = ("/usr/lib/llvm-" + Twine(LLVM_VERSION_MAJOR) + "/bin").str();
  if (ErrorOr<std::string> found = sys::findProgramByName("ld.lld", {folder}))
    return *found;
  return createStringError("cannot find the linker: neither ld.lld nor " + versioned +
                           " on PATH, nor ld.lld in " + folder +
                           "; install lld or give --linker=PATH");
}

/// Runs the linker quietly; what it says goes into the error.
static Error runLinker(StringRef linker, ArrayRef<std::string> arguments,
                       const ScratchFolder &scratch, const StepInputs &inputs) {
  std::string log = scratch.file("linker.log");
  SmallVector<StringRef> args = {linker};
  append_range(args, arguments);
  std::string message;
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(log), StringRef(log)};
  int status = sys::ExecuteAndWait(linker, args, std::nullopt, redirects, 0, 0, &message);
  if (status == 0)
    return Error::success();
  if (ErrorOr<std::unique_ptr<MemoryBuffer>> text = MemoryBuffer::getFile(log))
    message += (*text)->getBuffer().trim();
  return inputs.keep(
      createStringError("the linker '" + linker + "' failed: " + reasonOf(message, status)), linker,
      arguments);
}

/// A shared object that is nothing but the name of the C mathematics library:
/// linked against it, a module asks for that library at load, whatever folder it
/// lies in there. The linker needs no C library of the target.
static Expected<std::string> makeMathLibrary(StringRef linker, StringRef triple,
                                             const ScratchFolder &scratch,
                                             const StepInputs &inputs) {
  Expected<ElfObject> empty = makeElfObject(triple, "ssm_nothing", 0);
  if (!empty)
    return empty.takeError();
  std::string object = scratch.file("libm.o");
  std::string library = scratch.file("libm.so.6");
  if (Error error = writeWholeFile(object, empty->head + empty->tail))
    return error;
  if (Error error = runLinker(linker, {"-shared", "-soname=libm.so.6", "-o", library, object},
                              scratch, inputs))
    return error;
  return library;
}

Error ssm::linkModule(StringRef linker, ArrayRef<std::string> objects, StringRef triple,
                      bool needsMath, const ScratchFolder &scratch, StringRef output,
                      const StepInputs &inputs) {
  // Nothing here depends on the machine or the time: same objects, same bytes.
  std::vector<std::string> args = {
      "-shared", "--build-id=none", "--hash-style=gnu", "-O1", "--gc-sections", "--strip-all",
      "-znow",   "-zrelro",         "-znoexecstack",    "-o",  output.str()};
  append_range(args, objects);
  if (needsMath) {
    Expected<std::string> math = makeMathLibrary(linker, triple, scratch, inputs);
    if (!math)
      return math.takeError();
    args.push_back("--no-as-needed");
    args.push_back(*math);
  }
  return runLinker(linker, args, scratch, inputs);
}

Error ssm::linkStaticModule(StringRef linker, ArrayRef<std::string> objects,
                            const ScratchFolder &scratch, StringRef output,
                            const StepInputs &inputs) {
  std::string merged = scratch.file("merged.o");
  std::vector<std::string> args = {"-r", "--build-id=none", "-o", merged};
  append_range(args, objects);
  if (Error error = runLinker(linker, args, scratch, inputs))
    return error;
  // What is hidden in a shared object is a symbol of its own in a program of several.
  Expected<object::OwningBinary<object::ObjectFile>> object =
      object::ObjectFile::createObjectFile(merged);
  if (!object)
    return object.takeError();
  objcopy::CommonConfig common;
  objcopy::ELFConfig elf;
  elf.LocalizeHidden = true;
  common.DiscardMode = objcopy::DiscardType::All;
  std::error_code code;
  raw_fd_ostream stream(output, code);
  if (code)
    return createStringError("cannot write '" + output + "': " + code.message());
  return objcopy::elf::executeObjcopyOnBinary(
      common, elf, *cast<object::ELFObjectFileBase>(object->getBinary()), stream);
}

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

static bool isMemoryFunction(StringRef name) {
  static constexpr StringLiteral names[] = {"memcpy", "memmove", "memset", "memcmp", "bcmp"};
  return is_contained(names, name);
}

static bool isMathFunction(StringRef name) {
  static const StringSet<> names = {
      "acos",      "acosh",    "asin",      "asinh", "atan",   "atan2",     "atanh",   "cbrt",
      "ceil",      "copysign", "cos",       "cosh",  "erf",    "erfc",      "exp",     "exp10",
      "exp2",      "expm1",    "fabs",      "fdim",  "floor",  "fma",       "fmax",    "fmin",
      "fmod",      "frexp",    "hypot",     "ldexp", "lgamma", "llrint",    "llround", "log",
      "log10",     "log1p",    "log2",      "logb",  "lrint",  "lround",    "modf",    "nearbyint",
      "nextafter", "pow",      "remainder", "rint",  "round",  "roundeven", "scalbn",  "sin",
      "sincos",    "sinh",     "sqrt",      "tan",   "tanh",   "tgamma",    "trunc"};
  return names.contains(name) || (name.ends_with("f") && names.contains(name.drop_back()));
}

Expected<ObjectNeeds> ssm::checkUndefinedSymbols(StringRef object) {
  Expected<std::unique_ptr<object::ObjectFile>> file =
      object::ObjectFile::createObjectFile(MemoryBufferRef(object, "object"));
  if (!file)
    return file.takeError();
  ObjectNeeds needs;
  for (const object::SymbolRef &symbol : (*file)->symbols()) {
    Expected<uint32_t> flags = symbol.getFlags();
    if (!flags)
      return flags.takeError();
    // What is hidden lies in another object of the module; the linker looks for it.
    if (!(*flags & object::SymbolRef::SF_Undefined) || *flags & object::SymbolRef::SF_Hidden)
      continue;
    Expected<StringRef> name = symbol.getName();
    if (!name)
      return name.takeError();
    if (isMathFunction(*name))
      needs.math = true;
    else if (isBuiltin(*name))
      needs.builtins = true;
    else if (!name->empty() && !isMemoryFunction(*name) && *name != "_GLOBAL_OFFSET_TABLE_")
      return createStringError("the generated code calls '" + *name +
                               "'; a module may refer to the C library's memory and mathematics "
                               "functions only");
  }
  return needs;
}

//===----------------------------------------------------------------------===//
// Trailer
//===----------------------------------------------------------------------===//

Error ssm::appendTrailer(StringRef path) {
  ssm_trailer trailer = {};
  memcpy(trailer.magic, SSM_TRAILER_MAGIC, sizeof(trailer.magic));
  {
    ErrorOr<std::unique_ptr<MemoryBuffer>> file =
        MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    if (!file)
      return createStringError("cannot read '" + path + "': " + file.getError().message());
    Hash128 hash = hash128(arrayRefFromStringRef((*file)->getBuffer()));
    trailer.content_bytes = (*file)->getBufferSize();
    trailer.hash_low = hash.low;
    trailer.hash_high = hash.high;
  }
  std::error_code code;
  raw_fd_ostream stream(path, code, sys::fs::CD_OpenExisting, sys::fs::FA_Write,
                        sys::fs::OF_Append);
  if (!code) {
    stream.write(reinterpret_cast<const char *>(&trailer), sizeof(trailer));
    stream.close();
    code = stream.error();
    stream.clear_error();
  }
  if (code)
    return createStringError("cannot write '" + path + "': " + code.message());
  return Error::success();
}

//===- Loader.cpp - From a file to a module -------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file is hashed whole before the dynamic loader sees it, since a damaged ELF
// file can crash that. What was hashed is what gets loaded: both go through one
// open descriptor.
//
//===----------------------------------------------------------------------===//

#include "Hash.h"
#include "Module.h"
#include "Status.h"
#include "Validate.h"

#include <atomic>
#include <cstdio>
#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

using namespace ssmrt;

/// Checks the ssm_trailer at the end of the file.
static ssmrt_status checkTrailer(const MappedFile &file, const char *path) {
  ssm_trailer trailer;
  if (file.size() < sizeof(trailer))
    return fail(SSMRT_BAD_FILE, "'%s' is not a module: %llu bytes are less than its end takes",
                path, (unsigned long long)file.size());
  size_t content = file.size() - sizeof(trailer);
  std::memcpy(&trailer, file.data() + content, sizeof(trailer));
  if (std::memcmp(trailer.magic, SSM_TRAILER_MAGIC, sizeof(trailer.magic)))
    return fail(SSMRT_BAD_FILE,
                "'%s' is not a whole module: it does not end in the mark of "
                "one",
                path);
  if (trailer.content_bytes != content)
    return fail(SSMRT_BAD_FILE, "module '%s' is damaged: %llu bytes of content, expected %llu",
                path, (unsigned long long)content, (unsigned long long)trailer.content_bytes);
  Hash128 hash = hash128(file.data(), content);
  if (hash.low != trailer.hash_low || hash.high != trailer.hash_high)
    return fail(SSMRT_BAD_FILE,
                "module '%s' is damaged: its content has hash %016llx%016llx, "
                "expected %016llx%016llx",
                path, (unsigned long long)hash.high, (unsigned long long)hash.low,
                (unsigned long long)trailer.hash_high, (unsigned long long)trailer.hash_low);
  return SSMRT_OK;
}

/// Code of another architecture, for which the dynamic loader says that there is no such
/// file. What is no ELF file at all is left to that.
static ssmrt_status checkMachine(const MappedFile &file, const char *path) {
#if defined(__x86_64__)
  constexpr uint16_t host = EM_X86_64;
#elif defined(__aarch64__)
  constexpr uint16_t host = EM_AARCH64;
#else
  constexpr uint16_t host = EM_RISCV;
#endif
  ElfW(Ehdr) header;
  if (file.size() < sizeof(header))
    return SSMRT_OK;
  std::memcpy(&header, file.data(), sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_machine == host)
    return SSMRT_OK;
  auto nameOf = [](uint16_t machine) {
    return machine == EM_X86_64    ? "x86-64"
           : machine == EM_AARCH64 ? "AArch64"
           : machine == EM_RISCV   ? "RISC-V"
                                   : "another architecture";
  };
  return fail(SSMRT_UNSUPPORTED, "module '%s' has code for %s, this machine is %s", path,
              nameOf(header.e_machine), nameOf(host));
}

/// A path of the open file that no earlier call of this process has given: the
/// dynamic loader takes a name that it has seen for the same file, but
/// descriptors are used again. A counter is written in steps that lead nowhere.
static void uniquePath(int descriptor, char (&path)[192]) {
  static std::atomic<uint32_t> counter{0};
  uint32_t number = counter.fetch_add(1, std::memory_order_relaxed);
  int used = std::snprintf(path, sizeof(path), "/proc/self/fd");
  for (; number; number >>= 1)
    used +=
        std::snprintf(path + used, sizeof(path) - size_t(used), "%s", number & 1 ? "//." : "/.");
  std::snprintf(path + used, sizeof(path) - size_t(used), "/%d", descriptor);
}

static ssmrt_status openLibrary(ssmrt_module &module) {
  char path[192];
  uniquePath(module.file.descriptor(), path);
  // Modules call the C library's math functions; on some systems these are in a
  // library of their own that the program need not have. It stays.
  dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL);
  // Without /proc, by its own name; as a path, not one to be searched for.
  char *named = access(path, R_OK) == 0 ? nullptr : realpath(module.path, nullptr);
  module.library = dlopen(named ? named : path, RTLD_NOW | RTLD_LOCAL);
  std::free(named);
  if (!module.library) {
    const char *reason = dlerror();
    return fail(SSMRT_BAD_FILE, "cannot load module '%s': %s", module.path,
                reason ? reason : "no reason given");
  }
  return SSMRT_OK;
}

/// Finds the description; what it says is not looked at, only that it is whole.
static ssmrt_status findDescription(ssmrt_module &module) {
  void *symbol = dlsym(module.library, SSM_MODULE_SYMBOL);
  if (!symbol)
    return fail(SSMRT_BAD_FILE, "module '%s' has no symbol '%s'", module.path, SSM_MODULE_SYMBOL);
  Dl_info info;
  ElfW(Sym) *facts = nullptr;
  size_t bytes = 0;
  if (dladdr1(symbol, &info, reinterpret_cast<void **>(&facts), RTLD_DL_SYMENT) && facts)
    bytes = size_t(facts->st_size);
  module.description = static_cast<const ssm_module *>(symbol);
  // Magic, version and size come first in every version.
  if (bytes < 3 * sizeof(uint32_t))
    return fail(SSMRT_BAD_FILE, "module '%s': symbol '%s' has %llu bytes, too few", module.path,
                SSM_MODULE_SYMBOL, (unsigned long long)bytes);
  SSMRT_TRY(validateVersion(*module.description, module.path));
  if (bytes < sizeof(ssm_module))
    return fail(SSMRT_BAD_FILE, "module '%s': symbol '%s' has %llu bytes, expected %llu",
                module.path, SSM_MODULE_SYMBOL, (unsigned long long)bytes,
                (unsigned long long)sizeof(ssm_module));
  return SSMRT_OK;
}

static ssmrt_status load(ssmrt_module &module, const ssmrt_load_options *options) {
  SSMRT_TRY(module.file.open(module.path, "module"));
  SSMRT_TRY(checkTrailer(module.file, module.path));
  SSMRT_TRY(checkMachine(module.file, module.path));
  module.file.unmap();
  SSMRT_TRY(openLibrary(module));
  SSMRT_TRY(findDescription(module));
  return module.initialize(options);
}

ssmrt_status ssmrt_module_load(const char *path, const ssmrt_load_options *options,
                               ssmrt_module **result) {
  if (!path || !result)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", path ? "result" : "path");
  auto *module = make<ssmrt_module>();
  if (module)
    module->path = copyString(path);
  ssmrt_status status = module && module->path ? load(*module, options)
                                               : outOfMemory("the module", sizeof(ssmrt_module));
  if (status == SSMRT_OK)
    *result = module;
  else
    unmake(module);
  return status;
}

ssmrt_status ssmrt_module_create(const ssm_module *description, const ssmrt_load_options *options,
                                 ssmrt_module **result) {
  if (!description || !result)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", description ? "result" : "description");
  SSMRT_TRY(validateVersion(*description, ""));
  auto *module = make<ssmrt_module>();
  ssmrt_status status = SSMRT_OK;
  if (module)
    module->path = copyString("");
  if (!module || !module->path) {
    status = outOfMemory("the module", sizeof(ssmrt_module));
  } else {
    module->description = description;
    status = module->initialize(options);
  }
  if (status == SSMRT_OK)
    *result = module;
  else
    unmake(module);
  return status;
}

ssmrt_status ssmrt_load_options_create(ssmrt_load_options **options) {
  if (!options)
    return fail(SSMRT_INVALID_ARGUMENT, "options is NULL");
  *options = make<ssmrt_load_options>();
  return *options ? SSMRT_OK : outOfMemory("options", sizeof(ssmrt_load_options));
}

void ssmrt_load_options_destroy(ssmrt_load_options *options) { unmake(options); }

ssmrt_status ssmrt_load_options_set_weights_file(ssmrt_load_options *options, const char *path) {
  if (!options || !path)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", options ? "path" : "options");
  char *copy = copyString(path);
  if (!copy)
    return outOfMemory("a file name", (long long)std::strlen(path));
  std::free(options->weightsFile);
  options->weightsFile = copy;
  return SSMRT_OK;
}

ssmrt_status ssmrt_load_options_set_device(ssmrt_load_options *options, const char *device) {
  if (!options || !device)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", options ? "device" : "options");
  return options->device.parse(device);
}

ssmrt_status ssmrt_load_options_set_weights_memory(ssmrt_load_options *options, const void *data,
                                                   size_t bytes) {
  if (!options || !data)
    return fail(SSMRT_INVALID_ARGUMENT, "%s is NULL", options ? "data" : "options");
  options->weightsMemory = data;
  options->weightsMemoryBytes = bytes;
  return SSMRT_OK;
}

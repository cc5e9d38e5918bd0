//===- BuildDevice.cpp - From device kernels to images --------------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/BuildDevice.h"

#include "dialects/SSM/TensorMapOp.h"
#include "lib/Package/BuildObject.h"
#include "lib/Package/Codegen.h"
#include "lib/Support/ScratchFolder.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include <thread>

using namespace ssm;
using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

//===----------------------------------------------------------------------===//
// The assembler
//===----------------------------------------------------------------------===//

/// Folders of wheels that bring ptxas: LIB/python3.*/site-packages/nvidia/*/bin.
static void addWheelFolders(StringRef prefix, llvm::SmallVectorImpl<std::string> &folders) {
  std::error_code error;
  llvm::SmallString<128> lib(prefix);
  llvm::sys::path::append(lib, "lib");
  for (llvm::sys::fs::directory_iterator python(lib, error), end; python != end && !error;
       python.increment(error)) {
    if (!llvm::sys::path::filename(python->path()).starts_with("python3"))
      continue;
    llvm::SmallString<128> wheels(python->path());
    llvm::sys::path::append(wheels, "site-packages", "nvidia");
    std::error_code inner;
    for (llvm::sys::fs::directory_iterator wheel(wheels, inner), last; wheel != last && !inner;
         wheel.increment(inner)) {
      llvm::SmallString<128> bin(wheel->path());
      llvm::sys::path::append(bin, "bin");
      folders.push_back(bin.str().str());
    }
  }
}

/// Why it cannot be used: what it says, or how it ends, if it does not run, or a chip that it does
/// not know.
static Expected<std::string> whyUnfit(StringRef program, llvm::ArrayRef<GpuTarget> targets) {
  constexpr unsigned seconds = 20;
  Expected<ScratchFolder> scratch = ScratchFolder::create("ssm-device");
  if (!scratch)
    return scratch.takeError();
  std::string help = scratch->file("help.txt"), message;
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(help), StringRef(help)};
  int status = llvm::sys::ExecuteAndWait(program, {program, "--help"}, std::nullopt, redirects,
                                         seconds, 0, &message);
  if (status != 0)
    return "does not run: " + reasonOf(message, status);
  auto text = llvm::MemoryBuffer::getFile(help);
  // It lists the chips: one that lists none is taken as it is.
  if (!text || !(*text)->getBuffer().contains("'sm_"))
    return std::string();
  for (const GpuTarget &target : targets)
    if (!(*text)->getBuffer().contains("'" + target.chip + "'"))
      return "is too old for " + target.chip;
  return std::string();
}

Expected<std::string> ssm::findPtxas(StringRef requested, llvm::ArrayRef<GpuTarget> targets) {
  if (!requested.empty()) {
    auto found = llvm::sys::findProgramByName(requested);
    if (!found || !llvm::sys::fs::can_execute(*found))
      return createStringError("cannot find '" + requested + "' given by --ptxas");
    Expected<std::string> why = whyUnfit(*found, targets);
    if (why && !why->empty())
      return createStringError("'" + *found + "' given by --ptxas " + *why);
    return why ? Expected<std::string>(*found) : why.takeError();
  }
  llvm::SmallVector<std::string> folders;
  if (std::optional<std::string> path = llvm::sys::Process::GetEnv("PATH"))
    for (StringRef folder : llvm::split(*path, llvm::sys::EnvPathSeparator))
      if (!folder.empty())
        folders.push_back(folder.str());
  for (const char *name : {"CUDA_HOME", "CUDA_PATH"})
    if (std::optional<std::string> root = llvm::sys::Process::GetEnv(name))
      folders.push_back(*root + "/bin");
  folders.push_back("/usr/local/cuda/bin");
  if (std::optional<std::string> root = llvm::sys::Process::GetEnv("VIRTUAL_ENV"))
    addWheelFolders(*root, folders);
  if (auto python = llvm::sys::findProgramByName("python3"))
    addWheelFolders(llvm::sys::path::parent_path(llvm::sys::path::parent_path(*python)), folders);
  // An environment beside the compiler, as set-up makes it.
  std::string self = llvm::sys::fs::getMainExecutable(nullptr, nullptr);
  addWheelFolders(
      (llvm::sys::path::parent_path(llvm::sys::path::parent_path(self)) + "/venv").str(), folders);
  std::string unfit;
  for (const std::string &folder : folders) {
    auto found = llvm::sys::findProgramByName("ptxas", {folder});
    if (!found)
      continue;
    Expected<std::string> why = whyUnfit(*found, targets);
    if (!why)
      return why.takeError();
    if (why->empty())
      return *found;
    if (unfit.empty())
      unfit = "'" + *found + "' " + *why;
  }
  if (!unfit.empty())
    return createStringError(unfit + "; another is given by --ptxas, or found in the Python wheel "
                                     "nvidia-cuda-nvcc");
  return std::string();
}

static int64_t numberBefore(StringRef line, StringRef word) {
  size_t at = line.find(word);
  if (at == StringRef::npos)
    return -1;
  StringRef text = line.take_front(at).rtrim();
  text = text.substr(text.find_last_not_of("0123456789") + 1);
  int64_t number = -1;
  return text.getAsInteger(10, number) ? -1 : number;
}

/// Reads what `ptxas -v` tells of each kernel.
static void readResources(StringRef log, DeviceCode &code) {
  DeviceKernel *kernel = nullptr;
  llvm::SmallVector<StringRef> lines;
  log.split(lines, '\n');
  for (StringRef line : lines) {
    auto [before, quoted] = line.split("Function properties for ");
    if (quoted.empty())
      std::tie(before, quoted) = line.split("Compiling entry function '");
    if (!quoted.empty()) {
      StringRef name = quoted.take_until([](char c) { return c == '\'' || c == ' '; }).trim();
      kernel = nullptr;
      for (DeviceKernel &other : code.kernels)
        if (other.name == name)
          kernel = &other;
      continue;
    }
    if (!kernel)
      continue;
    if (int64_t bytes = numberBefore(line, " bytes spill stores"); bytes >= 0)
      kernel->spillBytes = bytes;
    if (int64_t count = numberBefore(line, " registers"); count >= 0) {
      kernel->registers = count;
      int64_t bytes = numberBefore(line, " bytes smem");
      kernel->sharedBytes = std::max<int64_t>(bytes, 0) + kernel->dynamicShared;
    }
  }
}

static Expected<std::string> assemble(StringRef ptx, const GpuTarget &target, StringRef ptxas,
                                      const StepInputs &inputs, DeviceCode &code) {
  Expected<ScratchFolder> scratch = ScratchFolder::create("ssm-device");
  if (!scratch)
    return scratch.takeError();
  std::string source = scratch->file("kernels.ptx"), result = scratch->file("kernels.cubin"),
              log = scratch->file("ptxas.log");
  if (Error error = writeWholeFile(source, ptx))
    return error;
  std::string arch = "-arch=" + target.chip;
  std::string command = (ptxas + " -O3 -v " + arch + " {} -o /dev/null").str();
  llvm::SmallVector<StringRef> args = {ptxas, "-O3", "-v", arch, "--split-compile=0",
                                       source, "-o", result};
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(log), StringRef(log)};
  std::string message;
  int status = llvm::sys::ExecuteAndWait(ptxas, args, std::nullopt, redirects, 0, 0, &message);
  std::string told;
  if (auto text = llvm::MemoryBuffer::getFile(log))
    told = (*text)->getBuffer().str();
  if (status != 0)
    return inputs.keep(
        createStringError("'" + ptxas + "' failed: " + reasonOf(message + told, status)), "ptx",
        ptx, command);
  readResources(told, code);
  auto bytes = llvm::MemoryBuffer::getFile(result);
  if (!bytes)
    return inputs.keep(createStringError("'" + ptxas + "' wrote no file"), "ptx", ptx, command);
  return (*bytes)->getBuffer().str();
}

//===----------------------------------------------------------------------===//
// LLVM
//===----------------------------------------------------------------------===//

static void optimize(llvm::Module &module, llvm::TargetMachine *machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
}

static Error optimizeChecked(llvm::Module &module, llvm::TargetMachine &machine) {
  std::string problem;
  llvm::raw_string_ostream stream(problem);
  if (llvm::verifyModule(module, &stream))
    return createStringError("the LLVM IR of the device kernels is malformed: " + problem);
  optimize(module, &machine);
  return Error::success();
}

namespace {
/// The kernels in LLVM IR.
class DeviceModule {
public:
  static Expected<std::unique_ptr<DeviceModule>>
  create(mlir::gpu::GPUModuleOp device, const GpuTarget &target, const StepInputs &inputs);

  Error optimize() {
    return run(*module, [&] { return optimizeChecked(*module, *machine); });
  }
  /// PTX of all kernels, or of those alone.
  Expected<std::string> emit(const llvm::StringSet<> *kernels = nullptr);
  /// Gives kernels that spill more registers, by fewer blocks on a multiprocessor. Those that got
  /// more.
  llvm::StringSet<> relax(const DeviceCode &code);

private:
  DeviceModule(const GpuTarget &target, const StepInputs &inputs)
      : target(target), inputs(inputs) {}
  template <typename Body> Error run(llvm::Module &module, Body body) {
    return inputs.run("LLVM's code generation for " + target.chip, module,
                      "llc -O3 -mcpu=" + target.chip + " {} -o /dev/null", body);
  }

  const GpuTarget &target;
  const StepInputs &inputs;
  llvm::LLVMContext context;
  std::unique_ptr<llvm::TargetMachine> machine;
  std::unique_ptr<llvm::Module> module;
};
} // namespace

Expected<std::unique_ptr<DeviceModule>> DeviceModule::create(mlir::gpu::GPUModuleOp device,
                                                             const GpuTarget &target,
                                                             const StepInputs &inputs) {
  mlir::DialectRegistry registry;
  mlir::registerBuiltinDialectTranslation(registry);
  mlir::registerLLVMDialectTranslation(registry);
  mlir::registerGPUDialectTranslation(registry);
  mlir::registerNVVMDialectTranslation(registry);
  device->getContext()->appendDialectRegistry(registry);
  std::unique_ptr<DeviceModule> made(new DeviceModule(target, inputs));
  if (Error error =
          target.createMachine(llvm::CodeGenOptLevel::Aggressive).moveInto(made->machine))
    return error;
  // Before loads are made: without it i64 is aligned to four bytes, and read in two halves.
  std::string layout = made->machine->createDataLayout().getStringRepresentation();
  device->setAttr(mlir::LLVM::LLVMDialect::getDataLayoutAttrName(),
                  mlir::StringAttr::get(device.getContext(), layout));
  if (Error error =
          translateToLLVM(device, made->context, "ssm_device", inputs).moveInto(made->module))
    return error;
  llvm::Module &module = *made->module;
  module.setTargetTriple(made->machine->getTargetTriple());
  module.setSourceFileName("ssm_device");
  return made;
}

Expected<std::string> DeviceModule::emit(const llvm::StringSet<> *kernels) {
  // Code generation changes what it is given.
  llvm::ValueToValueMapTy map;
  std::unique_ptr<llvm::Module> copy =
      llvm::CloneModule(*module, map, [&](const llvm::GlobalValue *value) {
        auto *function = llvm::dyn_cast<llvm::Function>(value);
        return !kernels || !function ||
               function->getCallingConv() != llvm::CallingConv::PTX_Kernel ||
               kernels->contains(function->getName());
      });
  llvm::SmallVector<char, 0> bytes;
  auto generate = [&]() -> Error {
    llvm::raw_svector_ostream out(bytes);
    llvm::legacy::PassManager passes;
    if (machine->addPassesToEmitFile(passes, out, nullptr, llvm::CodeGenFileType::AssemblyFile))
      return createStringError("LLVM cannot emit PTX");
    passes.run(*copy);
    return Error::success();
  };
  if (Error error = run(*copy, generate))
    return error;
  return std::string(bytes.begin(), bytes.end());
}

llvm::StringSet<> DeviceModule::relax(const DeviceCode &code) {
  constexpr StringRef bound = "nvvm.minctasm";
  // Registers of a multiprocessor and of a thread, blocks of a multiprocessor: CUDA's programming
  // guide, technical specifications, the least of all chips.
  constexpr int64_t all = 65536, most = 255, blocks = 16;
  llvm::StringSet<> relaxed;
  for (const DeviceKernel &kernel : code.kernels) {
    llvm::Function *function = module->getFunction(kernel.name);
    if (kernel.spillBytes <= 0 || !function)
      continue;
    int64_t threads = std::max(kernel.maxThreads, 1), had = kernel.registers;
    int64_t asked = function->getFnAttributeAsParsedInteger(bound, blocks + 1);
    // Registers come in eights.
    if (asked <= 1 || had + 8 > std::min(most, all / threads))
      continue;
    int64_t fewer = std::min(all / (threads * (had + std::max<int64_t>(8, had / 4))), asked - 1);
    function->addFnAttr(bound, std::to_string(std::max<int64_t>(fewer, 1)));
    relaxed.insert(kernel.name);
  }
  return relaxed;
}

/// Machine code and PTX. How many blocks should be on a multiprocessor is a guess where kernels are
/// emitted, or ptxas's own: whether registers suffice then is known here alone.
static Error assembleWithoutSpills(DeviceModule &module, const GpuTarget &target, StringRef ptxas,
                                   const StepInputs &inputs, DeviceCode &code, std::string &ptx,
                                   std::string &cubin) {
  auto make = [&](const llvm::StringSet<> *kernels) -> Error {
    if (Error error = module.emit(kernels).moveInto(ptx))
      return error;
    return assemble(ptx, target, ptxas, inputs, code).moveInto(cubin);
  };
  if (Error error = make(nullptr))
    return error;
  llvm::StringSet<> some = module.relax(code);
  if (some.empty())
    return Error::success();
  for (; !some.empty(); some = module.relax(code))
    if (Error error = make(&some))
      return error;
  return make(nullptr);
}

/// Tensor maps are parameters of their own, which stay where the launch put them. Upstream's
/// gpu-to-nvvm keeps no such attributes, so they come after it.
static void passTensorMaps(mlir::LLVM::LLVMFuncOp function) {
  using mlir::LLVM::LLVMDialect;
  mlir::Builder b(function.getContext());
  auto map = mlir::LLVM::LLVMArrayType::get(b.getI8Type(), 128);
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    if (!isTensorMap(function, i))
      continue;
    function.setArgAttr(i, LLVMDialect::getByValAttrName(), mlir::TypeAttr::get(map));
    function.setArgAttr(i, LLVMDialect::getAlignAttrName(), b.getI64IntegerAttr(64));
    function.setArgAttr(i, mlir::NVVM::NVVMDialect::getGridConstantAttrName(), b.getUnitAttr());
  }
}

static int32_t bytesOf(mlir::LLVM::LLVMFuncOp function, unsigned argument) {
  if (isTensorMap(function, argument))
    return 128;
  mlir::Type type = function.getArgumentTypes()[argument];
  if (mlir::isa<mlir::LLVM::LLVMPointerType>(type))
    return 8;
  return llvm::divideCeil(type.getIntOrFloatBitWidth(), 8);
}

namespace {
class Job : public DeviceJob {
public:
  Job(const GpuTarget &target, const DeviceOptions &options) : target(target), options(options) {}
  ~Job() override {
    if (thread.joinable())
      thread.join();
  }
  Error start(mlir::ModuleOp module);
  Expected<DeviceCode> finish() override;

private:
  Error compile();

  GpuTarget target;
  DeviceOptions options;
  DeviceCode code;
  std::unique_ptr<DeviceModule> compiled;
  /// What has become of it: of the thread, until that is joined.
  std::string problem;
  bool failed = false;
  std::thread thread;
};
} // namespace

Error Job::start(mlir::ModuleOp module) {
  auto devices = llvm::to_vector(module.getOps<mlir::gpu::GPUModuleOp>());
  if (devices.empty())
    return Error::success();
  mlir::gpu::GPUModuleOp device = devices.front();
  for (auto function : device.getOps<mlir::LLVM::LLVMFuncOp>()) {
    auto number = [&](StringRef name) -> int32_t {
      auto attr = function->getAttrOfType<mlir::IntegerAttr>(name);
      return attr ? attr.getInt() : 0;
    };
    if (function.isDeclaration())
      continue;
    passTensorMaps(function);
    DeviceKernel kernel;
    kernel.name = function.getName().str();
    kernel.maxThreads = number("ssm.max_threads");
    kernel.dynamicShared = number("ssm.dynamic_shared");
    kernel.flags = number("ssm.flags");
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      kernel.paramBytes.push_back(bytesOf(function, i));
    code.kernels.push_back(std::move(kernel));
  }
  Error error = DeviceModule::create(device, target, options.inputs).moveInto(compiled);
  device.erase();
  if (error)
    return error;
  // From here on nothing is shared with others.
  thread = std::thread([this] {
    if (Error error = compile()) {
      failed = true;
      problem = llvm::toString(std::move(error));
    }
  });
  return Error::success();
}

Error Job::compile() {
  if (Error error = compiled->optimize())
    return error;
  std::string ptx;
  if (options.ptxas.empty()) {
    if (Error error = compiled->emit().moveInto(ptx))
      return error;
  } else {
    std::string cubin;
    if (Error error = assembleWithoutSpills(*compiled, target, options.ptxas, options.inputs, code,
                                            ptx, cubin))
      return error;
    code.images.push_back({target.chip, std::move(cubin), /*isPtx=*/false});
    for (const DeviceKernel &kernel : code.kernels)
      if (options.spillBudget && kernel.spillBytes > *options.spillBudget)
        return createStringError("kernel '" + kernel.name + "' for " + target.chip + " spills " +
                                 std::to_string(kernel.spillBytes) + " bytes, expected at most " +
                                 std::to_string(*options.spillBudget));
  }
  if (options.withPtx || options.ptxas.empty())
    code.images.push_back({target.chip, std::move(ptx), /*isPtx=*/true});
  return Error::success();
}

Expected<DeviceCode> Job::finish() {
  if (thread.joinable())
    thread.join();
  if (failed)
    return createStringError(problem);
  return std::move(code);
}

Expected<std::unique_ptr<DeviceJob>> ssm::startDeviceCode(mlir::ModuleOp module,
                                                          const GpuTarget &target,
                                                          const DeviceOptions &options) {
  auto job = std::make_unique<Job>(target, options);
  if (Error error = job->start(module))
    return error;
  return std::unique_ptr<DeviceJob>(std::move(job));
}

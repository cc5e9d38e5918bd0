//===- Codegen.cpp - From the LLVM dialect to machine code ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/Codegen.h"

#include "dialects/SSM/SSMOps.h"
#include "lib/Package/Builtins.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/PassManager.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Passes/StandardInstrumentations.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/LoopUtils.h"

using namespace ssm;
using llvm::createStringError;
using llvm::Error;
using llvm::Expected;

using Machine = std::unique_ptr<llvm::TargetMachine>;

static llvm::CodeGenOptLevel codegenLevel(int level) {
  return level >= 3 ? llvm::CodeGenOptLevel::Aggressive : llvm::CodeGenOptLevel::Default;
}

/// Kernels take as many vectors at a time as they need. LLVM would take eight times as many in
/// loops of an open length, and all that comes before and after them, which short rows pay.
static void keepVectorLoops(llvm::Function &function) {
  llvm::DominatorTree tree(function);
  llvm::LoopInfo loops(tree);
  for (llvm::Loop *loop : loops.getLoopsInPreorder())
    if (llvm::any_of(loop->blocks(), [](llvm::BasicBlock *block) {
          return llvm::any_of(*block, [](llvm::Instruction &instruction) {
            return instruction.getType()->isVectorTy();
          });
        }))
      llvm::addStringMetadataToLoop(loop, "llvm.loop.unroll.runtime.disable");
}

static Error prepare(llvm::Module &module, const CpuTarget &target) {
  Expected<Machine> machine = target.createMachine(llvm::CodeGenOptLevel::Default);
  if (!machine)
    return machine.takeError();
  module.setTargetTriple(llvm::Triple(target.triple));
  module.setDataLayout((*machine)->createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", target.cpu);
    if (!target.features.empty())
      function.addFnAttr("target-features", target.features);
    // LLVM prefers half vectors on most of these processors, for the sake of code
    // that uses them now and then; a module uses nothing else.
    if (target.vectorBits() == 512)
      function.addFnAttr("prefer-vector-width", "512");
    // Loops over vectors are not to become calls: most copy short rows.
    function.addFnAttr("no-builtin-memcpy");
    function.addFnAttr(llvm::Attribute::NoUnwind);
    keepVectorLoops(function);
  }
  return Error::success();
}

Expected<std::unique_ptr<llvm::Module>>
ssm::translateToLLVM(mlir::Operation *module, llvm::LLVMContext &context, llvm::StringRef name,
                     const StepInputs &inputs) {
  std::string reason;
  mlir::ScopedDiagnosticHandler handler(module->getContext(), [&](mlir::Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() != mlir::DiagnosticSeverity::Error)
      return mlir::failure();
    if (reason.empty())
      reason = ": " + diagnostic.str();
    return mlir::success();
  });
  std::unique_ptr<llvm::Module> result = mlir::translateModuleToLLVMIR(module, context, name);
  if (result)
    return result;
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream);
  return inputs.keep(createStringError("the module cannot be translated to LLVM IR" + reason),
                     "llvm.mlir", text, "mlir-translate --mlir-to-llvmir {}");
}

Expected<std::unique_ptr<llvm::Module>>
ssm::translateModule(mlir::ModuleOp module, llvm::LLVMContext &context, const CpuTarget &target,
                     const StepInputs &inputs) {
  for (WeightOp weight : llvm::make_early_inc_range(module.getOps<WeightOp>()))
    weight.erase();

  mlir::DialectRegistry registry;
  mlir::registerBuiltinDialectTranslation(registry);
  mlir::registerLLVMDialectTranslation(registry);
  module.getContext()->appendDialectRegistry(registry);
  Expected<std::unique_ptr<llvm::Module>> result =
      translateToLLVM(module, context, "ssm_module", inputs);
  if (!result)
    return result;
  (*result)->setSourceFileName("ssm_module");
  if (Error error = prepare(**result, target))
    return error;
  return result;
}

static Error optimize(llvm::Module &module, const CpuTarget &target, int level, bool verifyEach) {
  Expected<Machine> machine = target.createMachine(codegenLevel(level));
  if (!machine)
    return machine.takeError();
  std::string problem;
  llvm::raw_string_ostream stream(problem);
  if (llvm::verifyModule(module, &stream))
    return createStringError("the LLVM IR is malformed: " + problem);

  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassInstrumentationCallbacks callbacks;
  llvm::StandardInstrumentations instrumentations(module.getContext(), /*DebugLogging=*/false,
                                                  verifyEach);
  instrumentations.registerCallbacks(callbacks, &modules);

  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  tuning.LoopInterleaving = true;
  tuning.SLPVectorization = true;
  tuning.LoopUnrolling = true;
  llvm::PassBuilder builder(machine->get(), tuning, std::nullopt, &callbacks);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder
      .buildPerModuleDefaultPipeline(level >= 3 ? llvm::OptimizationLevel::O3
                                                : llvm::OptimizationLevel::O2)
      .run(module, modules);
  return Error::success();
}

Error ssm::optimizeModule(llvm::Module &module, const CpuTarget &target, int level, bool verifyEach,
                          const StepInputs &inputs) {
  std::string command = "opt -passes='default<O" + std::to_string(level >= 3 ? 3 : 2) +
                        ">' {} -o /dev/null";
  return inputs.run("LLVM's optimisation", module, command,
                    [&] { return optimize(module, target, level, verifyEach); });
}

static Error emit(llvm::Module &module, const CpuTarget &target, int level, CodeForm form,
                  llvm::SmallVector<char, 0> &bytes) {
  Expected<Machine> machine = target.createMachine(codegenLevel(level));
  if (!machine)
    return machine.takeError();
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  auto type = form == CodeForm::Object ? llvm::CodeGenFileType::ObjectFile
                                       : llvm::CodeGenFileType::AssemblyFile;
  if ((*machine)->addPassesToEmitFile(passes, stream, nullptr, type))
    return createStringError("LLVM cannot emit code for '" + target.triple + "'");
  passes.run(module);
  return Error::success();
}

Expected<llvm::SmallVector<char, 0>> ssm::emitCode(llvm::Module &module, const CpuTarget &target,
                                                   int level, CodeForm form,
                                                   const StepInputs &inputs) {
  llvm::SmallVector<char, 0> bytes;
  std::string command = "llc -O" + std::to_string(level >= 3 ? 3 : 2) +
                        " -relocation-model=pic -filetype=obj {} -o /dev/null";
  if (Error error = inputs.run("LLVM's code generation", module, command,
                               [&] { return emit(module, target, level, form, bytes); }))
    return error;
  return bytes;
}

Expected<llvm::SmallVector<char, 0>> ssm::emitBuiltins(const CpuTarget &target) {
  llvm::LLVMContext context;
  llvm::SMDiagnostic diagnostic;
  std::unique_ptr<llvm::Module> module =
      llvm::parseAssemblyString(getBuiltinsSource(), diagnostic, context);
  if (!module)
    return createStringError("builtins: " + diagnostic.getMessage());
  module->setSourceFileName("ssm_builtins");
  if (Error error = prepare(*module, target))
    return error;
  if (Error error = optimizeModule(*module, target, 2, /*verifyEach=*/false))
    return error;
  return emitCode(*module, target, 2, CodeForm::Object);
}

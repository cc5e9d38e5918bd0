//===- Options.td - The command line of ssm-compile ---------*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

include "llvm/Option/OptParser.td"

class F<string name, string help>
    : Flag<["--"], name>, HelpText<help>;

/// --name=VALUE or --name VALUE.
multiclass V<string name, string metavar, string help> {
  def NAME : Joined<["--"], name # "=">, MetaVarName<metavar>, HelpText<help>;
  def NAME # _separate : Separate<["--"], name>, Alias<!cast<Option>(NAME)>;
}

def output : JoinedOrSeparate<["-"], "o">, MetaVarName<"<file>">,
             HelpText<"The module to write, or the text of a stage (default there: stdout)">;
def level : Joined<["-"], "O">, MetaVarName<"<0-3>">,
            HelpText<"Level of optimisation (default: 3)">;
defm optimize_through : V<"optimize-through", "<stage>",
                          "Run the stages after this one as at -O0, to find a fault">;
defm target : V<"target", "<name>",
                "cpu (default), cpu:x86_64-linux-gnu, cpu:aarch64-linux-gnu, cuda:sm_90a or another "
                "chip; several with ',' between: code for each, picked when it is loaded">;
defm cpu : V<"cpu", "<names>",
             "native (default), x86-64-v2, x86-64-v3, x86-64-v4, or LLVM's name of a CPU; "
             "several with ',' between: code for each, picked when it is loaded">;
defm ptxas : V<"ptxas", "<path>", "NVIDIA's assembler (default: on PATH, in CUDA_HOME, in a wheel)">;
defm spill_budget : V<"spill-budget", "<bytes>",
                      "Fail if a thread of a GPU's kernel spills more than that">;
defm f32_products : V<"f32-products", "<how>",
                      "Products of f32 matrices on a GPU: ieee (default) by multiply-adds, or on tensor "
                      "cores: tf32x3 (about as exact, factors below 2^127), tf32 (11 bits of a factor)">;
defm entry : V<"entry", "<name>=<file>",
               "One more model, as an entry of that name; a model without a name is 'main'">;
defm state : V<"state", "<input>=<output>", "A recurrent state that names do not tell">;
def embed_weights : F<"embed-weights", "Put the weights into the module">;
def profile : F<"profile", "Let kernels tell when they begin and end, for ssm-run --profile">;
defm emit : V<"emit", "<stage>",
              "Stop after a stage and print it: import, graph, tensor, raise, quantize, "
              "fuse, tile, buffer, vector, target, llvm, asm, obj, ptx; or static: an object and "
              "a header for a program to be linked with libssmrt.a">;
defm load_pass_plugin : V<"load-pass-plugin", "<file>", "Load passes from a shared object">;
defm add_pass : V<"add-pass", "<stage>=<pass>",
                  "Run a pass, of a plugin or our own, at the end of a stage">;
defm bisect : V<"bisect", "<reference>",
                "Name the first node whose value is wrong, and the stage that makes it so, compared "
                "with a safetensors file of values by name (and inputs), or with -O0 (\"O0\"), as "
                "tools/scripts/bisect_model.py does; exit code 1 if one is">;
defm bisect_inputs : V<"bisect-inputs", "<file>",
                       "Inputs for --bisect (default: those in the reference, or random ones)">;
def check : F<"check", "Only tell what is in the model and whether it can be compiled">;
defm remarks : V<"remarks", "<regex>", "Print the remarks of these categories: shape, "
               "raise, fuse, vector, placement; with the node that each is about">;
def print_timings : F<"print-timings", "Print the time each step takes">;
def save_temps : F<"save-temps", "Write what each stage gives beside the output">;
defm reproducer : V<"reproducer", "<file>",
                    "Where a pass that fails is left for ssm-opt --run-reproducer, beside "
                    "it the input of a step of LLVM, the linker or ptxas "
                    "(default: OUT.repro.mlir, which goes when OUT is compiled)">;
def verify_each : F<"verify-each", "Verify after each pass">;
defm linker : V<"linker", "<program>", "The linker (default: ld.lld)">;
defm weights_dir : V<"weights-dir", "<folder>",
                     "Where external data lies, if not beside the model">;
defm max_weights : V<"max-weights", "<bytes>", "Refuse models with larger weights">;
def help : F<"help", "Print this">;
def help_short : Flag<["-"], "h">, Alias<help>;
def version : F<"version", "Print the version">;

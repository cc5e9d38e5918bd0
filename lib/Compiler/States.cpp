//===- States.cpp - Recurrent states of a model ---------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Compiler/States.h"

#include "lib/Import/InferContext.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace ssm;
using llvm::StringRef;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

/// `text` with its first `from` replaced, or nothing if it has none.
static std::optional<std::string> replaceFirst(StringRef text, StringRef from, StringRef to) {
  size_t at = text.find(from);
  if (at == StringRef::npos)
    return std::nullopt;
  return (text.take_front(at) + to + text.drop_front(at + from.size())).str();
}

std::vector<std::string> ssm::getStateOutputNames(StringRef input) {
  std::vector<std::string> names;
  auto add = [&](std::optional<std::string> name) {
    if (name && !llvm::is_contained(names, *name))
      names.push_back(*name);
  };
  add(replaceFirst(input, "past_key_values.", "present."));
  add(replaceFirst(input, "past_states.", "present."));
  add(replaceFirst(input, "past", "present"));
  StringRef rest = input;
  if (rest.consume_front("input.") &&
      (rest.contains("past") || rest.contains("cache") || rest.contains("state"))) {
    add("output." + rest.str());
    if (auto renamed = replaceFirst(rest, "past_key_values.", "present."))
      add("output." + *renamed);
    if (auto renamed = replaceFirst(rest, "past", "present"))
      add("output." + *renamed);
  }
  if (input.contains("state")) {
    add(("new_" + input).str());
    add(("next_" + input).str());
  }
  return names;
}

//===----------------------------------------------------------------------===//
// Pairs
//===----------------------------------------------------------------------===//

namespace {

enum Kind { Fixed = 0, Append = 1 };

struct State {
  int64_t input, output;
  Kind kind;
  int64_t axis;
};

/// The inputs and outputs of a graph function, with their symbolic sizes.
class Entry {
public:
  explicit Entry(func::FuncOp function) : function(function), facts(function.getContext()) {}

  LogicalResult analyze() {
    if (failed(onnx::inferFunction(function, facts)))
      return failure();
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      inputs.push_back(nameOf(function.getArgAttr(i, "onnx.name")));
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      outputs.push_back(nameOf(function.getResultAttr(i, "onnx.name")));
    return success();
  }

  /// Whether the two can be a state; if not, `why` says what is against it.
  std::optional<State> match(int64_t input, int64_t output, std::string &why);
  bool isFree(int64_t input, int64_t output) const {
    return llvm::none_of(
        states, [&](const State &state) { return state.input == input || state.output == output; });
  }

  func::FuncOp function;
  std::vector<StringRef> inputs, outputs;
  std::vector<State> states;

private:
  static StringRef nameOf(Attribute attr) {
    auto name = dyn_cast_or_null<StringAttr>(attr);
    return name ? name.getValue() : StringRef();
  }

  ShapeFacts facts;
};

} // namespace

static int64_t indexOf(const std::vector<StringRef> &names, StringRef name) {
  auto found = llvm::find(names, name);
  return found == names.end() ? -1 : found - names.begin();
}

std::optional<State> Entry::match(int64_t input, int64_t output, std::string &why) {
  Value in = function.getArgument(input);
  Value out = function.front().getTerminator()->getOperand(output);
  auto inType = dyn_cast<RankedTensorType>(in.getType());
  auto outType = dyn_cast<RankedTensorType>(out.getType());
  llvm::raw_string_ostream stream(why);
  if (!inType || !outType || inType.getElementType() != outType.getElementType() ||
      inType.getRank() != outType.getRank()) {
    stream << "their types are " << in.getType() << " and " << out.getType();
    return std::nullopt;
  }
  SmallVector<int64_t> differing;
  Dims inDims(facts.dims(in)), outDims(facts.dims(out));
  for (auto [axis, sizes] : llvm::enumerate(llvm::zip_equal(inDims, outDims)))
    if (std::get<0>(sizes) != std::get<1>(sizes))
      differing.push_back(axis);
  if (differing.empty())
    return State{input, output, Fixed, 0};
  int64_t axis = differing.front();
  if (differing.size() > 1) {
    stream << "their sizes may differ along axes " << axis << " and " << differing[1];
    return std::nullopt;
  }
  if (!inType.isDynamicDim(axis)) {
    stream << "their sizes along axis " << axis << " differ, and the input's is "
           << inType.getDimSize(axis);
    return std::nullopt;
  }
  return State{input, output, Append, axis};
}

static LogicalResult addPair(MutableArrayRef<std::unique_ptr<Entry>> entries, const StatePair &pair,
                             ModuleOp module) {
  bool found = false;
  for (auto &entry : entries) {
    int64_t input = indexOf(entry->inputs, pair.input);
    int64_t output = indexOf(entry->outputs, pair.output);
    if (input < 0 || output < 0)
      continue;
    found = true;
    std::string why;
    std::optional<State> state = entry->match(input, output, why);
    if (state && !entry->isFree(input, output)) {
      why = "one of them is in another pair";
      state.reset();
    }
    if (!state)
      return emitError(module.getLoc())
             << "--state " << pair.input << "=" << pair.output << " is no state of entry '"
             << entry->function.getName() << "': " << why;
    entry->states.push_back(*state);
  }
  if (found)
    return success();
  auto diagnostic = emitError(module.getLoc()) << "--state " << pair.input << "=" << pair.output
                                               << " names no input and output of one entry";
  for (auto &entry : entries)
    diagnostic << "; '" << entry->function.getName() << "' has inputs "
               << llvm::join(entry->inputs, ", ") << " and outputs "
               << llvm::join(entry->outputs, ", ");
  return failure();
}

/// Pairs that names tell. A pair that cannot be a state is left as it is: names
/// are a convention only.
static void addByName(Entry &entry) {
  for (auto [input, name] : llvm::enumerate(entry.inputs)) {
    for (const std::string &candidate : getStateOutputNames(name)) {
      int64_t output = indexOf(entry.outputs, candidate);
      if (output < 0 || !entry.isFree(input, output))
        continue;
      std::string why;
      if (std::optional<State> state = entry.match(input, output, why)) {
        entry.states.push_back(*state);
        break;
      }
      emitWarning(entry.function.getLoc()) << "'" << name << "' and '" << candidate
                                           << "' are named like a state, but are none: " << why;
    }
  }
}

LogicalResult ssm::assignStates(ModuleOp module, const std::vector<StatePair> &pairs) {
  std::vector<std::unique_ptr<Entry>> entries;
  for (auto function : module.getOps<func::FuncOp>()) {
    entries.push_back(std::make_unique<Entry>(function));
    if (failed(entries.back()->analyze()))
      return failure();
  }
  for (const StatePair &pair : pairs)
    if (failed(addPair(entries, pair, module)))
      return failure();
  Builder b(module.getContext());
  for (auto &entry : entries) {
    addByName(*entry);
    SmallVector<Attribute> states;
    for (const State &state : entry->states) {
      auto field = [&](StringRef name, int64_t value) {
        return b.getNamedAttr(name, b.getI64IntegerAttr(value));
      };
      states.push_back(
          b.getDictionaryAttr({field("input", state.input), field("output", state.output),
                               field("kind", state.kind), field("axis", state.axis)}));
    }
    if (!states.empty())
      entry->function->setAttr("onnx.states", b.getArrayAttr(states));
  }
  return success();
}

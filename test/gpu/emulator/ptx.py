# ===- ptx.py - PTX to C++ -------------------------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Translates a file of PTX, as LLVM writes it, to C++ for Emulator.cpp.

A kernel becomes a function that a thread runs; registers are its variables, branches are gotos.
What each instruction means is in rules.py; one without a rule is an error.
"""

import itertools
import re

import rules

WIDTHS = {"pred": "bool", "b8": "u8", "b16": "u16", "b32": "u32", "b64": "u64", "f32": "u32",
          "f64": "u64", "u16": "u16", "u32": "u32", "u64": "u64", "s32": "u32", "s64": "u64"}
SPECIAL = {"%tid.x": "t.index", "%tid.y": "0u", "%tid.z": "0u", "%ntid.x": "t.threads",
           "%ntid.y": "1u", "%ntid.z": "1u", "%laneid": "(t.index & 31)",
           **{f"%ctaid.{axis}": f"t.block[{i}]" for i, axis in enumerate("xyz")},
           **{f"%nctaid.{axis}": f"t.blocks[{i}]" for i, axis in enumerate("xyz")}}


class Unknown(Exception):
    """Something that is not emulated."""


def split_operands(text):
    """'%r1, [%rd2+4], {a, b}' -> its parts."""
    parts, depth, current = [], 0, ""
    for char in text:
        depth += char in "[{("
        depth -= char in "]})"
        if char == "," and not depth:
            parts.append(current.strip())
            current = ""
        else:
            current += char
    if current.strip():
        parts.append(current.strip())
    return parts


class Statement:
    """An instruction, a label or a brace, and the line that it begins at."""

    def __init__(self, line, text):
        self.line, self.text = line, text


def blank(match):
    """As many lines of nothing."""
    return "\n" * match[0].count("\n")


def statements(text):
    """PTX -> its statements, labels and the braces of scopes."""
    text = re.sub(r"//[^\n]*|^\.(version|target|address_size)[^\n]*", "", text, flags=re.M)
    text = re.sub(r"/\*.*?\*/", blank, text, flags=re.S)
    result, current, lists, line, start = [], "", 0, 1, 1
    for char in text:
        is_head = current.startswith((".visible", ".entry"))
        if not lists and (char in ";:}" or (char == "{" and (is_head or not current.strip()))):
            if char == ":" and not re.match(r"[$\w]+$", current.strip()):
                current += char
                continue
            if current.strip():
                result.append(Statement(start, " ".join(current.split()) + ":"[char != ":":]))
            if char in "{}":
                result.append(Statement(line, char))
            current = ""
        elif current or not char.isspace():
            start = start if current else line
            lists += {"{": 1, "}": -1}.get(char, 0)
            current += char
        line += char == "\n"
    return result


class Scope:
    """Braces: registers and labels of their own."""

    numbers = itertools.count()

    def __init__(self, outer=None):
        self.outer, self.number = outer, next(Scope.numbers)
        self.names, self.labels = set(), set()

    def find(self, kind, name):
        scope = self
        while scope and name not in getattr(scope, kind):
            scope = scope.outer
        return scope


def identifier(name):
    return re.sub(r"\W", "_", name)


class Kernel:
    """Translates one .entry."""

    def __init__(self, head, body, shared, constants):
        self.name = re.match(r"(?:\.visible )?\.entry (\S+?)\s*\(", head)[1]
        declared = re.search(r"\((.*)\)", head)[1]
        self.params = {}
        for param in split_operands(declared):
            match = re.match(r"\.param (?:\.align \d+ )?\.([bus]\d+|f\d+)(?: \.ptr)?(?: \.\w+)*"
                             r"(?: \.align \d+)? (\w+)(?:\[(\d+)\])?$", param)
            if not match:
                raise Unknown(f"parameter '{param}'")
            size = int(match[1][1:]) // 8 * int(match[3] or 1)
            self.params[match[2]] = (len(self.params), size)
        limit = re.search(r"\.(?:max|req)ntid (\d+)", head)
        self.max_threads = int(limit[1]) if limit else 0
        self.shared = dict(shared)  # name -> (bytes, align); 0 bytes: dynamic
        self.constants = constants
        self.body = body
        self.registers, self.local = {}, {}
        self.targets = {}
        self.code = []
        self.collect()

    def collect(self):
        """Declarations and labels, which may be used before."""
        self.outermost = scope = Scope()
        self.scopes = []
        pending = None
        for statement in self.body:
            text = statement.text
            if text == "{":
                scope = Scope(scope)
            self.scopes.append(scope)
            if text == "}":
                scope = scope.outer
            elif text.endswith(":"):
                scope.labels.add(text[:-1])
                pending = text[:-1]
            elif text.startswith(".branchtargets"):
                self.targets[pending] = split_operands(text.removeprefix(".branchtargets"))
            elif text.startswith(".reg"):
                type_, names = re.match(r"\.reg \.(\w+) (.*)", text).groups()
                for name in split_operands(names):
                    many = re.match(r"(%\w+)<(\d+)>$", name)
                    if many:
                        self.registers[many[1]] = (WIDTHS[type_], int(many[2]))
                    else:
                        scope.names.add(name)
            elif text.startswith((".shared", ".local")):
                match = re.match(r"\.(shared|local) \.align (\d+) \.[busf](\d+) ([\w$]+)(?:\[(\d+)\])?$",
                                 text)
                if not match:
                    raise Unknown(f"variable '{text}'")
                size = int(match[3]) // 8 * int(match[5] or 1)
                getattr(self, match[1])[match[4]] = (size, int(match[2]))
        self.place_shared()

    def place_shared(self):
        text = " ".join(statement.text for statement in self.body)
        used = {name for name in self.shared if re.search(rf"\b{re.escape(name)}\b", text)}
        self.places, end = {}, 0
        for name in sorted(used, key=lambda name: self.shared[name][0] == 0):
            size, align = self.shared[name]
            end = -(-end // align) * align
            self.places[name] = end
            end += size
        self.shared_bytes = end

    # What rules ask for.

    def value(self, text):
        """An operand to be read."""
        if text in SPECIAL:
            return SPECIAL[text]
        if text.startswith("%"):
            return self.register(text)
        if self.scope.find("names", text):
            return self.register(text)
        match = re.match(r"0f([0-9A-Fa-f]{8})$", text)
        if match:
            return f"0x{match[1]}u"
        match = re.match(r"0d([0-9A-Fa-f]{16})$", text)
        if match:
            return f"0x{match[1]}ul"
        match = re.match(r"(-?)(0x[0-9A-Fa-f]+|\d+)U?$", text)
        if match:
            number = int(match[2], 0) * (-1 if match[1] else 1)
            return str(number) if abs(number) < 2**31 else f"s64(0x{number % 2**64:x}ul)"
        if text in self.places:
            return f"u64({self.places[text]})"
        if text in self.constants:
            return f"(deviceBit | u64(&constants.{identifier(text)}))"
        if text in self.params:
            return f"u64(params[{self.params[text][0]}])"
        if text in self.local:
            return f"u64({identifier(text)})"
        raise Unknown(f"operand '{text}'")

    def register(self, text):
        """An operand to be written."""
        if text == "_":
            return "nothing"
        scope = self.scope.find("names", text)
        if scope:
            return f"{identifier(text)}_{scope.number}"
        match = re.match(r"(%[a-z]+)\d+$", text)
        if match and match[1] in self.registers:
            return text[1:]
        raise Unknown(f"register '{text}'")

    def list(self, text):
        """'{%r1, %r2}' or one register -> their texts."""
        return split_operands(text[1:-1]) if text.startswith("{") else [text]

    def address(self, text):
        """'[%rd1+8]' -> an expression; of parameters (number, offset)."""
        match = re.match(r"\[\s*([^\s+\]]+)\s*(?:\+\s*(-?\d+))?\s*\]$", text)
        if not match:
            raise Unknown(f"address '{text}'")
        base, offset = match[1], int(match[2] or 0)
        if base in self.params:
            return self.params[base][0], offset
        value = self.value(base)
        return f"u64({value}) + {offset}" if offset else f"u64({value})"

    def label(self, text):
        scope = self.scope.find("labels", text)
        if not scope:
            raise Unknown(f"label '{text}'")
        return f"{identifier(text)}_{scope.number}"

    # The function.

    def translate(self):
        body = []
        for statement, self.scope in zip(self.body, self.scopes):
            text = statement.text
            if text in "{}":
                body.append(text)
            elif text.endswith(":"):
                if text[:-1] not in self.targets:
                    body.append(f"{self.label(text[:-1])}:;")
            elif text.startswith(".reg"):
                type_, names = re.match(r"\.reg \.(\w+) (.*)", text).groups()
                for name in split_operands(names):
                    if name in self.scope.names:
                        body.append(f"{WIDTHS[type_]} {self.register(name)};")
            elif not text.startswith((".branchtargets", ".shared", ".local", ".pragma", ".loc")):
                body.append(self.instruction(statement))
        text = "\n".join(body)
        lines = [f"static void {self.name}(Thread &t, const u8 *const *params) {{",
                 "[[maybe_unused]] u64 nothing;"]
        for name, (size, align) in self.local.items():
            lines.append(f"alignas({align}) u8 {identifier(name)}[{size}];")
        for prefix, (type_, count) in self.registers.items():
            used = sorted({int(n) for n in re.findall(rf"\b{prefix[1:]}(\d+)\b", text)})
            names = [f"{prefix[1:]}{n} = 0" for n in used if n < count]
            if names:
                lines.append(f"{type_} {', '.join(names)};")
        return "\n".join([*lines, text, "}"])

    def instruction(self, statement):
        match = re.match(r"(?:@(!?)(\S+) )?(\S+)\s*(.*)$", statement.text)
        negated, predicate, opcode, operands = match.groups()
        try:
            code = rules.translate(self, statement.line, opcode, split_operands(operands))
        except Unknown as unknown:
            raise Unknown(f"line {statement.line}: cannot emulate '{statement.text}': "
                          f"{unknown}") from None
        if predicate:
            return f"if ({negated}{self.value(predicate)}) {{ {code} }}"
        return f"{{ {code} }}"


def translate(text):
    """A file of PTX -> C++."""
    shared, constants, kernels = {}, {}, []
    items = statements(text)
    at = 0
    while at < len(items):
        words = items[at].text
        if ".entry" in words:
            depth, body = 1, []
            at += 2
            while depth:
                depth += {"{": 1, "}": -1}.get(items[at].text, 0)
                if depth:
                    body.append(items[at])
                at += 1
            kernels.append(Kernel(words, body, shared, constants))
            continue
        match = re.match(r"(?:\.visible )?\.(?:global|const) \.align (\d+) \.b8 (\w+)\[(\d+)\]"
                         r"(?: = (\{.*\}))?$", words)
        if match:
            constants[match[2]] = match.groups()
            at += 1
            continue
        match = re.search(r"\.extern \.shared \.align (\d+) \.b8 (\w+)\[\]", words) or \
            re.search(r"\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\]", words)
        if match:
            size = int(match[3]) if match.lastindex == 3 else 0
            shared[match[2]] = (size, int(match[1]))
        else:
            raise Unknown(f"line {items[at].line}: cannot emulate '{words[:100]}'")
        at += 1
    parts = ['#include "Warpgroups.h"', "using namespace ssm_emulator;"]
    fields = "".join(f" alignas({align}) u8 {identifier(name)}[{size}];"
                     for align, name, size, _ in constants.values())
    values = ", ".join(value or "{}" for *_, value in constants.values())
    parts.append(f"static struct {{{fields} }} constants = {{{values}}};")
    table = []
    for kernel in kernels:
        parts.append(kernel.translate())
        sizes = ", ".join(str(size) for _, size in kernel.params.values())
        parts.append(f"static const s32 {kernel.name}_sizes[] = {{{sizes or 0}}};")
        local = sum(size for size, _ in kernel.local.values())
        table.append(f'{{"{kernel.name}", {kernel.name}, {len(kernel.params)}, '
                     f"{kernel.name}_sizes, {kernel.shared_bytes}, {local}, "
                     f"{kernel.max_threads}, (const u8 *)&constants, "
                     f"{'sizeof(constants)' if constants else 0}}},")
    parts.append('extern "C" __attribute__((visibility("default")))\n'
                 "const Kernel ssmEmulatedKernels[] = {\n" + "\n".join(table) + "\n{}};")
    return "\n".join(parts) + "\n"

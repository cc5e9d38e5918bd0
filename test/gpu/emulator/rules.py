# ===- rules.py - What each instruction of PTX means -----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Instructions as C++, by their whole name: a modifier that no rule has is an error.

PLAIN are those that are one assignment: $0 is what is written, $1.. are read, and \\1.. are
groups of the name. The others are functions. What they call is in Instructions.h and Warpgroups.h.
"""

import re

# Integers of 16, 32 or 64 bits, signed or not, and how floats become numbers and bits again.
INT = r"([us])(16|32|64)"
FLOAT = {"f32": ("f", "bits"), "f64": ("d", "bits"), "f16": ("h", "bitsOfF16"),
         "bf16": ("b", "bitsOfBf16")}

PLAIN = {
    r"mov\.[bufs](16|32|64)|mov\.pred": "$0 = $1",
    r"cvta\.to\.(?:global|local|param)\.u64|cvta\.(?:global|local|param)\.u64": "$0 = $1",
    r"cvta\.shared\.u64": "$0 = $1 + u64(t.shared)",
    r"cvta\.to\.shared(?:::cluster)?\.u64": "$0 = $1 - u64(t.shared)",
    rf"add\.{INT}": "$0 = $1 + $2",
    rf"sub\.{INT}": "$0 = $1 - $2",
    rf"mul\.lo\.{INT}": r"$0 = u\2($1) * u\2($2)",
    r"mul\.hi\.([us])16": r"$0 = u16(\g<1>32(\g<1>16($1)) * \g<1>32(\g<1>16($2)) >> 16)",
    r"mul\.hi\.([us])32": r"$0 = u32(\g<1>64(\g<1>32($1)) * \g<1>64(\g<1>32($2)) >> 32)",
    r"mul\.hi\.([us])64": r"$0 = u64(\g<1>128(\g<1>64($1)) * \g<1>128(\g<1>64($2)) >> 64)",
    r"mul\.wide\.([us])16": r"$0 = u32(\g<1>32(\g<1>16($1)) * \g<1>32(\g<1>16($2)))",
    r"mul\.wide\.([us])32": r"$0 = u64(\g<1>64(\g<1>32($1)) * \g<1>64(\g<1>32($2)))",
    rf"mad\.lo\.{INT}": r"$0 = u\2($1) * u\2($2) + u\2($3)",
    r"mad\.wide\.([us])32": r"$0 = u64(\g<1>64(\g<1>32($1)) * \g<1>64(\g<1>32($2))) + $3",
    rf"div\.{INT}": r"$0 = quotient<\1\2>($1, $2)",
    rf"rem\.{INT}": r"$0 = remainder<\1\2>($1, $2)",
    rf"min\.{INT}": r"$0 = smaller<\1\2>($1, $2)",
    rf"max\.{INT}": r"$0 = larger<\1\2>($1, $2)",
    r"min\.([us])16x2": r"$0 = halves(smaller<\g<1>16>, $1, $2)",
    r"max\.([us])16x2": r"$0 = halves(larger<\g<1>16>, $1, $2)",
    r"abs\.s(16|32|64)": r"$0 = s\1($1) < 0 ? -u\1($1) : u\1($1)",
    r"neg\.s(16|32|64)": "$0 = -$1",
    r"and\.(?:b\d+|pred)": "$0 = $1 & $2",
    r"or\.(?:b\d+|pred)": "$0 = $1 | $2",
    r"xor\.(?:b\d+|pred)": "$0 = $1 ^ $2",
    r"not\.b\d+": "$0 = ~$1",
    r"not\.pred": "$0 = !$1",
    r"shl\.b(16|32|64)": r"$0 = shl<u\1>($1, $2)",
    r"shr\.b(16|32|64)": r"$0 = shr<u\1>($1, $2)",
    rf"shr\.{INT}": r"$0 = shr<\1\2>($1, $2)",
    r"bfe\.u(32|64)": r"$0 = field<u\1>($1, $2, $3)",
    r"bfe\.s(32|64)": r"$0 = signedField<s\1>($1, $2, $3)",
    r"bfi\.b(32|64)": r"$0 = setField<u\1>($1, $2, $3, $4)",
    r"shf\.l\.wrap\.b32": "$0 = u32((u64(u32($2)) << 32 | u32($1)) << (u32($3) & 31) >> 32)",
    r"shf\.r\.wrap\.b32": "$0 = u32((u64(u32($2)) << 32 | u32($1)) >> (u32($3) & 31))",
    r"prmt\.b32": "$0 = permute($1, $2, $3)",
    r"popc\.b(32|64)": r"$0 = u32(__builtin_popcountl(u\1($1)))",
    r"clz\.b(32|64)": r"$0 = $1 ? u32(__builtin_clzl(u\1($1))) - (64 - \1) : \1",
    r"brev\.b(32|64)": r"$0 = __builtin_bitreverse\1($1)",
    r"selp\.[bufs]\d+": "$0 = $3 ? $1 : $2",
    r"fma\.rn\.f32": "$0 = bits(__builtin_fmaf(f($1), f($2), f($3)))",
    r"fma\.rn\.f64": "$0 = bits(__builtin_fma(d($1), d($2), d($3)))",
    r"fma\.rn\.f16": "$0 = bitsOfF16(__builtin_fmaf(h($1), h($2), h($3)))",
    r"fma\.rn\.bf16": "$0 = bitsOfBf16(__builtin_fmaf(b($1), b($2), b($3)))",
    r"copysign\.f32": "$0 = ($1 & 0x80000000u) | ($2 & 0x7fffffffu)",
    r"copysign\.f64": "$0 = ($1 & 1ul << 63) | ($2 & ~(1ul << 63))",
    r"(?:rcp|rcp\.approx)\.(?:rn\.)?f32|rcp\.approx\.f32": "$0 = bits(1 / f($1))",
    r"rcp\.approx\.ftz\.f32": "$0 = bits(flush(1 / flush(f($1))))",
    r"rcp\.rn\.f64": "$0 = bits(1 / d($1))",
    r"sqrt\.(?:rn|approx)\.f32": "$0 = bits(__builtin_sqrtf(f($1)))",
    r"sqrt\.rn\.f64": "$0 = bits(__builtin_sqrt(d($1)))",
    r"rsqrt\.approx\.f32": "$0 = bits(1 / __builtin_sqrtf(f($1)))",
    r"rsqrt\.approx\.f64": "$0 = bits(1 / __builtin_sqrt(d($1)))",
    r"ex2\.approx\.f32": "$0 = bits(__builtin_exp2f(f($1)))",
    r"ex2\.approx\.ftz\.f32": "$0 = bits(flush(__builtin_exp2f(flush(f($1)))))",
    r"lg2\.approx\.f32": "$0 = bits(__builtin_log2f(f($1)))",
    r"sin\.approx\.f32": "$0 = bits(__builtin_sinf(f($1)))",
    r"cos\.approx\.f32": "$0 = bits(__builtin_cosf(f($1)))",
    r"tanh\.approx\.f32": "$0 = bits(__builtin_tanhf(f($1)))",
    r"cvt\.rn\.f16x2\.f32": "$0 = u32(bitsOfF16(f($1))) << 16 | bitsOfF16(f($2))",
    r"cvt\.rn\.bf16x2\.f32": "$0 = u32(bitsOfBf16(f($1))) << 16 | bitsOfBf16(f($2))",
}
for type_, (number, to_bits) in FLOAT.items():
    rounding = r"(?:\.rn)?"
    for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*")):
        PLAIN[rf"{name}{rounding}\.{type_}"] = f"$0 = {to_bits}({number}($1) {sign} {number}($2))"
    for name in ("min", "max"):
        for nan in ("", "NaN"):
            PLAIN[rf"{name}\.{nan}\.{type_}" if nan else rf"{name}\.{type_}"] = \
                f"$0 = {to_bits}(f{name}{nan}({number}($1), {number}($2)))"
    sign_bit = {"f32": "0x80000000u", "f64": "(1ul << 63)"}.get(type_, "0x8000u")
    PLAIN[rf"neg\.{type_}"] = f"$0 = $1 ^ {sign_bit}"
    PLAIN[rf"abs\.{type_}"] = f"$0 = $1 & ~{sign_bit}"
# Two numbers at once, from sm_100 on.
for name, pair in (("add", "{0} + {1}"), ("sub", "{0} - {1}"), ("mul", "{0} * {1}"),
                   ("fma", "__builtin_fmaf({0}, {1}, {2})")):
    low, high = (pair.format(*[f"f(u32(${n}{shift}))" for n in (1, 2, 3)])
                 for shift in ("", " >> 32"))
    PLAIN[rf"{name}(?:\.rn)?\.f32x2"] = f"$0 = u64(bits({high})) << 32 | bits({low})"
# Of three numbers, from sm_100 on.
for name in ("min", "max"):
    for nan in ("", "NaN"):
        PLAIN[rf"({name})\.{nan}\.f32" if nan else rf"({name})\.f32"] = \
            f"$0 = bits(f{name}{nan}(f{name}{nan}(f($1), f($2)), f($3)))"
# Of short and of f32 numbers, from sm_100 on.
for type_, short in (("f16", "h"), ("bf16", "b")):
    for name, sign in (("add", "+"), ("sub", "-")):
        PLAIN[rf"{name}(?:\.rn)?\.f32\.{type_}"] = f"$0 = bits({short}($1) {sign} f($2))"
    PLAIN[rf"fma\.rn\.f32\.{type_}"] = f"$0 = bits(__builtin_fmaf({short}($1), {short}($2), f($3)))"
PLAIN[r"div\.(?:rn|full|approx)\.f32"] = "$0 = bits(f($1) / f($2))"
PLAIN[r"div\.rn\.f64"] = "$0 = bits(d($1) / d($2))"

# Nothing is late here but what waits are for, and nobody sees another order of writes.
NOTHING = (r"fence(\.proxy\.async(\.\S+)?|\.mbarrier_init\.release\.cluster|\.(acq_rel|sc)\.\w+)|"
           r"membar\.\w+|setmaxnreg\.\w+\.sync\.aligned\.u32|prefetch\S*|nanosleep\.u32|"
           r"griddepcontrol\.(wait|launch_dependents)|wgmma\.(fence|commit_group)\.sync\.aligned|"
           r"wgmma\.wait_group\.sync\.aligned")

RULES = []


def rule(pattern):
    def add(function):
        RULES.append((re.compile(pattern), function))
        return function
    return add


def unknown(text):
    from ptx import Unknown
    return Unknown(text)


def translate(kernel, line, opcode, operands):
    """-> C++ of one instruction."""
    if re.fullmatch(NOTHING, opcode):
        return ";"
    for pattern, function in RULES:
        match = pattern.fullmatch(opcode)
        if match:
            code = function(kernel, line, match, operands)
            if code is not None:
                return code
    if any(text.startswith(("{", "[")) for text in operands):
        raise unknown("no rule of rules.py has it, with such operands")
    to, *values = operands
    code = assign(opcode, kernel.register(to), [f"({kernel.value(text)})" for text in values])
    if not code:
        raise unknown("no rule of rules.py has it")
    return code


def assign(opcode, to, values):
    """-> what PLAIN makes of an instruction with so many operands, or nothing."""
    for pattern, code, count in COMPILED:
        match = pattern.fullmatch(opcode) if len(values) == count else None
        if match:
            return re.sub(r"\$(\d)", lambda at: to if at[1] == "0" else values[int(at[1]) - 1],
                          match.expand(code)) + ";"
    return None


COMPILED = [(re.compile(name), code, max(map(int, re.findall(r"\$(\d)", code))))
            for name, code in PLAIN.items()]


# ===--- Branches ------------------------------------------------------------===#


@rule(r"bra(?:\.uni)?")
def branch(k, line, match, operands):
    return f"goto {k.label(operands[0])};"


@rule(r"ret|exit")
def leave(k, line, match, operands):
    return "return;"


@rule(r"trap")
def trap(k, line, match, operands):
    return f't.fail({line}, "trap");'


@rule(r"brx\.idx")
def branch_to_one(k, line, match, operands):
    cases = " ".join(f"case {i}: goto {k.label(label)};"
                     for i, label in enumerate(k.targets[operands[1]]))
    return f"switch ({k.value(operands[0])}) {{ {cases} }} " \
           f't.fail({line}, "a branch to nowhere");'


# ===--- Numbers -------------------------------------------------------------===#


@rule(r"mov\.b(\d+)")
def pack(k, line, match, operands):
    to, source = operands
    if not to.startswith("{") and not source.startswith("{"):
        return None
    parts = k.list(to if to.startswith("{") else source)
    width = int(match[1]) // len(parts)
    if to.startswith("{"):
        return f"u{match[1]} all = {k.value(source)}; " + " ".join(
            f"{k.register(part)} = u{width}(all >> {i * width});"
            for i, part in enumerate(parts) if part != "_")
    return f"{k.register(to)} = " + " | ".join(
        f"u{match[1]}(u{width}({k.value(part)})) << {i * width}"
        for i, part in enumerate(parts)) + ";"


@rule(r"(.+\.b?f16)x2")
def in_pairs(k, line, match, operands):
    """Two halves of a register, each like a register of its own."""
    code = "u16 half[2]; "
    for i in range(2):
        values = [f"u16({k.value(text)} >> {16 * i})" for text in operands[1:]]
        part = assign(match[1], f"half[{i}]", values)
        if not part:
            return None
        code += part + " "
    return code + f"{k.register(operands[0])} = u32(half[1]) << 16 | half[0];"


SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
         "lo": "<", "ls": "<=", "hi": ">", "hs": ">="}


@rule(r"setp\.(\w+)(?:\.(and|or|xor))?\.(?:([busf])(16|32|64)|(bf16))")
def compare(k, line, match, operands):
    how, combine, kind, width, is_bf16 = match.groups()
    to = k.list(operands[0].replace("|", ","))
    if len(to) != 1 or "|" in operands[0]:
        raise unknown("two results")
    left, right = (k.value(text) for text in operands[1:3])
    if kind == "f" or is_bf16:
        number = FLOAT["bf16" if is_bf16 else f"f{width}"][0]
        left, right = f"{number}({left})", f"{number}({right})"
        nan = f"({left} != {left} || {right} != {right})"
        if how in ("nan", "num"):
            result = nan if how == "nan" else f"!{nan}"
        elif how == "ne":  # unlike in C, of numbers
            result = f"(!{nan} && {left} != {right})"
        elif how in SIGNS:
            result = f"({left} {SIGNS[how]} {right})"
        elif how[:-1] in SIGNS and how[-1] == "u":
            result = f"({nan} || {left} {SIGNS[how[:-1]]} {right})"
        else:
            raise unknown(f"comparison {how}")
    else:
        if how not in SIGNS:
            raise unknown(f"comparison {how}")
        type_ = ("s" if kind == "s" else "u") + width
        result = f"({type_}({left}) {SIGNS[how]} {type_}({right}))"
    if combine:
        sign = {"and": "&&", "or": "||", "xor": "!="}[combine]
        result = f"{result} {sign} {k.value(operands[3])}"
    return f"{k.register(to[0])} = {result};"


ROUND = {"rni": "nearest", "rzi": "zero", "rmi": "down", "rpi": "up"}


@rule(r"cvt(?:\.(rn|rz|rni|rzi|rmi|rpi))?(?:\.(sat))?\.(bf16|[usf]\d+)\.(bf16|[usf]\d+)")
def convert(k, line, match, operands):
    rounding, saturates, to, source = match.groups()
    value = k.value(operands[1])
    to_float, from_float = to in FLOAT, source in FLOAT
    if from_float:
        value = f"{FLOAT[source][0]}({value})"
    else:
        value = f"{source}({value})"
    if rounding == "rz" and (to_float or from_float):
        raise unknown("rounds to zero")
    if to_float:
        if saturates:
            raise unknown("saturates")
        if from_float and rounding in ROUND:
            value = f"roundTo({value}, Round::{ROUND[rounding]})"
        wide = "f64" if to == "f64" else "f32"
        return f"{k.register(operands[0])} = {FLOAT[to][1]}({wide}({value}));"
    if from_float:
        if rounding not in ROUND:
            raise unknown("rounding")
        value = f"toInteger<{to}>({value}, Round::{ROUND[rounding]})"
    elif saturates:
        value = f"clampTo<{to}>({value})"
    # Registers may be wider than the type: signs go on.
    return f"{k.register(operands[0])} = {to}({value});"


# ===--- Memory --------------------------------------------------------------===#

TYPE = r"(?:\.v([24]))?\.([busf])(8|16|32|64)"
CACHE = r"(?:\.(?:nc|L1::\w+|L2::\w+|c[agsv]|lu|wb|wt))*"
ORDER = r"(\.(?:volatile|weak|relaxed(?:\.\w+)|acquire(?:\.\w+)|release(?:\.\w+)))?"


def place(k, line, space, text, size):
    """Of what an address of the device is on the host."""
    space = space or "generic"
    if space == "shared":
        return f"u8 *at = shared(t, {line}, {k.address(text)}, {size});"
    return f"static Range range; u8 *at = {space}(t, {line}, {k.address(text)}, {size}, range);"


@rule(rf"ld\.param{TYPE}")
def load_param(k, line, match, operands):
    count, kind, width = match.groups()
    address = k.address(operands[1])
    if not isinstance(address, tuple):
        return f"const u8 *at = (const u8 *)({address}); " + take(k, operands[0], kind, width)
    return f"const u8 *at = params[{address[0]}] + {address[1]}; " + take(k, operands[0], kind, width)


def take(k, registers, kind, width):
    type_ = ("s" if kind == "s" else "u") + width
    return " ".join(f"{k.register(name)} = get<{type_}>(at, {i});"
                    for i, name in enumerate(k.list(registers)) if name != "_")


@rule(rf"ld{ORDER}(?:\.(global|shared|local))?{CACHE}{TYPE}")
def load(k, line, match, operands):
    order, space, count, kind, width = match.groups()
    size = int(width) // 8 * int(count or 1)
    wait = "t.spin(); " if order and "weak" not in order else ""
    return f"{wait}{place(k, line, space, operands[1], size)} " + take(k, operands[0], kind, width)


@rule(rf"st{ORDER}(?:\.(global|shared|local))?{CACHE}{TYPE}")
def store(k, line, match, operands):
    _, space, count, _, width = match.groups()
    size = int(width) // 8 * int(count or 1)
    return f"{place(k, line, space, operands[0], size)} " + " ".join(
        f"put<u{width}>(at, {i}, u{width}({k.value(name)}));"
        for i, name in enumerate(k.list(operands[1])))


@rule(rf"(atom|red){ORDER}(?:\.(?:gpu|cta|sys))?(?:\.(global|shared))?\."
      r"(add|min|max|and|or|xor|exch|cas|inc|dec)\.(?:([busf])(32|64))")
def atomic(k, line, match, operands):
    name, _, space, how, kind, width = match.groups()
    to = operands.pop(0) if name == "atom" else "_"
    values = [k.value(text) for text in operands[1:]]
    type_, new = f"{kind if kind == 's' else 'u'}{width}", None
    if kind == "f":
        number, to_bits = FLOAT[f"f{width}"]
        if how == "add":
            new = f"{to_bits}({number}(old) + {number}({values[0]}))"
    else:
        value = f"{type_}({values[0]})"
        new = {"add": f"old + {value}", "and": f"old & {value}", "or": f"old | {value}",
               "xor": f"old ^ {value}", "exch": value, "min": f"smaller<{type_}>(old, {value})",
               "max": f"larger<{type_}>(old, {value})",
               "cas": f"old == {value} ? {type_}({values[-1]}) : old"}.get(how)
    if not new:
        raise unknown("atomic operation")
    wait = "t.spin(); " if how in ("cas", "exch") else ""
    return (f"{wait}{place(k, line, space, operands[0], int(width) // 8)} {type_} old = get<{type_}>(at); "
            f"put<u{width}>(at, 0, u{width}({new})); {k.register(to)} = old;")


# ===--- Threads together ----------------------------------------------------===#


@rule(r"bar(?:rier)?\.sync(?:\.aligned)?|barrier\.cta\.sync\.aligned(?:\.all|\.count)?")
def barrier(k, line, match, operands):
    values = [k.value(text) for text in operands]
    return f"t.barrier({line}, {values[0]}, {values[1] if len(values) > 1 else 0});"


@rule(r"bar\.warp\.sync")
def warp_barrier(k, line, match, operands):
    return f"t.meet({line}, {k.value(operands[0])}, nullptr, nothingTogether);"


@rule(r"shfl\.sync\.(up|down|bfly|idx)\.b32")
def shuffle(k, line, match, operands):
    to, predicate = (operands[0].split("|") + [None])[:2]
    code = (f"auto got = shuffle(t, {line}, Shuffle::{match[1]}, "
            f"{', '.join(k.value(text) for text in operands[1:])}); "
            f"{k.register(to)} = got.value;")
    return code + (f" {k.register(predicate)} = got.inRange;" if predicate else "")


@rule(r"vote\.sync\.(all|any|uni|ballot)\.(?:pred|b32)")
def vote(k, line, match, operands):
    source = operands[1]
    value = f"!{k.value(source[1:])}" if source.startswith("!") else k.value(source)
    return f"{k.register(operands[0])} = vote(t, {line}, Vote::{match[1]}, {value}, " \
           f"{k.value(operands[2])});"


@rule(r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.(b?f16)\.\1\.f32")
def mma(k, line, match, operands):
    d, a, b, c = (k.list(text) for text in operands)
    floats = ", ".join(f"f({k.value(text)})" for text in c)
    code = (f"Mma mine = {{{{{floats}}}, {{{', '.join(map(k.value, a))}}}, "
            f"{{{', '.join(map(k.value, b))}}}}}; "
            f"mma<{str(match[1] == 'bf16').lower()}>(t, {line}, mine);")
    return code + "".join(f" {k.register(text)} = bits(mine.d[{i}]);" for i, text in enumerate(d))


@rule(r"mma\.sync\.aligned\.m16n8k(?:32\.row\.col\.s32\.([us])8\.([us])8\.s32|"
      r"8\.row\.col\.f32\.tf32\.tf32\.f32)")
def mma_of_words(k, line, match, operands):
    """Of bytes, four to a word, or of tf32."""
    d, a, b, c = (k.list(text) for text in operands)
    lists = ", ".join("{" + ", ".join(map(k.value, words)) + "}" for words in (c, a, b))
    kind = f"Bytes<{match[1]}8, {match[2]}8>" if match[1] else "Tf32"
    return (f"WordMma mine = {{{lists}}}; mmaOfWords<{kind}>(t, {line}, mine);" +
            "".join(f" {k.register(text)} = mine.d[{i}];" for i, text in enumerate(d)))


@rule(r"ldmatrix\.sync\.aligned\.m8n8\.x([124])(\.trans)?\.shared\.b16")
def load_matrix(k, line, match, operands):
    code = f"u32 values[4]; loadMatrix<{match[1]}, {'true' if match[2] else 'false'}>" \
           f"(t, {line}, {k.address(operands[1])}, values);"
    return code + "".join(f" {k.register(text)} = values[{i}];"
                          for i, text in enumerate(k.list(operands[0])))


@rule(r"cp\.async\.c[ag]\.shared\.global(?:\.L2::\w+)?")
def copy(k, line, match, operands):
    given = k.value(operands[3]) if len(operands) > 3 else operands[2]
    return (f"static Range range; copyAsync(t, {line}, {k.address(operands[0])}, "
            f"{k.address(operands[1])}, {operands[2]}, {given}, range);")


@rule(r"cp\.async\.bulk\.prefetch\.L2\.global")
def prefetch(k, line, match, operands):
    return (f"static Range range; prefetch(t, {line}, {k.address(operands[0])}, "
            f"{k.value(operands[1])}, range);")


@rule(r"cp\.async\.(commit_group|wait_group|wait_all)")
def copies(k, line, match, operands):
    if match[1] == "commit_group":
        return "t.commitCopies();"
    return f"t.waitCopies({operands[0]});" if operands else "t.commitCopies(); t.waitCopies(0);"


# ===--- Warpgroups ----------------------------------------------------------===#


@rule(r"barrier\.cluster\.(arrive|wait)(?:\.(?:release|acquire))?(?:\.aligned)?")
def cluster_barrier(k, line, match, operands):
    return f"t.{match[1]}{'At' if match[1] == 'arrive' else 'For'}Cluster();"


@rule(r"mapa\.shared::cluster\.u(32|64)")
def map_address(k, line, match, operands):
    """Of another block of the cluster: a number of the block above what an address has."""
    to, address, rank = operands
    return (f"{k.register(to)} = u{match[1]}({k.value(address)}) + "
            f"(u{match[1]}({k.value(rank)} + 1) << 24);")


@rule(rf"ld\.shared::cluster{TYPE}")
def load_of_cluster(k, line, match, operands):
    count, kind, width = match.groups()
    size = int(width) // 8 * int(count or 1)
    return (f"const u8 *at = sharedOfCluster(t, {line}, {k.address(operands[1])}, {size}); " +
            take(k, operands[0], kind, width))


@rule(r"mbarrier\.init\.shared(?:::cta)?\.b64")
def make_barrier(k, line, match, operands):
    return f"makeBarrier(t, {line}, {k.address(operands[0])}, {k.value(operands[1])});"


@rule(r"mbarrier\.arrive(\.expect_tx)?\.shared(?:::cta)?\.b64")
def arrive(k, line, match, operands):
    bytes_ = k.value(operands[2]) if match[1] else 0
    return f"{k.register(operands[0])} = arrive(t, {line}, {k.address(operands[1])}, {bytes_});"


@rule(r"mbarrier\.try_wait\.parity\.shared(?:::cta)?\.b64")
def try_wait(k, line, match, operands):
    return f"{k.register(operands[0])} = isOver(t, {line}, {k.address(operands[1])}, " \
           f"{k.value(operands[2])});"


@rule(r"cp\.async\.bulk\.tensor\.([1-5])d\.shared::cluster\.global\.tile\."
      r"mbarrier::complete_tx::bytes")
def move_box(k, line, match, operands):
    map_, at = operands[1][1:-1].split(",", 1)
    at = ", ".join(f"s32({k.value(text)})" for text in k.list(at.strip()))
    return (f"s32 origin[{match[1]}] = {{{at}}}; moveBox<{match[1]}>(t, {line}, "
            f"{k.address(operands[0])}, {k.value(map_.strip())}, origin, {k.address(operands[2])});")


FACTORS = {"f16": "F16", "bf16": "Bf16", "e4m3": "E4m3", "e5m2": "E5m2", "s8": "S8", "u8": "U8",
           "tf32": "Tf32Word"}
DEPTHS = {"f16": 16, "bf16": 16, "tf32": 8}


@rule(r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k(8|16|32)\.(f32|s32)\.(\w+)\.(\w+)")
def wgmma(k, line, match, operands):
    """Of factors of 32 bytes along the depth; only those of 16 bits can be turned."""
    sums, a, b, scale, *rest = operands
    scales, turns = (rest[:2], rest[2:]) if match[3] == "f32" else (["1", "1"], rest)
    if a.startswith("{") or scales != ["1", "1"]:
        raise unknown("a factor in registers, or one that is negated")
    if any(DEPTHS.get(kind, 32) != int(match[2]) for kind in match.groups()[3:]) or \
            len(turns) != 2 * (match[2] == "16"):
        raise unknown("such factors")
    registers = [k.register(text) for text in k.list(sums)]
    flags = ", ".join(str(turn == "1").lower() for turn in (turns or "00"))
    kinds = ", ".join(FACTORS[kind] for kind in match.groups()[3:])
    type_ = match[3].replace("s32", "u32")
    number, to_bits = ("f", "bits") if type_ == "f32" else ("", "")
    begin = ", ".join(f"{k.value(scale)} ? {number}({name}) : 0" for name in registers)
    return (f"{type_} sums[] = {{{begin}}}; wgmma<{match[1]}, {kinds}, {flags}>(t, {line}, sums, "
            f"{k.value(a)}, {k.value(b)});" + "".join(f" {name} = {to_bits}(sums[{i}]);"
                                                      for i, name in enumerate(registers)))

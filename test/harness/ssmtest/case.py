# ===- case.py - A test of an operator as data -----------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A case is an operator with attributes and several sets of inputs. One dynamic
module serves all sets; a static and a constant one are made for the first."""

import dataclasses
import os
import zlib
from typing import Any, Callable, Optional, Sequence

import ml_dtypes
import numpy as np

from . import compare, compiler, model, reference, runtime

f32, f64, f16 = np.float32, np.float64, np.float16
bf16 = ml_dtypes.bfloat16
i8, i16, i32, i64 = np.int8, np.int16, np.int32, np.int64
u8, u16, u32, u64 = np.uint8, np.uint16, np.uint32, np.uint64
boolean = np.bool_
FLOATS = (f32, f64, f16, bf16)
INTEGERS = (i8, i16, i32, i64, u8, u16, u32, u64)

# What models of sequences need: these may not be refused.
REQUIRED = set("""
    Add And Attention Cast CausalConvWithState Clip Concat Constant ConstantOfShape Conv Cos CumSum
    Div Einsum Equal Exp Expand Gather GatherElements GatherND Gemm Greater Identity If IsNaN
    LayerNormalization Less LessOrEqual LinearAttention Loop MatMul Max Min Mod Mul Neg Not Pad Pow
    RMSNormalization Range Reciprocal ReduceMean ReduceSum Reshape RotaryEmbedding Scan
    ScatterElements ScatterND Shape Sigmoid Sin Slice Softmax Softplus Split Sqrt Squeeze Sub TopK
    Transpose Trilu Unsqueeze Where""".split())


def seed():
    """The seed of this run, told in the header of the report."""
    return int(os.environ["SSM_TEST_SEED"])


def generator(name):
    """A generator that depends on the seed and the name alone."""
    return np.random.default_rng([seed(), zlib.crc32(name.encode())])


@dataclasses.dataclass
class Rand:
    """A random tensor. Floats are uniform in [low, high); integers too, high
    excluded; `distinct`: no value twice."""

    dtype: Any
    shape: Sequence[int]
    low: Optional[float] = None
    high: Optional[float] = None
    distinct: bool = False

    def make(self, rng):
        dtype, shape = np.dtype(self.dtype), tuple(self.shape)
        if dtype == np.bool_:
            return rng.integers(0, 2, shape).astype(np.bool_)
        if self.distinct:
            count = int(np.prod(shape))
            return rng.permutation(np.arange(count) - count // 2).reshape(shape).astype(dtype)
        if compare.is_float(dtype):
            low = -2.0 if self.low is None else self.low
            high = 2.0 if self.high is None else self.high
            return rng.uniform(low, high, shape).astype(dtype)
        low = (0 if dtype.kind == "u" else -20) if self.low is None else self.low
        return rng.integers(low, 21 if self.high is None else self.high, shape).astype(dtype)


def rand(dtype, *shape, **options):
    return Rand(dtype, shape, **options)


def ints(*values, dtype=np.int64):
    """A fixed 1-D tensor, int64 unless said otherwise."""
    return np.array(values, dtype)


def scalar(value, dtype=np.int64):
    return np.array(value, dtype)


@dataclasses.dataclass
class Case:
    """op with `sets`: lists of inputs, each a Rand, an array, or None (left out).

    outputs: how many are asked for; or a tuple of dtypes with None where one is
    left out. constant: positions of inputs that are initializers in all
    variants. reference: (list of float64 or integer arrays, attributes) -> list
    of arrays; default: ONNX Runtime. prepare: (inputs) -> inputs, run after they
    were made, for inputs that depend on each other. bound: overrides that of the
    output's type. optional: a form that the compiler may refuse; so may it any
    operator outside of REQUIRED, if it says that it does not support it."""

    op: str
    sets: list
    attributes: dict = dataclasses.field(default_factory=dict)
    opset: int = 18
    domain: str = ""
    outputs: Any = 1
    constant: Sequence[int] = ()
    reference: Optional[Callable] = None
    prepare: Optional[Callable] = None
    bound: Optional[float] = None
    variants: Sequence[str] = model.VARIANTS
    note: str = ""
    optional: bool = False

    def name(self):
        """Readable, and different for different cases of a list."""
        parts = [self.op, f"v{self.opset}"]
        for key, value in self.attributes.items():
            parts.append(f"{key}={type(value).__name__ if hasattr(value, 'DESCRIPTOR') else value}")
        kinds = []
        for value in self.sets[0]:
            if value is None:
                kinds.append("-")
            else:
                kinds.append(np.dtype(value.dtype).name + "x".join(map(str, value.shape)))
        parts += [",".join(kinds)] + ([self.note] if self.note else [])
        return "/".join(str(p).replace(" ", "") for p in parts)

    def make_inputs(self, index):
        rng = generator(f"{self.name()}#{index}")
        arrays = [v.make(rng) if isinstance(v, Rand) else v for v in self.sets[index]]
        if index and self.constant:
            # One module serves all sets: what it has built in is the first set's.
            first = self.make_inputs(0)
            arrays = [first[i] if i in self.constant else a for i, a in enumerate(arrays)]
        return self.prepare(arrays) if self.prepare else arrays

    def expected(self, arrays):
        """-> (dtypes of the outputs, reference arrays)."""
        types = self.output_types(arrays)
        if self.reference is not None:
            wide = [reference.widen(a, np.float64) for a in arrays]
            values = self.reference(wide, self.attributes)
        else:
            values = reference.run_node(self.op, arrays, types, self.attributes, self.opset,
                                        self.domain)
        return types, values

    def output_types(self, arrays):
        if isinstance(self.outputs, tuple):
            return list(self.outputs)
        return infer_types(self.op, arrays, self.attributes, self.opset, self.domain, self.outputs)

    def check_reference(self):
        """Computes the reference of every set: the test's own half alone."""
        for index in range(len(self.sets)):
            types, values = self.expected(self.make_inputs(index))
            assert len(values) >= len(types)

    def check(self, variant, options=()):
        """Compiles the variant, runs it and compares all outputs."""
        session, compiled = None, None
        for index in range(len(self.sets) if variant == "dynamic" else 1):
            arrays = self.make_inputs(index)
            types, wanted = self.expected(arrays)
            if session is None:
                compiled, remain = model.single_node(self.op, arrays, types, self.attributes,
                                                     self.opset, self.domain, variant,
                                                     self.constant)
                session = runtime.Module(compiler.compile_model(compiled, options)).session()
            results = session.run({name: arrays[i] for i, name in remain.items()})
            for position, (dtype, want) in enumerate(zip(types, wanted)):
                if dtype is None:
                    continue
                name = model.output_name(position)
                shapes = [None if a is None else tuple(a.shape) for a in arrays]
                compare.check_close(f"{self.name()} inputs {shapes} {name}", results[name],
                                    np.asarray(want), dtype, self.bound)


def infer_types(op, arrays, attributes, opset, domain, count):
    """The outputs' types by ONNX's own inference."""
    import onnx

    proto, _ = model.single_node(op, arrays, [np.float32] * count, attributes, opset, domain)
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("elem_type")
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    by_number = {number: dtype for dtype, number in model.ELEMENT_TYPES.items()}
    return [by_number[o.type.tensor_type.elem_type] for o in inferred.graph.output]


def over(cases):
    """Decorator: a test function of (case, variant) over all cases and their
    variants."""
    import pytest

    names = [case.name() for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"cases of one name: {sorted(twice)}"
    pairs = [pytest.param(case, variant, id=f"{case.name()}-{variant}")
             for case in cases for variant in case.variants]
    return pytest.mark.parametrize("case,variant", pairs)


def run_case(case, variant, reference_only):
    import pytest

    if reference_only:
        if variant == case.variants[0]:
            case.check_reference()
        return
    try:
        case.check(variant)
    except compiler.CompileError as error:
        if error.returncode == 1 and (case.optional or
                                      (error.unsupported and case.op not in REQUIRED)):
            pytest.skip(f"refused: {error.reason}")
        raise

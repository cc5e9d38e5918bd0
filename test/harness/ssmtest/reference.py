# ===- reference.py - ONNX Runtime, in double precision where it can -------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Reference results of one-operator models from ONNX Runtime.

Floats are computed in float64 where ONNX Runtime has such a kernel, else in
float32; 16-bit types are widened first, which is exact. So the reference is at
least as good as the type under test, and exists for bfloat16 too.
"""

import functools
import math

import numpy as np
import onnxruntime

from . import build, compare, model

onnxruntime.set_default_logger_severity(4)


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x) if x.size else x


# For types that ONNX Runtime has no kernel for: {operator: (arrays, attributes)
# -> array}.
NUMPY = {
    "Max": lambda a, _: functools.reduce(np.maximum, a),
    "Min": lambda a, _: functools.reduce(np.minimum, a),
    "Where": lambda a, _: np.where(*a),
    "Erf": lambda a, _: erf(a[0]),
    "Gelu": lambda a, _: 0.5 * a[0] * (1 + erf(a[0] / np.sqrt(2))),
}


def gemm_of_no_depth(arrays, attributes):
    """Gemm whose sums have no terms: beta C. ONNX Runtime before 1.32 forgets beta there."""
    a, b, *c = arrays
    rows, depth = a.shape[::-1] if attributes.get("transA") else a.shape
    columns = b.shape[0 if attributes.get("transB") else 1]
    if depth or not c or c[0] is None:
        return None
    return np.broadcast_to(c[0] * c[0].dtype.type(attributes.get("beta", 1.0)), (rows, columns))


def empty_reduction(arrays, attributes):
    """Reductions that have no results; ONNX Runtime before 1.32 gives them another shape."""
    shape = list(arrays[0].shape)
    axes = arrays[1] if len(arrays) > 1 else attributes.get("axes")
    if axes is None or not len(axes):
        return None
    for axis in axes:
        shape[axis] = 1
    return np.empty(shape, arrays[0].dtype) if 0 in shape and attributes.get("keepdims", 1) else None


# What older releases of ONNX Runtime get wrong, by their rules: {start of an operator's name:
# (arrays, attributes) -> array, or None where they are right}.
WITHOUT_ELEMENTS = {"Gemm": gemm_of_no_depth, "Reduce": empty_reduction}


class NoReference(Exception):
    """ONNX Runtime cannot compute this."""


def run_model(proto, inputs):
    """ModelProto or path, {name: array} -> {name: array}, on one thread.

    Graph optimisation is off: what is folded there is computed differently."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    source = proto if isinstance(proto, (str, bytes)) else (
        proto.SerializeToString() if hasattr(proto, "SerializeToString") else str(proto))
    try:
        session = onnxruntime.InferenceSession(source, options,
                                               providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs)))
    except Exception as error:  # ONNX Runtime's own classes have no common base
        raise NoReference(str(error)) from error


def widen(array, dtype):
    return array.astype(dtype) if array is not None and compare.is_float(array.dtype) else array


def run_node(op, inputs, output_types, attributes=None, opset=model.NEWEST_OPSET, domain=""):
    """-> arrays, one for each output (None where its type is None), in the widest
    float type that ONNX Runtime has a kernel for."""
    errors = []
    for name, compute in WITHOUT_ELEMENTS.items():
        if op.startswith(name) and not domain:
            result = compute([widen(a, np.float64) for a in inputs], attributes or {})
            if result is not None:
                return [result]
    floats = {a.dtype for a in inputs if a is not None and compare.is_float(a.dtype)}
    floats |= {np.dtype(t) for t in output_types if t is not None and compare.is_float(t)}
    for wide in (np.float64, np.float32, None):
        if wide is np.float32 and np.dtype(np.float64) in floats:
            continue  # would be worse than what is tested
        types = [wide if wide and t is not None and compare.is_float(t) else t
                 for t in output_types]
        arrays = [widen(a, wide) if wide else a for a in inputs]
        proto, remain = model.single_node(op, arrays, types, attributes, opset, domain)
        try:
            results = run_model(proto, {n: arrays[i] for i, n in remain.items()})
        except NoReference as error:
            errors.append(str(error).strip().splitlines()[0])
            continue
        return [results.get(model.output_name(i)) for i in range(len(output_types))]
    if op in NUMPY and not domain:
        return [NUMPY[op]([widen(a, np.float64) for a in inputs], attributes)]
    if build.PACKED:
        import pytest

        # It may be an older one there.
        pytest.skip("ONNX Runtime does not compute the reference")
    raise NoReference("; ".join(errors))

# ===- test_control_flow_forms.py - Rarer forms of If, Loop and Scan -------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Bodies written by hand: states that change places or lie in each other, sizes that
only the body knows, loops without a limit, Scan of version 8. Against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper
from ssmtest import compare, compiler, reference, runtime
from ssmtest.case import f32, generator

node, value = helper.make_node, helper.make_tensor_value_info


def graph(nodes, inputs, outputs, constants=()):
    """inputs, outputs: (name, element type, shape); constants: name -> array."""
    return helper.make_graph(
        nodes, "g", [value(*i) for i in inputs], [value(*o) for o in outputs],
        [onnx.numpy_helper.from_array(a, name) for name, a in dict(constants).items()])


def check(top, inputs, version, reference_only):
    proto = helper.make_model(top, opset_imports=[helper.make_opsetid("", version)],
                              ir_version=8)
    wanted = reference.run_model(proto, inputs)
    if reference_only:
        return
    results = runtime.Module(compiler.compile_model(proto)).session().run(inputs)
    assert results.keys() == wanted.keys()
    for name, want in wanted.items():
        compare.check_close(name, results[name], want, want.dtype)


def int64(*values):
    return np.array(values, np.int64)


VECTOR, MATRIX = [4], [4, 4]
# Name -> (nodes of the body, states as (name, next name, shape), outputs, constants).
# Every body has the slice x [4].
STEPS = {
    "swap": ([node("Identity", ["b"], ["a1"]), node("Identity", ["a"], ["b1"])],
             [("a", "a1", VECTOR), ("b", "b1", VECTOR)], [], {}),
    "rotate": ([node("Identity", ["b"], ["a1"]), node("Identity", ["c"], ["b1"]),
                node("Add", ["a", "x"], ["c1"]), node("Add", ["a1", "b1"], ["y"])],
               [("a", "a1", VECTOR), ("b", "b1", VECTOR), ("c", "c1", VECTOR)], ["y"], {}),
    "view": ([node("Reshape", ["a", "square"], ["b1"]), node("Add", ["a", "x"], ["a1"]),
              node("Identity", ["a"], ["y"])],
             [("a", "a1", VECTOR), ("b", "b1", [2, 2])], ["y"], {"square": int64(2, 2)}),
    "window": ([node("Slice", ["w", "one", "end", "zero"], ["rest"]),
                node("Unsqueeze", ["x", "zero"], ["row"]),
                node("Concat", ["rest", "row"], ["w1"], axis=0),
                node("ReduceSum", ["w1", "zero"], ["y"], keepdims=0)],
               [("w", "w1", [3, 4])], ["y"],
               {"one": int64(1), "end": int64(3), "zero": int64(0)}),
    "square": ([node("MatMul", ["m", "m"], ["mm"]), node("Mul", ["mm", "quarter"], ["m1"]),
                node("Add", ["m", "x"], ["y"])],
               [("m", "m1", MATRIX)], ["y"], {"quarter": np.array(0.25, f32)}),
    "constant": ([node("Mul", ["w", "x"], ["y"]), node("Identity", ["w"], ["w1"]),
                  node("Add", ["a", "y"], ["a1"])],
                 [("w", "w1", VECTOR), ("a", "a1", VECTOR)], ["y"], {}),
    "branch": ([node("ReduceSum", ["x"], ["sum"], keepdims=0),
                node("Greater", ["sum", "none"], ["c"]),
                node("If", ["c"], ["a1"],
                     then_branch=graph([node("Identity", ["b"], ["t"])], [],
                                       [("t", T.FLOAT, None)]),
                     else_branch=graph([node("Add", ["a", "x"], ["e"])], [],
                                       [("e", T.FLOAT, None)])),
                node("Add", ["a", "half"], ["b1"])],
               [("a", "a1", VECTOR), ("b", "b1", VECTOR)], [],
               {"none": np.array(0, f32), "half": np.array(0.5, f32)}),
}


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("fixed", [False, True], ids=["dynamic", "fixed"])
@pytest.mark.parametrize("name", STEPS)
def test_scan_states(name, fixed, steps, reference_only):
    nodes, states, outputs, constants = STEPS[name]
    body = graph(nodes, [(s, T.FLOAT, d) for s, _, d in states] + [("x", T.FLOAT, VECTOR)],
                 [(n, T.FLOAT, d) for _, n, d in states] + [(o, T.FLOAT, None) for o in outputs])
    results = [f"{s}_last" for s, _, _ in states] + [f"{o}_all" for o in outputs]
    top = graph([node("Scan", [f"{s}_first" for s, _, _ in states] + ["xs"], results, body=body,
                      num_scan_inputs=1)],
                [(f"{s}_first", T.FLOAT, d) for s, _, d in states] +
                [("xs", T.FLOAT, [steps if fixed else "steps", 4])],
                [(r, T.FLOAT, None) for r in results], constants)
    rng = generator(f"scan_states/{name}/{steps}")
    inputs = {f"{s}_first": rng.uniform(-1, 1, d).astype(f32) for s, _, d in states}
    inputs["xs"] = rng.uniform(-1, 1, (steps, 4)).astype(f32)
    check(top, inputs, 16, reference_only)


@pytest.mark.parametrize("batch,lengths", [(2, None), (1, None), (3, (4, 2, 1)), (2, (1, 4))])
@pytest.mark.parametrize("backward", [0, 1])
def test_scan_8(batch, lengths, backward, reference_only):
    body = graph([node("Add", ["h", "x"], ["h1"]), node("Mul", ["h1", "x"], ["y"])],
                 [("h", T.FLOAT, [3]), ("x", T.FLOAT, [3])],
                 [("h1", T.FLOAT, [3]), ("y", T.FLOAT, [3])])
    inputs = [("first", T.FLOAT, ["b", 3]), ("xs", T.FLOAT, ["b", "t", 3])]
    rng = generator(f"scan_8/{batch}/{lengths}")
    given = {"first": rng.standard_normal((batch, 3), f32),
             "xs": rng.standard_normal((batch, 4, 3), f32)}
    if lengths:
        inputs.append(("lengths", T.INT64, ["b"]))
        given["lengths"] = int64(*lengths)
    top = graph([node("Scan", ["lengths" if lengths else "", "first", "xs"], ["last", "ys"],
                      body=body, num_scan_inputs=1, directions=[backward])],
                inputs, [("last", T.FLOAT, None), ("ys", T.FLOAT, None)])
    check(top, given, 8, reference_only)


@pytest.mark.parametrize("rows", [1, 4])
def test_scan_of_a_state_with_another_symbol(rows, reference_only):
    """What the body adds must have the size of the state; the file does not say so."""
    body = graph([node("Add", ["h", "x"], ["h1"]), node("Exp", ["h1"], ["y"])],
                 [("h", T.FLOAT, None), ("x", T.FLOAT, None)],
                 [("h1", T.FLOAT, None), ("y", T.FLOAT, None)])
    top = graph([node("Scan", ["first", "xs"], ["last", "ys"], body=body, num_scan_inputs=1,
                      scan_input_axes=[1], scan_output_axes=[-2], scan_output_directions=[1])],
                [("first", T.FLOAT, ["n", 3]), ("xs", T.FLOAT, ["m", "t", 3])],
                [("last", T.FLOAT, None), ("ys", T.FLOAT, None)])
    rng = generator(f"scan_symbols/{rows}")
    check(top, {"first": rng.standard_normal((rows, 3), f32),
                "xs": rng.uniform(-0.1, 0.1, (rows, 6, 3)).astype(f32)}, 16, reference_only)


@pytest.mark.parametrize("steps", [1, 4])
def test_scan_of_sizes_only_the_body_knows(steps, reference_only):
    body = graph([node("Add", ["h", "x"], ["h1"]), node("NonZero", ["w"], ["at"]),
                  node("Cast", ["at"], ["real"], to=T.FLOAT), node("Mul", ["real", "h1"], ["y"])],
                 [("h", T.FLOAT, []), ("x", T.FLOAT, [])],
                 [("h1", T.FLOAT, []), ("y", T.FLOAT, None)])
    top = graph([node("Scan", ["first", "xs"], ["last", "ys"], body=body, num_scan_inputs=1)],
                [("first", T.FLOAT, []), ("w", T.FLOAT, ["k"]), ("xs", T.FLOAT, ["t"])],
                [("last", T.FLOAT, None), ("ys", T.FLOAT, None)])
    rng = generator(f"scan_sizes/{steps}")
    check(top, {"first": np.array(0.5, f32), "w": np.array([1, 0, 1, 1, 0], f32),
                "xs": rng.standard_normal((steps,), f32)}, 16, reference_only)


@pytest.mark.parametrize("trips,limit", [(3, 100), (40, 100), (None, 5), (None, 50),
                                         (2**62, 33), (0, 100)])
def test_loop_of_sizes_only_the_body_knows(trips, limit, reference_only):
    body = graph([node("NonZero", ["x"], ["at"]), node("Cast", ["at"], ["real"], to=T.FLOAT),
                  node("Add", ["a", "one"], ["a1"]), node("Mul", ["real", "a1"], ["y"]),
                  node("Less", ["a1", "limit"], ["go1"])],
                 [("i", T.INT64, []), ("go", T.BOOL, []), ("a", T.FLOAT, [])],
                 [("go1", T.BOOL, []), ("a1", T.FLOAT, []), ("y", T.FLOAT, None)])
    inputs = [("x", T.FLOAT, ["n"]), ("limit", T.FLOAT, [])]
    given = {"x": np.array([1, 0, 2, 0, 3], f32), "limit": np.array(limit, f32)}
    if trips is not None:
        inputs.append(("trips", T.INT64, []))
        given["trips"] = np.array(trips)
    outputs = [("last", T.FLOAT, None), ("ys", T.FLOAT, None)]
    if trips == 0:
        # ONNX Runtime cannot tell the rank of the stack without a step.
        outputs.pop()
    top = graph([node("Loop", ["trips" if trips is not None else "", "yes", "first"],
                      ["last", "ys"], body=body)], inputs, outputs,
                {"yes": np.array(True), "one": np.array(1, f32), "first": np.array(0, f32)})
    check(top, given, 17, reference_only)


@pytest.mark.parametrize("trips", [0, 1, 12])
def test_loop_of_integers(trips, reference_only):
    """Carried integers are sizes in the next step; two of them change places."""
    body = graph([node("Add", ["a", "b"], ["b1"]), node("Identity", ["b"], ["a1"]),
                  node("Identity", ["go"], ["go1"]), node("Range", ["zero", "a", "one"], ["r"]),
                  node("ReduceSum", ["r"], ["y"], keepdims=0)],
                 [("i", T.INT64, []), ("go", T.BOOL, []), ("a", T.INT64, []),
                  ("b", T.INT64, [])],
                 [("go1", T.BOOL, []), ("a1", T.INT64, []), ("b1", T.INT64, []),
                  ("y", T.INT64, [])])
    top = graph([node("Loop", ["trips", "", "zero", "one"], ["a_last", "b_last", "ys"],
                      body=body)],
                [("trips", T.INT64, [])],
                [(n, T.INT64, None) for n in ("a_last", "b_last", "ys")],
                {"zero": np.array(0), "one": np.array(1)})
    check(top, {"trips": np.array(trips)}, 13, reference_only)


@pytest.mark.parametrize("rows", [1, 2])
def test_if_whose_branch_is_known(rows, reference_only):
    """Exporters squeeze under a test of the size: ranks differ, one branch counts."""
    top = graph([node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]),
                 node("Equal", ["n", "one"], ["c"]),
                 node("If", ["c"], ["y"],
                      then_branch=graph([node("Squeeze", ["x"], ["t"])], [],
                                        [("t", T.FLOAT, None)]),
                      else_branch=graph([node("Identity", ["x"], ["e"])], [],
                                        [("e", T.FLOAT, None)]))],
                [("x", T.FLOAT, [rows, 3])], [("y", T.FLOAT, None)],
                {"zero": np.array(0), "one": np.array(1)})
    check(top, {"x": generator(f"if_known/{rows}").standard_normal((rows, 3), f32)}, 12,
          reference_only)


@pytest.mark.parametrize("flag", [True, False])
def test_if_of_other_sizes(flag, reference_only):
    top = graph([node("If", ["c"], ["y"],
                      then_branch=graph([node("NonZero", ["x"], ["t"])], [],
                                        [("t", T.INT64, None)]),
                      else_branch=graph([node("Identity", ["two"], ["e"])], [],
                                        [("e", T.INT64, None)])),
                 node("Add", ["y", "y"], ["z"])],
                [("x", T.FLOAT, ["n"]), ("c", T.BOOL, [])], [("z", T.INT64, None)],
                {"two": np.array([[7, 8]])})
    check(top, {"x": np.array([0, 1, 2, 0, 3], f32), "c": np.array(flag)}, 13, reference_only)


@pytest.mark.parametrize("kind,message", [
    ("rank", "branches give ranks"), ("type", "branches give different element types"),
    ("count", "graph 'then_branch' gives 2 values, expected 1")])
def test_if_that_contradicts_itself(kind, message, reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    nodes = {"rank": [node("Identity", ["flat"], ["t"])],
             "type": [node("Cast", ["x"], ["t"], to=T.INT64)],
             "count": [node("Identity", ["x"], ["t"])]}[kind]
    outputs = [("t", T.FLOAT, None)] * (2 if kind == "count" else 1)
    top = graph([node("If", ["c"], ["y"], then_branch=graph(nodes, [], outputs),
                      else_branch=graph([node("Identity", ["x"], ["e"])], [],
                                        [("e", T.FLOAT, None)]))],
                [("x", T.FLOAT, ["n", 3]), ("flat", T.FLOAT, ["k"]), ("c", T.BOOL, [])],
                [("y", T.FLOAT, None)])
    proto = helper.make_model(top, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    with pytest.raises(compiler.CompileError, match=message):
        compiler.compile_model(proto)

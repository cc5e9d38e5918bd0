# ===- test_sequence_models.py - Attention, linear attention, causal convolution ===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
import numpy as np
import pytest
from ssmtest import compare, compiler, model, runtime
from ssmtest import references_sequence as ref
from ssmtest.case import (Case, bf16, boolean, f16, f32, f64, generator, i64, ints, over, rand,
                          run_case, u8)

RULES = ("linear", "gated", "delta", "gated_delta")
# batch, length
SIZES = [(2, 7), (1, 1), (3, 0), (1, 65), (0, 4)]


def unit_keys(heads):
    """The standard expects normalised keys for the delta rules."""
    def run(arrays):
        key = arrays[1].astype(np.float64)
        parts = key.reshape(*key.shape[:2], heads, key.shape[2] // heads)
        parts = parts / np.maximum(np.linalg.norm(parts, axis=-1, keepdims=True), 1e-6)
        return [arrays[0], parts.reshape(key.shape).astype(arrays[1].dtype), *arrays[2:]]
    return run


def linear_attention(rule, dtype=f32, q_heads=4, kv_heads=2, dk=8, dv=5, past=True,
                     per_key_decay=False, shared_beta=False, state=None, sizes=None, **attributes):
    state = state or dtype
    sets = []
    for batch, length in sizes or SIZES:
        inputs = [rand(dtype, batch, length, q_heads * dk), rand(dtype, batch, length,
                                                                 kv_heads * dk),
                  rand(dtype, batch, length, kv_heads * dv),
                  rand(state, batch, kv_heads, dk, dv) if past else None]
        inputs.append(rand(dtype, batch, length, kv_heads * (dk if per_key_decay else 1),
                           low=-1.5, high=0) if rule.startswith("gated") else None)
        inputs.append(rand(dtype, batch, length, 1 if shared_beta else kv_heads, low=0, high=1)
                      if rule.endswith("delta") else None)
        sets.append(inputs)
    note = "".join(["/per-key" if per_key_decay else "", "/one-beta" if shared_beta else ""])
    return Case("LinearAttention", sets,
                {"q_num_heads": q_heads, "kv_num_heads": kv_heads, "update_rule": rule,
                 **attributes}, 27, outputs=(dtype, state), reference=ref.linear_attention,
                prepare=unit_keys(kv_heads), note=rule + note)


LINEAR = [
    *[linear_attention(rule, dtype) for rule in RULES for dtype in (f32, f16, bf16)],
    *[linear_attention(rule, past=False) for rule in RULES],
    *[linear_attention(rule, per_key_decay=True) for rule in ("gated", "gated_delta")],
    *[linear_attention(rule, shared_beta=True) for rule in ("delta", "gated_delta")],
    *[linear_attention(rule, q_heads=3, kv_heads=3, dk=4, dv=9, scale=0.37, chunk_size=16)
      for rule in RULES],
    linear_attention("gated", q_heads=2, kv_heads=1, dk=16, dv=16),
    # Several readers of one state; more than one kernel serves.
    *[linear_attention(rule, q_heads=6, kv_heads=2, dk=5, dv=17) for rule in RULES],
    linear_attention("gated_delta", q_heads=11, kv_heads=1, dk=33, dv=4),
    linear_attention("gated", f16, q_heads=9, kv_heads=1, dk=30, dv=16),
    linear_attention("gated_delta", f16, state=f32), linear_attention("gated", bf16, state=f32),
]


def causal_conv(dtype=f32, width=4, bias=True, past=True, channels=6, **attributes):
    # What a single element is the sum of must not cancel.
    ends = dict(low=0.1, high=1) if channels == 1 else {}
    sets = [[rand(dtype, b, channels, n, **ends), rand(dtype, channels, 1, width, **ends),
             rand(dtype, channels, **ends) if bias else None,
             rand(dtype, b, channels, width - 1, **ends) if past else None]
            for b, n in ((2, 7), (1, 1), (3, 2), (1, 65), (2, 0), (0, 3))]
    return Case("CausalConvWithState", sets, attributes, 27, outputs=(dtype, dtype),
                reference=ref.causal_conv_with_state, note="past" if past else "no-past")


CAUSAL_CONVS = [
    *[causal_conv(t, activation=a) for t in (f32, f16, bf16) for a in ("none", "silu", "swish")],
    causal_conv(), causal_conv(bias=False), causal_conv(past=False, activation="silu"),
    causal_conv(bias=False, past=False), causal_conv(width=1), causal_conv(width=2),
    causal_conv(width=7, activation="silu"), causal_conv(channels=1),
]


def attention(dtype=f32, heads=(4, 4), d=8, dv=None, sizes=None, mask=None, past=None, valid=None,
              flat=False, opset=23, outputs=1, note="", **attributes):
    """sizes: (batch, queries, keys); mask: (dtype, its shape as a function of
    batch, queries, total keys); past: length of the cache; valid: whether
    nonpad_kv_seqlen is given."""
    dv, (hq, hk) = dv or d, heads
    sets = []
    for b, s, t in sizes or [(2, 5, 5), (1, 1, 7), (2, 9, 3)]:
        def heads_of(h, n, width, b=b):
            return rand(dtype, b, n, h * width) if flat else rand(dtype, b, h, n, width)
        total = t + (past or 0)
        inputs = [heads_of(hq, s, d), heads_of(hk, t, d), heads_of(hk, t, dv), None]
        if mask:
            inputs[3] = rand(mask[0], *mask[1](b, s, total))
        inputs += [None if past is None else rand(dtype, b, hk, past, d),
                   None if past is None else rand(dtype, b, hk, past, dv)]
        if valid:
            inputs.append(rand(i64, b, low=1, high=t + 1))
        sets.append(inputs)
    attributes = {**attributes, **({"q_num_heads": hq, "kv_num_heads": hk} if flat else {})}
    types = [dtype, dtype if past is not None else None, dtype if past is not None else None, dtype]
    types = tuple(types[:outputs])
    parts = [note, "mask" if mask else "", f"past{past}" if past is not None else "",
             "valid" if valid else "", f"outputs{outputs}", f"mask-rank{len(mask[1](1, 1, 1))}"
             if mask else ""]
    return Case("Attention", sets, attributes, opset, outputs=types, reference=ref.attention,
                note="-".join(p for p in parts if p))


QK = (boolean, lambda b, s, t: (s, t))
FULL = (f32, lambda b, s, t: (b, 4, s, t))
ATTENTIONS = [
    *[attention(t) for t in (f32, f64, f16, bf16)],
    attention(note="spelled-out", is_causal=0, scale=0.25, softcap=0.0, qk_matmul_output_mode=0),
    attention(is_causal=1), attention(heads=(6, 2)), attention(heads=(4, 1), is_causal=1),
    attention(dv=5), attention(flat=True), attention(flat=True, heads=(6, 3), dv=3, is_causal=1),
    attention(mask=QK), attention(mask=FULL, is_causal=1), attention(softcap=1.5, mask=QK),
    attention(mask=(boolean, lambda b, s, t: (b, 1, s, t))),
    attention(mask=(f32, lambda b, s, t: (b, 1, 1, t)), heads=(4, 2)),
    attention(mask=(f16, lambda b, s, t: (1, s, t)), dtype=f16),
    attention(mask=(bf16, lambda b, s, t: (1, 1, s, t)), dtype=bf16, heads=(4, 2), is_causal=1),
    attention(past=3, outputs=3), attention(past=3, outputs=3, is_causal=1, mask=QK),
    attention(past=0, outputs=3, is_causal=1), attention(past=6, outputs=3, flat=True,
                                                         heads=(6, 2), is_causal=1),
    *[attention(outputs=4, qk_matmul_output_mode=m, mask=QK, softcap=2.0, past=2)
      for m in (0, 1, 2, 3)],
    attention(softmax_precision=1, dtype=f16), attention(sizes=[(2, 3, 0), (1, 0, 4), (0, 3, 3)],
                                                         note="empty"),
    attention(valid=True, opset=24), attention(valid=True, opset=24, is_causal=1),
    attention(valid=True, opset=24, mask=FULL),
    *[attention(opset=25, left_window_size=left, right_window_size=right, is_causal=causal)
      for left, right, causal in ((2, 1, 0), (2, 0, 0), (0, 0, 0), (-1, 1, 0), (3, -1, 1))],
    attention(opset=25, left_window_size=2, right_window_size=0, past=4, outputs=3),
    attention(sizes=[(1, 65, 65)], d=16, is_causal=1, note="long"),
]
WRITES = [
    *[Case("TensorScatter", [[rand(t, 2, 3, 7, 4), rand(t, 2, 3, 2, 4), ints(1, 5)],
                             [rand(t, 2, 1, 3, 1), rand(t, 2, 1, 1, 1), ints(2, 0)]],
           {"mode": "linear"}, 24, outputs=(t,), note="linear",
           reference=lambda a, at: tensor_scatter(a, at)) for t in (f32, f16, u8)],
    Case("TensorScatter", [[rand(f32, 2, 3, 7, 4), rand(f32, 2, 3, 3, 4), ints(1, 6)]],
         {"mode": "circular"}, 24, outputs=(f32,), reference=lambda a, at: tensor_scatter(a, at)),
    Case("TensorScatter", [[rand(f32, 2, 5, 4), rand(f32, 2, 3, 4)]], {"axis": 1}, 24,
         outputs=(f32,), reference=lambda a, at: tensor_scatter(a, at), note="from-0"),
    *[Case("Swish", [[rand(t, 3, 5)], [rand(t, 0, 1)]], {"alpha": 1.5}, 24, outputs=(t,),
           reference=lambda a, at: [a[0] / (1 + np.exp(-at["alpha"] * a[0]))])
      for t in (f32, f16, bf16)],
    *[Case("SwiGLU", [[rand(t, 3, 5), rand(t, 3, 5)], [rand(t, 0, 1), rand(t, 0, 1)]], {}, 28,
           outputs=(t,), reference=lambda a, at: [a[0] / (1 + np.exp(-a[0])) * a[1]])
      for t in (f32, f16, bf16)],
]


def tensor_scatter(arrays, attributes):
    cache, update = arrays[0].copy(), arrays[1]
    starts = arrays[2] if len(arrays) > 2 else np.zeros(len(cache), np.int64)
    axis = attributes.get("axis", -2) % cache.ndim
    for b, start in enumerate(starts):
        places = (start + np.arange(update.shape[axis])) % cache.shape[axis]
        target = np.moveaxis(cache[b], axis - 1, 0)
        target[places] = np.moveaxis(update[b], axis - 1, 0)
    return [cache]


@over(LINEAR)
def test_linear_attention(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(CAUSAL_CONVS)
def test_causal_conv(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(ATTENTIONS)
def test_attention(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(WRITES)
def test_cache_and_gates(case, variant, reference_only):
    run_case(case, variant, reference_only)


def pieces(length, cuts):
    bounds = [0, *cuts, length]
    return list(zip(bounds, bounds[1:]))


@pytest.mark.parametrize("cuts", [(3,), (1, 2, 9), tuple(range(1, 13))],
                         ids=["two", "four", "steps"])
@pytest.mark.parametrize("rule", RULES)
def test_linear_attention_in_pieces(rule, cuts, reference_only):
    """A prefill in pieces, and steps of one, equal the prefill at once."""
    if reference_only:
        pytest.skip("needs the compiler")
    case = linear_attention(rule, sizes=[(2, 13)])
    arrays = case.make_inputs(0)
    proto, remain = model.single_node(case.op, arrays, [f32, f32], case.attributes, 27, "",
                                      "dynamic")
    session = runtime.Module(compiler.compile_model(proto)).session()
    inputs = {name: arrays[i] for i, name in remain.items()}
    whole = session.run(inputs)
    state, parts = arrays[3], []
    for lo, hi in pieces(13, cuts):
        given = {n: state if n == "in3" else a[:, lo:hi] for n, a in inputs.items()}
        results = session.run(given)
        state = results["out1"]
        parts.append(results["out0"])
    compare.check_close("output", np.concatenate(parts, 1), whole["out0"], f32)
    compare.check_close("state", state, whole["out1"], f32)


def test_causal_conv_in_pieces(reference_only):
    if reference_only:
        pytest.skip("needs the compiler")
    rng = generator("causal_conv_in_pieces")
    x, weight = rng.standard_normal((2, 5, 11), f32), rng.standard_normal((5, 1, 4), f32)
    bias, state = rng.standard_normal(5, f32), rng.standard_normal((2, 5, 3), f32)
    arrays = [x, weight, bias, state]
    proto, _ = model.single_node("CausalConvWithState", arrays, [f32, f32], {"activation": "silu"},
                                 27, "", "dynamic")
    session = runtime.Module(compiler.compile_model(proto)).session()
    inputs = {f"in{i}": a for i, a in enumerate(arrays)}
    whole, parts = session.run(inputs), []
    for lo, hi in pieces(11, (1, 2, 4, 4, 9)):
        results = session.run({**inputs, "in0": x[:, :, lo:hi], "in3": state})
        state = results["out1"]
        parts.append(results["out0"])
    compare.check_close("output", np.concatenate(parts, 2), whole["out0"], f32)
    compare.check_close("state", state, whole["out1"], f32)

# ===- test_normalization.py - Layer, RMS and rotary -----------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
import numpy as np
import pytest
from ssmtest import references_sequence as ref
from ssmtest.case import Case, FLOATS, bf16, f16, f32, over, rand, run_case

SHAPES = [(3, 5, 8), (1, 1, 8), (0, 5, 8), (2, 7, 8)]

NORMS = [
    *[Case("LayerNormalization", [[rand(t, *s), rand(t, 8), rand(t, 8)] for s in SHAPES],
           {"axis": -1, "epsilon": 1e-5, "stash_type": 1}, 17, reference=ref.layer_normalization)
      for t in FLOATS],
    Case("LayerNormalization", [[rand(f32, *s), rand(f32, s[2])] for s in [(3, 5, 7), (2, 1, 1),
                                                                          (1, 9, 33)]],
         opset=17, reference=ref.layer_normalization, note="no-bias"),
    Case("LayerNormalization", [[rand(f32, 3, 5, 7), rand(f32, 5, 7), rand(f32, 5, 7)]],
         {"axis": 1, "epsilon": 1e-12}, 17, reference=ref.layer_normalization),
    Case("LayerNormalization", [[rand(f32, 3, 5, 7), rand(f32, 7), rand(f32, 7)]], opset=17,
         outputs=(f32, f32, f32), reference=ref.layer_normalization, note="statistics"),
    Case("LayerNormalization", [[rand(f32, 3, 9, low=999, high=1001), rand(f32, 9)]], opset=17,
         reference=ref.layer_normalization, note="far-from-zero", bound=1e-3),
    *[Case("RMSNormalization", [[rand(t, *s), rand(t, 8)] for s in SHAPES],
           {"axis": -1, "epsilon": 1e-6, "stash_type": 1}, 23, outputs=(t,),
           reference=ref.rms_normalization) for t in FLOATS],
    Case("RMSNormalization", [[rand(f32, 3, 5, 7), rand(f32, 5, 7)]], {"axis": 1}, 23,
         outputs=(f32,), reference=ref.rms_normalization),
    Case("RMSNormalization", [[rand(f32, 3, 5, 7), rand(f32, 1)]], opset=23, outputs=(f32,),
         reference=ref.rms_normalization, note="broadcast"),
    Case("RMSNormalization", [[rand(f16, 3, 8, low=-300, high=300), rand(f16, 8)]], opset=23,
         outputs=(f16,), reference=ref.rms_normalization, note="squares-overflow"),
    Case("SimplifiedLayerNormalization", [[rand(f32, 3, 5, 8), rand(f32, 8)]],
         {"axis": -1, "epsilon": 1e-6, "stash_type": 1}, 17, outputs=(f32,),
         reference=ref.rms_normalization),
    *[Case("BatchNormalization", [[rand(f32, 2, 3, *s), rand(f32, 3), rand(f32, 3), rand(f32, 3),
                                   rand(f32, 3, low=0.5)]], opset=15) for s in ((5,), (4, 7))],
    Case("InstanceNormalization", [[rand(f32, 2, 3, 7), rand(f32, 3), rand(f32, 3)]]),
    Case("GroupNormalization", [[rand(f32, 2, 6, 7), rand(f32, 6), rand(f32, 6)]],
         {"num_groups": 2}, 21, outputs=(f32,)),
    *[Case("LpNormalization", [[rand(f32, 3, 5, 7)]], {"axis": 1, "p": p}) for p in (1, 2)],
]


def rotary(dtype, dim, positions=None, cache=None, attributes=None, flat=0, note=""):
    """dim: head size; positions: length of the caches, then indexed by ids."""
    attributes = attributes or {}
    half = (attributes.get("rotary_embedding_dim", 0) or dim) // 2
    sets = []
    for batch, heads, length in ((2, 3, 5), (1, 1, 1), (3, 2, 0), (2, 2, 9)):
        if flat:
            heads = flat
        x = rand(dtype, batch, length, heads * dim) if flat else rand(dtype, batch, heads, length,
                                                                     dim)
        lead = (positions,) if positions else (cache or batch, length)
        inputs = [x, rand(dtype, *lead, half, low=-1, high=1), rand(dtype, *lead, half, low=-1,
                                                                    high=1)]
        if positions:
            inputs.append(rand(np.int64, batch, length, low=0, high=positions))
        sets.append(inputs)
    return Case("RotaryEmbedding", sets, {**attributes, **({"num_heads": flat} if flat else {})},
                23, outputs=(dtype,), reference=ref.rotary_embedding, note=note)


ROTARY = [
    *[rotary(t, 8) for t in (f32, f16, bf16)],
    rotary(f32, 8, attributes={"interleaved": 1}), rotary(f32, 8, positions=50),
    rotary(f32, 8, positions=50, attributes={"interleaved": 1, "rotary_embedding_dim": 4}),
    rotary(f32, 8, attributes={"rotary_embedding_dim": 6}), rotary(f32, 8, flat=3),
    rotary(f32, 4, positions=9, flat=2, attributes={"interleaved": 0}),
    # What the dynamo exporter writes: one cache for all of the batch.
    rotary(f32, 8, cache=1, note="cache-of-batch-1"),
]


@over(NORMS)
def test_normalization(case, variant, reference_only):
    run_case(case, variant, reference_only)


@over(ROTARY)
def test_rotary(case, variant, reference_only):
    run_case(case, variant, reference_only)


def test_rotary_position_out_of_range(reference_only):
    from ssmtest import compiler, model, runtime

    if reference_only:
        pytest.skip("needs the compiler")
    arrays = [np.ones((1, 1, 2, 4), f32), np.ones((9, 2), f32), np.ones((9, 2), f32),
              np.array([[0, 8]])]
    proto, _ = model.single_node("RotaryEmbedding", arrays, [f32], opset=23, variant="dynamic")
    session = runtime.Module(compiler.compile_model(proto)).session()
    inputs = {f"in{i}": a for i, a in enumerate(arrays)}
    session.run(inputs)
    for wrong in (9, -10, 2**40):
        with pytest.raises(runtime.RuntimeFailure, match="the_RotaryEmbedding"):
            session.run({**inputs, "in3": np.array([[0, wrong]])})

# ===- references_sequence.py - Sequence operators in NumPy float64 --------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What the standard's text says of attention, linear attention, causal
convolution and rotary embedding, step by step and in double precision."""

import numpy as np


def at(arrays, index):
    return arrays[index] if len(arrays) > index else None


def split_heads(x, heads):
    """[B, S, H * d] -> [B, H, S, d]."""
    batch, length, width = x.shape
    return x.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)


def join_heads(x):
    """[B, H, S, d] -> [B, S, H * d]."""
    batch, heads, length, width = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, length, heads * width)


def linear_attention(arrays, attributes):
    """LinearAttention-27 -> [output, present_state]."""
    q, k, v = arrays[:3]
    state, decay, beta = at(arrays, 3), at(arrays, 4), at(arrays, 5)
    heads, kv_heads = attributes["q_num_heads"], attributes["kv_num_heads"]
    rule = attributes.get("update_rule", "gated_delta")
    batch, length, _ = q.shape
    q, k, v = split_heads(q, heads), split_heads(k, kv_heads), split_heads(v, kv_heads)
    dk, dv = k.shape[-1], v.shape[-1]
    scale = attributes.get("scale", 0.0) or 1 / np.sqrt(dk)
    state = np.zeros((batch, kv_heads, dk, dv)) if state is None else state.copy()
    out = np.zeros((batch, heads, length, dv))
    for t in range(length):
        if rule.startswith("gated"):
            per_head = decay.shape[-1] == kv_heads and dk != 1
            g = decay[:, t].reshape(batch, kv_heads, 1 if per_head else dk, 1)
            state = np.exp(g) * state
        kt, vt = k[:, :, t, :, None], v[:, :, t, None, :]
        if rule.endswith("delta"):
            b = np.broadcast_to(beta[:, t], (batch, kv_heads))[:, :, None, None]
            vt = b * (vt - np.swapaxes(kt, -1, -2) @ state)
        state = state + kt @ vt
        shared = np.repeat(state, heads // kv_heads, axis=1)
        out[:, :, t] = scale * (q[:, :, t, None, :] @ shared)[:, :, 0]
    return [join_heads(out), state]


def causal_conv_with_state(arrays, attributes):
    """CausalConvWithState-27 -> [output, present_state]."""
    x, weight, bias, past = arrays[0], arrays[1], at(arrays, 2), at(arrays, 3)
    batch, channels, length = x.shape
    width = weight.shape[-1]
    past = np.zeros((batch, channels, width - 1)) if past is None else past
    padded = np.concatenate([past, x], axis=2)
    out = np.zeros(x.shape)
    for tap in range(width):
        out += padded[:, :, tap:tap + length] * weight[:, 0, tap, None]
    if bias is not None:
        out += bias[:, None]
    if attributes.get("activation", "none") in ("silu", "swish"):
        out = out / (1 + np.exp(-out))
    return [out, padded[:, :, padded.shape[2] - (width - 1):]]


def mask_of(arrays, attributes, shape, past):
    """Addends of shape [B, H, Sq, total] -> (without, with causal and window
    parts): 0 or -inf, or what a float mask says."""
    batch, _, queries, total = shape
    bias = np.zeros(shape)
    mask = at(arrays, 3)
    if mask is not None:
        short = total - mask.shape[-1]
        if mask.dtype == np.bool_:
            mask = np.where(mask, 0.0, -np.inf)
        if short > 0:
            mask = np.concatenate([mask, np.full(mask.shape[:-1] + (short,), -np.inf)], -1)
        bias = bias + mask
    valid = at(arrays, 6)
    key = np.arange(total)
    offset = np.full(batch, past)
    if valid is not None:
        offset = valid - queries
        bias = np.where(key < valid[:, None, None, None], bias, -np.inf)
    position = offset[:, None] + np.arange(queries)
    distance = (position[:, :, None] - key)[:, None]
    left = attributes.get("left_window_size", -1)
    right = attributes.get("right_window_size", -1)
    if attributes.get("is_causal"):
        bias = np.where(distance >= 0, bias, -np.inf)
    if left >= 0:
        bias = np.where(distance <= left, bias, -np.inf)
    if right >= 0:
        bias = np.where(distance >= -right, bias, -np.inf)
    return bias


def attention(arrays, attributes):
    """Attention-23 to 25 -> [Y, present_key, present_value, qk_matmul_output]."""
    q, k, v = arrays[:3]
    flat = q.ndim == 3
    if flat:
        q = split_heads(q, attributes["q_num_heads"])
        k, v = (split_heads(x, attributes["kv_num_heads"]) for x in (k, v))
    past = 0
    if at(arrays, 4) is not None:
        past = arrays[4].shape[2]
        k, v = np.concatenate([arrays[4], k], 2), np.concatenate([arrays[5], v], 2)
    present_key, present_value = k, v
    groups = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, groups, axis=1), np.repeat(v, groups, axis=1)
    scale = attributes.get("scale", 1 / np.sqrt(q.shape[-1]))
    scores = scale * (q @ np.swapaxes(k, -1, -2))
    cap = attributes.get("softcap", 0.0)
    capped = cap * np.tanh(scores / cap) if cap else scores
    masked = capped + mask_of(arrays, attributes, scores.shape, past)
    largest = masked.max(axis=-1, keepdims=True, initial=-np.inf)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    weights = np.exp(masked - largest)
    total = weights.sum(axis=-1, keepdims=True)
    # A row without any key gives zeros.
    weights = weights / np.where(total > 0, total, 1.0)
    chosen = (scores, capped, masked, weights)[attributes.get("qk_matmul_output_mode", 0)]
    y = weights @ v
    return [join_heads(y) if flat else y, present_key, present_value, chosen]


def rotary_embedding(arrays, attributes):
    """RotaryEmbedding-23."""
    x, cos, sin, positions = arrays[0], arrays[1], arrays[2], at(arrays, 3)
    flat = x.ndim == 3
    if flat:
        x = split_heads(x, attributes["num_heads"])
    rotated = attributes.get("rotary_embedding_dim", 0) or x.shape[-1]
    if positions is not None:
        cos, sin = cos[positions], sin[positions]
    cos, sin = cos[:, None, :, :rotated // 2], sin[:, None, :, :rotated // 2]
    part, rest = x[..., :rotated], x[..., rotated:]
    if attributes.get("interleaved"):
        first, second = part[..., 0::2], part[..., 1::2]
        real, imaginary = cos * first - sin * second, sin * first + cos * second
        part = np.stack([real, imaginary], -1).reshape(part.shape)
    else:
        first, second = np.split(part, 2, axis=-1)
        part = np.concatenate([cos * first - sin * second, sin * first + cos * second], -1)
    out = np.concatenate([part, rest], -1)
    return [join_heads(out) if flat else out]


def rms_normalization(arrays, attributes):
    """RMSNormalization-23."""
    x, scale = arrays[:2]
    axis = attributes.get("axis", -1) % x.ndim
    axes = tuple(range(axis, x.ndim))
    mean = (x**2).mean(axis=axes, keepdims=True) if x.size else 0.0
    return [x / np.sqrt(mean + attributes.get("epsilon", 1e-5)) * scale]


def layer_normalization(arrays, attributes):
    """LayerNormalization-17 -> [Y, mean, 1 / deviation]."""
    x, scale, bias = arrays[0], arrays[1], at(arrays, 2)
    axis = attributes.get("axis", -1) % x.ndim
    axes = tuple(range(axis, x.ndim))
    mean = x.mean(axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(((x - mean)**2).mean(axis=axes, keepdims=True)
                          + attributes.get("epsilon", 1e-5))
    y = (x - mean) * inverse * scale
    return [y if bias is None else y + bias, mean, inverse]

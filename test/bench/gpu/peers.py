# ===- peers.py - The same in PyTorch --------------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What models.py describes, as PyTorch code of the usual kind: every function takes the
inputs by name and gives the outputs in the model's order. Recurrences over time are loops
of steps for Mamba-1, and the chunked matrix form for Mamba-2 (Dao and Gu 2024, section 6)."""

import torch
import torch.nn.functional as F

CHUNK = 256


def matmul(x, w):
    return F.linear(x, w),


def matmul_int8(x, w):
    return torch._int_mm(x, w.t()),


def matmul_fp8(x, w):
    one = torch.ones((), device=x.device)
    return torch._scaled_mm(x, w.t(), one, one, out_dtype=torch.bfloat16),


def elementwise(x):
    return F.silu(x),


def plane(x, weight, bias):
    group = x.shape[1] // weight.shape[1]
    return F.relu(F.conv2d(x, weight, bias, padding=1, groups=group)),


def conv(x, weight, bias):
    return F.silu(F.conv1d(x, weight, bias, padding=3, groups=x.shape[1])[..., :x.shape[2]]),


def selective_step(h, dt, u, b, c, a):
    """h [B, D, N]; dt, u [B, D]; b, c [B, N] -> h, y."""
    h = torch.exp(dt[..., None] * a) * h + (dt * u)[..., None] * b[:, None]
    return h, (h * c[:, None]).sum(-1)


def selective(state, u, dt, b, c, a, step):
    """Time at axis 1, all f32. `step`: selective_step or what it was compiled to."""
    ys = []
    for t in range(u.shape[1]):
        state, y = step(state, dt[:, t], u[:, t], b[:, t], c[:, t], a)
        ys.append(y)
    return state, torch.stack(ys, 1)


def scan(u, dt, z, b, c, a, skip, bias, state, step=selective_step):
    dt, u = F.softplus(dt.float() + bias), u.float()
    state, y = selective(state, u, dt, b.float(), c.float(), a, step)
    return ((y + u * skip) * F.silu(z.float())).bfloat16(), state


def segment_sums(x):
    """x [..., T] -> [..., T, T]: sums of x over (j, i], -inf above the diagonal."""
    sums = x.cumsum(-1)
    gaps = sums[..., :, None] - sums[..., None, :]
    below = torch.ones(gaps.shape[-2:], dtype=torch.bool, device=x.device).tril()
    return gaps.masked_fill(~below, -torch.inf)


def chunked(state, x, log_decay, b, c):
    """x [B, L, H, P] times its step, log_decay [B, L, H], b, c [B, L, N]; L is a multiple of
    the chunk -> state, y [B, L, H, P]."""
    batch, length, heads, width = x.shape
    q = min(CHUNK, length)
    x = x.reshape(batch, -1, q, heads, width)
    b, c = (v.reshape(batch, -1, q, v.shape[-1]) for v in (b, c))
    decay = log_decay.reshape(batch, -1, q, heads).permute(0, 3, 1, 2)
    sums = decay.cumsum(-1)
    scores = torch.einsum("bzln,bzsn->bzls", c, b)
    inside = torch.exp(segment_sums(decay)) * scores[:, None]
    y = torch.einsum("bhzls,bzshp->bzlhp", inside.to(x.dtype), x)
    to_end = torch.exp(sums[..., -1:] - sums)
    states = torch.einsum("bzln,bhzl,bzlhp->bzhpn", b, to_end.to(x.dtype), x).float()
    states = torch.cat([state[:, None], states], 1)
    whole = torch.exp(segment_sums(F.pad(sums[..., -1], (1, 0))))
    states = torch.einsum("bhzc,bchpn->bzhpn", whole, states)
    y = y + torch.einsum("bzln,bzhpn,bhzl->bzlhp", c, states[:, :-1].to(x.dtype),
                         torch.exp(sums).to(x.dtype))
    return states[:, -1], y.reshape(batch, length, heads, width)


def mamba2_step(state, x, dt, b, c, a):
    """x [B, H, P], dt [B, H], b, c [B, N], all f32."""
    decay = torch.exp(dt * a)[..., None, None]
    state = decay * state + (dt[..., None] * x)[..., None] * b[:, None, None]
    return state, (state * c[:, None, None]).sum(-1)


def update2(x, dt, b, c, a, skip, bias, state):
    x, dt = x[:, 0].float(), F.softplus(dt[:, 0].float() + bias)
    state, y = mamba2_step(state, x, dt, b[:, 0].float(), c[:, 0].float(), a)
    return (y + x * skip).bfloat16()[:, None], state


def delta(q, k, v, gate, beta, state):
    """q, k, v [B, 1, H, D], gate, beta [B, 1, H]."""
    q, k, v = (x[:, 0].float() for x in (q, k, v))
    state = torch.exp(gate[:, 0])[..., None, None] * state
    error = beta[:, 0, :, None] * (v - (state * k[..., None]).sum(-2))
    state = state + k[..., None] * error[..., None, :]
    return (state * q[..., None]).sum(-2).bfloat16()[:, None], state


def rms_norm(x, scale):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * scale


def convolve(x, past, weight, bias):
    padded = torch.cat([past, x.transpose(1, 2)], 2)
    y = F.silu(F.conv1d(padded, weight, bias, groups=x.shape[2])).transpose(1, 2)
    return y, padded[..., 1 - weight.shape[-1]:]


def layer1(hidden, in_proj, x_proj, dt_proj, out_proj, conv, conv_bias, past_conv, norm, dt_bias, a,
           skip, past_ssm, step=selective_step):
    x, z = F.linear(rms_norm(hidden, norm).bfloat16(), in_proj).chunk(2, -1)
    x, new_conv = convolve(x, past_conv, conv, conv_bias)
    states = a.shape[1]
    dt, b, c = F.linear(x, x_proj).split([dt_proj.shape[1], states, states], -1)
    dt = F.softplus(F.linear(dt, dt_proj).float() + dt_bias)
    u = x.float()
    new, y = selective(past_ssm, u, dt, b.float(), c.float(), a, step)
    y = ((y + u * skip) * F.silu(z.float())).bfloat16()
    return F.linear(y, out_proj) + hidden, new_conv, new


def layer2(hidden, in_proj, out_proj, conv, conv_bias, past_conv, norm, gate_norm, dt_bias, a, skip,
           past_ssm):
    _, heads, width, states = past_ssm.shape
    inner = heads * width
    z, x, dt = F.linear(rms_norm(hidden, norm).bfloat16(), in_proj).split(
        [inner, inner + 2 * states, heads], -1)
    x, new_conv = convolve(x, past_conv, conv, conv_bias)
    x, b, c = x.split([inner, states, states], -1)
    x, dt = x.unflatten(-1, (heads, width)), F.softplus(dt.float() + dt_bias)
    if x.shape[1] == 1:
        new, y = mamba2_step(past_ssm, x[:, 0].float(), dt[:, 0], b[:, 0].float(), c[:, 0].float(), a)
        y = y[:, None]
    else:
        new, y = chunked(past_ssm, (x * dt[..., None]).bfloat16(), dt * a, b, c)
    y = (y.float() + x.float() * skip).flatten(-2)
    y = rms_norm(y * F.silu(z.float()), gate_norm).bfloat16()
    return F.linear(y, out_proj) + hidden, new_conv, new

# ===- scan.py - The selective scan as a torch operator --------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""selective_scan(dt, u, b, c, a, h0) -> y, states

  h_t = exp(dt_t * a) * h_(t-1) + (dt_t * u_t) * b_t        y_t = sum_n h_t * c_t

dt, u, y [B, L, D]; b, c [B, L, N]; a [D, N]; h0 [B, D, N]; states [B, L + 1, D, N]
begins with h0. All are float32. No gradient flows through states or to h0.

On a GPU Triton kernels do it; elsewhere, and after use_loops(), loops of torch
operations, which are also what the kernels are checked against.
"""

import torch

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

# Channels of one program. It is one warp: each thread has BLOCK * N / 32 states.
BLOCK = 16
kernels_wanted = triton is not None


def use_loops():
    global kernels_wanted
    kernels_wanted = False


# ===----------------------------------------------------------------------===#
# Loops of torch operations
# ===----------------------------------------------------------------------===#


def loop_forward(dt, u, b, c, a, h0):
    h, states, ys = h0, [h0], []
    for t in range(dt.shape[1]):
        decay = torch.exp(dt[:, t, :, None] * a)
        h = decay * h + (dt[:, t] * u[:, t])[:, :, None] * b[:, t, None, :]
        ys.append((h * c[:, t, None, :]).sum(-1))
        states.append(h)
    return torch.stack(ys, 1), torch.stack(states, 1)


def loop_backward(dy, dt, u, b, c, a, states):
    ddt, du, db, dc = (torch.empty_like(x) for x in (dt, u, b, c))
    da, carry = torch.zeros_like(a), torch.zeros_like(states[:, 0])
    for t in reversed(range(dt.shape[1])):
        decay = torch.exp(dt[:, t, :, None] * a)
        dh = carry + dy[:, t, :, None] * c[:, t, None, :]
        carry = dh * decay
        dexponent = carry * states[:, t]
        ddrive = (dh * b[:, t, None, :]).sum(-1)
        dc[:, t] = (dy[:, t, :, None] * states[:, t + 1]).sum(1)
        db[:, t] = (dh * (dt[:, t] * u[:, t])[:, :, None]).sum(1)
        ddt[:, t] = (dexponent * a).sum(-1) + ddrive * u[:, t]
        du[:, t] = ddrive * dt[:, t]
        da += (dexponent * dt[:, t, :, None]).sum(0)
    return ddt, du, db, dc, da


# ===----------------------------------------------------------------------===#
# Kernels
# ===----------------------------------------------------------------------===#

if triton is not None:

    @triton.jit
    def forward_kernel(dt_ptr, u_ptr, b_ptr, c_ptr, a_ptr, y_ptr, states_ptr, length, width,
                       N: tl.constexpr, BLOCK: tl.constexpr):
        """states[:, 0] is h0 already."""
        batch = tl.program_id(0).to(tl.int64)
        d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        n = tl.arange(0, N)
        inside = d < width
        tile, tile_inside = d[:, None] * N + n[None, :], inside[:, None]
        dt_ptr += batch * length * width
        u_ptr += batch * length * width
        y_ptr += batch * length * width
        b_ptr += batch * length * N
        c_ptr += batch * length * N
        states_ptr += batch * (length + 1) * width * N
        a = tl.load(a_ptr + tile, mask=tile_inside, other=0.0)
        h = tl.load(states_ptr + tile, mask=tile_inside, other=0.0)
        for t in range(length):
            dt = tl.load(dt_ptr + t * width + d, mask=inside, other=0.0)
            u = tl.load(u_ptr + t * width + d, mask=inside, other=0.0)
            b = tl.load(b_ptr + t * N + n)
            c = tl.load(c_ptr + t * N + n)
            h = tl.exp(dt[:, None] * a) * h + (dt * u)[:, None] * b[None, :]
            tl.store(y_ptr + t * width + d, tl.sum(h * c[None, :], axis=1), mask=inside)
            states_ptr += width * N
            tl.store(states_ptr + tile, h, mask=tile_inside)

    @triton.jit
    def backward_kernel(dy_ptr, dt_ptr, u_ptr, b_ptr, c_ptr, a_ptr, states_ptr, ddt_ptr, du_ptr,
                        db_ptr, dc_ptr, da_ptr, length, width, blocks,
                        N: tl.constexpr, BLOCK: tl.constexpr):
        """db, dc [B, L, blocks, N] and da [B, D, N] are summed by the caller."""
        batch = tl.program_id(0).to(tl.int64)
        block = tl.program_id(1)
        d = block * BLOCK + tl.arange(0, BLOCK)
        n = tl.arange(0, N)
        inside = d < width
        tile, tile_inside = d[:, None] * N + n[None, :], inside[:, None]
        dy_ptr += batch * length * width
        dt_ptr += batch * length * width
        u_ptr += batch * length * width
        ddt_ptr += batch * length * width
        du_ptr += batch * length * width
        b_ptr += batch * length * N
        c_ptr += batch * length * N
        db_ptr += (batch * length * blocks + block) * N
        dc_ptr += (batch * length * blocks + block) * N
        states_ptr += (batch * (length + 1) + length) * width * N
        a = tl.load(a_ptr + tile, mask=tile_inside, other=0.0)
        h = tl.load(states_ptr + tile, mask=tile_inside, other=0.0)
        carry = tl.zeros([BLOCK, N], tl.float32)
        da = tl.zeros([BLOCK, N], tl.float32)
        for i in range(length):
            t = length - 1 - i
            states_ptr -= width * N
            before = tl.load(states_ptr + tile, mask=tile_inside, other=0.0)
            dy = tl.load(dy_ptr + t * width + d, mask=inside, other=0.0)
            dt = tl.load(dt_ptr + t * width + d, mask=inside, other=0.0)
            u = tl.load(u_ptr + t * width + d, mask=inside, other=0.0)
            b = tl.load(b_ptr + t * N + n)
            c = tl.load(c_ptr + t * N + n)
            dh = carry + dy[:, None] * c[None, :]
            carry = dh * tl.exp(dt[:, None] * a)
            dexponent = carry * before
            ddrive = tl.sum(dh * b[None, :], axis=1)
            tl.store(dc_ptr + t * blocks * N + n, tl.sum(dy[:, None] * h, axis=0))
            tl.store(db_ptr + t * blocks * N + n, tl.sum(dh * (dt * u)[:, None], axis=0))
            tl.store(ddt_ptr + t * width + d, tl.sum(dexponent * a, axis=1) + ddrive * u,
                     mask=inside)
            tl.store(du_ptr + t * width + d, ddrive * dt, mask=inside)
            da += dexponent * dt[:, None]
            h = before
        tl.store(da_ptr + batch * width * N + tile, da, mask=tile_inside)


def kernel_forward(dt, u, b, c, a, h0):
    batch, length, width = dt.shape
    n = a.shape[1]
    y = torch.empty_like(dt)
    states = dt.new_empty(batch, length + 1, width, n)
    states[:, 0] = h0
    forward_kernel[batch, triton.cdiv(width, BLOCK)](dt, u, b, c, a, y, states, length, width,
                                                     N=n, BLOCK=BLOCK, num_warps=1)
    return y, states


def kernel_backward(dy, dt, u, b, c, a, states):
    batch, length, width = dt.shape
    n, blocks = a.shape[1], triton.cdiv(width, BLOCK)
    ddt, du = torch.empty_like(dt), torch.empty_like(u)
    db, dc = (dt.new_empty(batch, length, blocks, n) for _ in range(2))
    da = dt.new_empty(batch, width, n)
    backward_kernel[batch, blocks](dy, dt, u, b, c, a, states, ddt, du, db, dc, da, length, width,
                                   blocks, N=n, BLOCK=BLOCK, num_warps=1)
    return ddt, du, db.sum(2), dc.sum(2), da.sum(0)


# ===----------------------------------------------------------------------===#
# The operator
# ===----------------------------------------------------------------------===#


@torch.library.custom_op("bible_lm::selective_scan", mutates_args=())
def selective_scan(dt: torch.Tensor, u: torch.Tensor, b: torch.Tensor, c: torch.Tensor,
                   a: torch.Tensor, h0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    implementation = kernel_forward if kernels_wanted and dt.is_cuda else loop_forward
    return implementation(*(x.contiguous() for x in (dt, u, b, c, a, h0)))


@selective_scan.register_fake
def _(dt, u, b, c, a, h0):
    return (dt.new_empty(dt.shape),
            dt.new_empty(dt.shape[0], dt.shape[1] + 1, dt.shape[2], a.shape[1]))


@torch.library.custom_op("bible_lm::selective_scan_backward", mutates_args=())
def selective_scan_backward(
    dy: torch.Tensor, dt: torch.Tensor, u: torch.Tensor, b: torch.Tensor, c: torch.Tensor,
    a: torch.Tensor, states: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    implementation = kernel_backward if kernels_wanted and dt.is_cuda else loop_backward
    return implementation(*(x.contiguous() for x in (dy, dt, u, b, c, a, states)))


@selective_scan_backward.register_fake
def _(dy, dt, u, b, c, a, states):
    return tuple(x.new_empty(x.shape) for x in (dt, u, b, c, a))


def _setup_context(ctx, inputs, output):
    dt, u, b, c, a, _ = inputs
    ctx.save_for_backward(dt, u, b, c, a, output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx, dy, _):
    return (*selective_scan_backward(dy, *ctx.saved_tensors), None)


selective_scan.register_autograd(_backward, setup_context=_setup_context)


# ===----------------------------------------------------------------------===#
# Checks
# ===----------------------------------------------------------------------===#


def random_inputs(batch, length, width, n, device, dtype=torch.float32):
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)
    dt = torch.nn.functional.softplus(normal(batch, length, width) - 1)
    a = -torch.exp(normal(width, n) / 2)
    return (dt, normal(batch, length, width), normal(batch, length, n), normal(batch, length, n),
            a, normal(batch, width, n))


def largest_error(got, want):
    return max(((g - w).abs().max() / w.abs().max()).item() for g, w in zip(got, want))


def check_loops():
    """The loop's own gradient against autograd's, in double precision."""
    inputs = random_inputs(2, 9, 5, 4, "cpu", torch.float64)
    dy = random_inputs(2, 9, 5, 4, "cpu", torch.float64)[1] + 0.5
    leaves = [x.requires_grad_() for x in inputs[:5]]
    y, states = loop_forward(*leaves, inputs[5])
    want = torch.autograd.grad(y, leaves, dy)
    with torch.no_grad():
        error = largest_error(loop_backward(dy, *leaves, states), want)
    assert error < 1e-12, f"gradient of the loop: error {error}"


def check_kernels(device):
    """The kernels against the loops in double precision -> largest relative error.
    Widths that fill the last block and that do not, lengths down to 1."""
    worst = 0.0
    for batch, length, width, n in [(2, 37, 64, 16), (3, 1, 40, 16), (1, 130, 7, 8)]:
        inputs = random_inputs(batch, length, width, n, device)
        dy = inputs[1].flip(0, 1).contiguous()
        wide = [x.double() for x in inputs]
        want_y, want_states = loop_forward(*wide)
        y, states = kernel_forward(*inputs)
        worst = max(worst, largest_error((y, states), (want_y, want_states)))
        want = loop_backward(dy.double(), *wide[:5], want_states)
        worst = max(worst, largest_error(kernel_backward(dy, *inputs[:5], states), want))
    return worst


def choose(device):
    """Checks what there is and falls back to the loops if the kernels fail ->
    which one is in use."""
    check_loops()
    if not kernels_wanted or torch.device(device).type != "cuda":
        use_loops()
        return "torch loops"
    try:
        error = check_kernels(device)
        if error < 1e-4:
            return f"Triton kernels, largest error against torch loops {error:.2g}"
        reason = f"error {error:.2g}"
    except Exception as failure:  # pylint: disable=broad-except
        # Whatever a compiler for another GPU throws: training can go on without.
        reason = f"{type(failure).__name__}: {failure}"
    use_loops()
    return f"torch loops, since the Triton kernels failed: {reason}"

"""Products of matrices on a GPU: values against float64, time beside torch.

`matmul.py build FOLDER [--compile PATH]` writes and compiles the models; where the GPU is,
`matmul.py run FOLDER [--run PATH] [--time]` runs them on sizes that are odd, 0, 1, aligned and not.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

# Name: element type, dims of A and B as stored, whether each is transposed, parts around the product.
MODELS = {
    "f16_nn_all": ("float16", ["M", "K"], ["K", "N"], False, False, {"bias", "silu", "residual"}),
    "bf16_nt_bias": ("bfloat16", ["B", "M", "K"], ["N", "K"], False, True, {"bias"}),
    "bf16_tt_batch": ("bfloat16", ["B", "K", "M"], ["B", "N", "K"], True, True, set()),
    "f16_tn_batch": ("float16", ["B", "K", "M"], ["B", "K", "N"], True, False, {"residual"}),
    "bf16_nt": ("bfloat16", ["M", "K"], ["N", "K"], False, True, set()),
    "f16_prologue": ("float16", ["M", "K"], ["K", "N"], False, False, {"prologue", "bias"}),
    "f32_tn_batch": ("float", ["B", "K", "M"], ["B", "K", "N"], True, False, set()),
    "f32_nt_all": ("float", ["M", "K"], ["N", "K"], False, True, {"bias", "silu", "residual"}),
    "f32_nn": ("float", ["M", "K"], ["K", "N"], False, False, set()),
    "i32_nn": ("int32", ["M", "K"], ["K", "N"], False, False, set()),
}
# B, M, N, K
SIZES = [
    (2, 1, 1, 1), (3, 7, 5, 3), (1, 64, 64, 32), (2, 65, 72, 40), (1, 127, 129, 131),
    (2, 130, 136, 1000), (2, 1, 4104, 520), (1, 300, 77, 0), (2, 0, 40, 16), (1, 5, 1000, 2056),
    (3, 1032, 1160, 264), (1, 1500, 1400, 97),
]
TIMED = [(1, 4096, 10496, 2560), (1, 4096, 10576, 2560), (1, 2048, 2048, 2048), (1, 1, 10576, 2560),
         (1, 16, 10576, 2560)]
BOUNDS = {"float16": 2e-3, "bfloat16": 1.2e-2, "float": 1e-5, "int32": 0}


def build(folder, compiler, target):
    import onnx
    from onnx import helper

    folder.mkdir(parents=True, exist_ok=True)
    for name, (dtype, a, b, turn_a, turn_b, parts) in MODELS.items():
        dt = getattr(onnx.TensorProto, dtype.upper())
        nodes, rank = [], len(a)

        def node(op, inputs, **attributes):
            out = f"v{len(nodes)}"
            nodes.append(helper.make_node(op, inputs, [out], **attributes))
            return out

        def swap(value, dims):
            order = list(range(len(dims)))
            order[-1], order[-2] = order[-2], order[-1]
            return node("Transpose", [value], perm=order)

        inputs = [("A", a), ("B", b)]
        left, right = "A", "B"
        if "prologue" in parts:
            inputs.append(("G", a))
            left = node("Mul", [node("Sigmoid", ["G"]), left])
        if turn_a:
            left = swap(left, a)
        if turn_b:
            right = swap(right, b)
        y = node("MatMul", [left, right])
        if "bias" in parts:
            inputs.append(("bias", ["N"]))
            y = node("Add", [y, "bias"])
        if "silu" in parts:
            y = node("Mul", [y, node("Sigmoid", [y])])
        out = ["B", "M", "N"] if rank == 3 else ["M", "N"]
        if "residual" in parts:
            inputs.append(("R", out))
            y = node("Add", [y, "R"])
        nodes.append(helper.make_node("Identity", [y], ["Y"]))
        graph = helper.make_graph(
            nodes, name, [helper.make_tensor_value_info(n, dt, dims) for n, dims in inputs],
            [helper.make_tensor_value_info("Y", dt, out)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        subprocess.run([compiler, str(path), f"--target={target}", "-o", str(path.with_suffix(".so"))],
                       check=True, stderr=subprocess.DEVNULL)


def make_inputs(torch, model, sizes):
    dtype, a, b, _, _, parts = model
    sizes = dict(zip("BMNK", sizes))
    kind = getattr(torch, dtype)
    def random(dims, scale=1.0):
        shape = [sizes[d] for d in dims]
        if dtype == "int32":
            return torch.randint(-1000, 1000, shape, dtype=kind)
        return (torch.randn(shape, dtype=torch.float64) * scale).to(kind)
    inputs = {"A": random(a), "B": random(b, max(sizes["K"], 1) ** -0.5)}
    if "prologue" in parts:
        inputs["G"] = random(a)
    if "bias" in parts:
        inputs["bias"] = random(["N"])
    if "residual" in parts:
        inputs["R"] = random((["B"] if len(a) == 3 else []) + ["M", "N"])
    return inputs


def reference(torch, model, inputs):
    dtype, _, _, turn_a, turn_b, parts = model
    wide = torch.int64 if dtype == "int32" else torch.float64
    x = {name: value.to(wide) for name, value in inputs.items()}
    a, b = x["A"], x["B"]
    if "prologue" in parts:
        half = inputs["A"].dtype
        gate = torch.sigmoid(x["G"]).to(half).double()
        a = (gate * a).to(half).double()
    a = a.transpose(-1, -2) if turn_a else a
    b = b.transpose(-1, -2) if turn_b else b
    y = a @ b
    if "bias" in parts:
        y = y + x["bias"]
    if "silu" in parts:
        y = y * torch.sigmoid(y)
    return y + x["R"] if "residual" in parts else y


def run(folder, runner, timed, device):
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(int.from_bytes(__import__("os").urandom(4), "little"))
    failed = passed = 0
    for name, model in MODELS.items():
        for sizes in SIZES:
            with tempfile.TemporaryDirectory() as scratch:
                source, result = f"{scratch}/in.safetensors", f"{scratch}/out.safetensors"
                inputs = make_inputs(torch, model, sizes)
                save_file(inputs, source)
                done = subprocess.run(
                    [runner, str(folder / f"{name}.so"), "--device", device, "--inputs", source,
                     "--outputs", result], capture_output=True, text=True)
                error = float("inf")
                if done.returncode == 0:
                    y = load_file(result)["Y"]
                    expected = reference(torch, model, inputs)
                    if model[0] == "int32":
                        expected = expected.to(torch.int32)
                    if y.shape == expected.shape:
                        gap = (y.double() - expected.double()).abs()
                        gap = gap / (1 + expected.double().abs())
                        error = gap.max().item() if gap.numel() else 0.0
                ok = error <= BOUNDS[model[0]]
                passed, failed = passed + ok, failed + (not ok)
                if not ok:
                    print(f"FAILED {name} {sizes}: error {error} {done.stderr.strip()[:300]}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    if timed:
        time_models(torch, folder, runner, device)
    return failed


def time_models(torch, folder, runner, device):
    for name in ["bf16_nt", "f16_nn_all", "f32_nn"]:
        model = MODELS[name]
        for sizes in TIMED:
            dims = [f"--dim={d}={s}" for d, s in zip("BMNK", sizes) if d in model[1] + model[2]]
            done = subprocess.run([runner, str(folder / f"{name}.so"), "--device", device,
                                   "--repeat", "30", *dims], capture_output=True, text=True)
            inputs = {k: v.cuda() for k, v in make_inputs(torch, model, sizes).items()}
            a = inputs["A"].transpose(-1, -2) if model[3] else inputs["A"]
            b = inputs["B"].transpose(-1, -2) if model[4] else inputs["B"]
            times = []
            for _ in range(30):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                a @ b
                end.record()
                torch.cuda.synchronize()
                times.append(start.elapsed_time(end))
            print(name, sizes, "torch.matmul alone, ms:", round(sorted(times)[15], 4), "| ours:",
                  (done.stdout + done.stderr).strip()[-200:].replace("\n", " "), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["build", "run"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--compile", default="build/bin/ssm-compile")
    parser.add_argument("--target", default="cuda:sm_90a")
    parser.add_argument("--run", default="build/bin/ssm-run")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--time", action="store_true")
    args = parser.parse_args()
    if args.what == "build":
        build(args.folder, args.compile, args.target)
    else:
        sys.exit(1 if run(args.folder, args.run, args.time, args.device) else 0)

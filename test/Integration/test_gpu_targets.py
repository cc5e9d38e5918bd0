# ===- test_gpu_targets.py - Versions for GPUs -------------------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""--target=cuda:CHIP on a machine without a GPU: what is compiled, told and refused. That
it computes what it should is for test/gpu, on a machine with one."""

import json
import platform
import os
import re
import shutil
import subprocess
import sys

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from ssmtest import build, compiler

sys.path.insert(0, str(build.MODELS))
import recurrences  # noqa: E402

MODEL = build.MODELS / "bible_lm" / "bible_lm.onnx"


def softmax():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "m"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "m"])
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"], axis=-1)], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def compile_to(tmp_path, *options, model=None, **extra):
    onnx.save(model or softmax(), tmp_path / "m.onnx")
    return compiler.run_compiler([tmp_path / "m.onnx", "-o", tmp_path / "m.so", *options], **extra)


def describe(module, *options):
    done = subprocess.run([str(build.tool("ssm-run")), str(module), "--describe", "--json", *options],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def find_ptxas():
    """As the compiler does, by what it does."""
    return shutil.which("ptxas") or os.path.exists("/usr/local/cuda/bin/ptxas") or \
        list((build.BUILD / "venv").glob("lib/python3*/site-packages/nvidia/*/bin/ptxas"))


needs_ptxas = pytest.mark.skipif(not find_ptxas(), reason="needs ptxas (nvidia-cuda-nvcc)")


@needs_ptxas
@pytest.mark.parametrize("chip", ["sm_75", "sm_80", "sm_90", "sm_90a", "sm_120"])
def test_machine_code(chip, tmp_path):
    done = compile_to(tmp_path, f"--target=cuda:{chip}", "--spill-budget=0")
    assert done.returncode == 0, done.stderr
    told = describe(tmp_path / "m.so", "--device", "none")
    kernels = told["device_kernels"]
    singles = ["_any_row"] if int(chip.strip("sm_a")) >= 90 else []
    assert [kernel["name"] for kernel in kernels] == [
        f"kernel_softmax{form}" for form in ("_warp", "_few", "_row", "_long", "_shifted_warp",
                                             "_shifted_row", *singles, "")]
    for kernel in kernels:
        assert kernel["chip"] == chip and kernel["spill_bytes"] == 0
        assert 8 < kernel["registers"] <= 255
        assert (kernel["shared_bytes"] >= 128) == (not kernel["name"].endswith("_warp"))


def find_nvdisasm():
    """On PATH, or in the wheel that set-up installs."""
    wheels = sorted((build.BUILD / "venv").glob("lib/python3*/site-packages/nvidia/*/bin/nvdisasm"))
    return shutil.which("nvdisasm") or (str(wheels[0]) if wheels else None)


def disassemble(module, folder):
    """The instructions of the machine code for GPUs in a module."""
    data, texts = module.read_bytes(), []
    at = data.find(b"\x7fELF", 1)
    while at >= 0:
        # e_machine of NVIDIA's GPUs.
        if data[at + 18:at + 20] == b"\xbe\x00":
            (folder / "kernels.cubin").write_bytes(data[at:])
            done = subprocess.run([find_nvdisasm(), "-c", str(folder / "kernels.cubin")],
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            texts.append(done.stdout)
        at = data.find(b"\x7fELF", at + 1)
    assert texts, "no machine code"
    return "\n".join(texts)


def elementwise():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["s"]),
                               helper.make_node("Mul", ["x", "s"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def selective(dtype, states=16, axes=1):
    return lambda: recurrences.selective(states).model(axes=axes, dtype=dtype)


SCANS = {"selective scan, bf16": selective(ml_dtypes.bfloat16),
         "selective scan, f32": selective(np.float32),
         "selective scan, 8 states": selective(np.float32, 8),
         "selective scan, 256 states": selective(np.float32, 256),
         "selective scan, channels first": selective(np.float16, 16, 2),
         "selective scan behind a window and ids":
             lambda: recurrences.segmented("ids").model(dtype=ml_dtypes.bfloat16)}


def product(turned=False):
    """With a bias and a gate, in bf16."""
    kind = TensorProto.BFLOAT16
    dims = {"a": ["m", "k"], "b": ["n", "k"] if turned else ["k", "n"], "bias": ["n"], "gate": ["m", "n"]}
    inputs = [helper.make_tensor_value_info(name, kind, size) for name, size in dims.items()]
    nodes = [helper.make_node("Transpose", ["b"], ["t"], perm=[1, 0])] if turned else []
    nodes += [helper.make_node("MatMul", ["a", "t" if turned else "b"], ["p"]),
              helper.make_node("Add", ["p", "bias"], ["q"]),
              helper.make_node("Sigmoid", ["gate"], ["s"]), helper.make_node("Mul", ["q", "s"], ["y"])]
    y = helper.make_tensor_value_info("y", kind, ["m", "n"])
    return helper.make_model(helper.make_graph(nodes, "g", inputs, [y]),
                             opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def single(op, dtype, inputs, output, **attributes):
    """A model of one node."""
    values = [helper.make_tensor_value_info(f"x{i}", dtype, dims) for i, dims in enumerate(inputs)]
    node = helper.make_node(op, [value.name for value in values], ["y"], **attributes)
    graph = helper.make_graph([node], "g", values, [helper.make_tensor_value_info("y", dtype, output)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def typed_product(kinds, to=None):
    """Factors of these types, rows of both along the depth; cast to a longer type where it is told."""
    op = "MatMul" if to else "MatMulInteger"
    a, b = (helper.make_tensor_value_info(name, kind, dims)
            for name, kind, dims in zip("ab", kinds, (["m", "k"], ["n", "k"])))
    nodes = [helper.make_node("Transpose", ["b"], ["t"], perm=[1, 0])]
    factors = ["a", "t"]
    if to:
        nodes = [helper.make_node("Cast", [x], [f"c{x}"], to=to) for x in "ab"] + nodes
        nodes[-1].input[0] = "cb"
        factors[0] = "ca"
    nodes.append(helper.make_node(op, factors, ["y"]))
    y = helper.make_tensor_value_info("y", to or TensorProto.INT32, ["m", "n"])
    return helper.make_model(helper.make_graph(nodes, "g", [a, b], [y]),
                             opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def byte_product():
    return typed_product((TensorProto.UINT8, TensorProto.INT8))


def float8_product():
    return typed_product((TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2), TensorProto.BFLOAT16)


def f32_product():
    return single("MatMul", TensorProto.FLOAT, [["m", "k"], ["k", "n"]], ["m", "n"])


FORMS = {
    "softmax": softmax, "elementwise": elementwise, "language model": lambda: onnx.load(MODEL),
    "norm": lambda: single("LayerNormalization", TensorProto.FLOAT, [["n", "m"], ["m"]], ["n", "m"]),
    "half norm": lambda: single("LayerNormalization", TensorProto.BFLOAT16, [["n", 4096], [4096]],
                                ["n", 4096]),
    "transpose": lambda: single("Transpose", TensorProto.FLOAT16, [["n", "m"]], ["m", "n"],
                                perm=[1, 0]),
    "sum": lambda: single("ReduceSum", TensorProto.FLOAT, [["n", "m"]], [], keepdims=0),
    "product": product, "turned product": lambda: product(turned=True),
    "plain product": lambda: single("MatMul", TensorProto.FLOAT16, [["n", "k"], ["k", "m"]], ["n", "m"]),
    **SCANS,
}
# What they move as a whole.
READS = {"softmax", "elementwise", "norm", "half norm", "transpose", "sum", "plain product", *SCANS}
WRITES = READS - {"sum"}


@needs_ptxas
@pytest.mark.skipif(not find_nvdisasm(), reason="needs nvdisasm (nvidia-cuda-nvdisasm)")
@pytest.mark.parametrize("chip", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("form", FORMS)
def test_instructions(form, chip, tmp_path):
    """No kernel keeps anything in local memory; whole rows move 128 bits at a time."""
    done = compile_to(tmp_path, f"--target=cuda:{chip}", model=FORMS[form]())
    assert done.returncode == 0, done.stderr
    code = disassemble(tmp_path / "m.so", tmp_path)
    assert "EXIT" in code
    assert not re.search(r"\b(LDL|STL)\b", code)
    if form in SCANS:
        kernels = [k["name"] for k in describe(tmp_path / "m.so", "--device", "none")
                   ["device_kernels"]]
        assert any(name.endswith("_staged") for name in kernels), kernels
        assert code.count("MUFU.EX2") > 8 and "BAR.SYNC" in code
        # Carries handed over: the flag is read and set past the first-level cache.
        assert re.search(r"\bLDG\.E\.STRONG\.GPU\b", code)
    if "product" in form and chip == "sm_80":
        assert re.search(r"\bHMMA\.16816\.F32(\.BF16)?\b", code) and "LDGSTS" in code
    if "product" in form and chip == "sm_90a":
        for kernel in re.split(r"^\.text\.", code, flags=re.M):
            if re.match(r"kernel_\w*_\d+x\d+:", kernel):
                assert "HGMMA.64x" in kernel and "UTMALDG.2D" in kernel
                # Waiting for all memory, in what is a loop as a whole.
                assert "MEMBAR" not in kernel
            if re.match(r"kernel_\w*_rows(_wide)?:", kernel) and "UTMALDG" in kernel:
                assert "HGMMA.64x" in kernel and "UCGABAR_WAIT" in kernel
        assert "_256x160:" in code and "_16_rows_wide:" in code
    assert form not in READS or re.search(r"\bLDG\.E\.128\b", code)
    assert form not in WRITES or re.search(r"\bSTG\.E\.128\b", code)


# Form, options, chip: instructions of tensor cores.
TENSOR_CORES = [
    (byte_product, [], "sm_80", r"\bIMMA\.16832\.U8\.S8\b"),
    (byte_product, [], "sm_90a", r"\bIGMMA\.64x256x32\.U8\.S8\b"),
    (float8_product, [], "sm_90a", r"\bQGMMA\.64x128x32\.F32\.E4M3\.E5M2\b"),
    (f32_product, [], "sm_90a", None),
    (f32_product, ["--f32-products=tf32"], "sm_80", r"\bHMMA\.1688\.F32\.TF32\b"),
    (f32_product, ["--f32-products=tf32x3"], "sm_90a", r"\bHMMA\.1688\.F32\.TF32\b"),
]


@needs_ptxas
@pytest.mark.skipif(not find_nvdisasm(), reason="needs nvdisasm (nvidia-cuda-nvdisasm)")
@pytest.mark.parametrize("form, options, chip, pattern", TENSOR_CORES,
                         ids=lambda x: getattr(x, "__name__", None))
def test_tensor_cores(form, options, chip, pattern, tmp_path):
    """Products of other types are theirs; f32 only where it is asked for."""
    done = compile_to(tmp_path, f"--target=cuda:{chip}", *options, model=form())
    assert done.returncode == 0, done.stderr
    code = disassemble(tmp_path / "m.so", tmp_path)
    assert not re.search(r"\b(LDL|STL)\b", code)
    assert re.search(pattern, code) if pattern else not re.search(r"\b[HIQ]G?MMA\b", code)
    assert describe(tmp_path / "m.so")["options"].count("--f32-products") == len(options)


@needs_ptxas
def test_several_targets(tmp_path):
    """The CPU's version still runs where there is no GPU."""
    done = compile_to(tmp_path, "--target=cpu,cuda:sm_80,cuda:sm_90a")
    assert done.returncode == 0, done.stderr
    assert "--target=cpu,cuda:sm_80,cuda:sm_90a" in describe(tmp_path / "m.so")["options"]
    run = subprocess.run([str(build.tool("ssm-run")), str(tmp_path / "m.so"), "--dim", "n=3", "--dim",
                          "m=5", "--output-dir", str(tmp_path)], capture_output=True, text=True,
                         check=False)
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy").sum(-1), 1, rtol=1e-6)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86 processors")
@pytest.mark.parametrize("options, cpu", [([], "x86-64-v2"), (["--cpu=v3"], "x86-64-v3")])
def test_host_code_for_any_processor(options, cpu, tmp_path):
    """Where kernels compute, the machine needs no more than a 64-bit processor, or what was asked."""
    done = compile_to(tmp_path, "--target=cuda:sm_80", *options)
    assert done.returncode == 0, done.stderr
    told = describe(tmp_path / "m.so", "--device", "none")
    assert told["cpu"] == cpu
    assert ("avx2" in told["features"]) == (cpu == "x86-64-v3")


def test_tensor_maps_are_parameters(tmp_path):
    done = compile_to(tmp_path, "--target=cuda:sm_90a", "--emit=ptx", "-o", tmp_path / "m.ptx",
                      model=product())
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "m.ptx").read_text()
    kernel = text[text.index(".entry kernel_matmul_128x256"):]
    assert len(re.findall(r"\.param \.align 64 \.b8 \w+\[128\]", kernel[:kernel.index("{")])) == 2


def images(module, chip):
    """What a module has, as a GPU tells that can run none of it."""
    done = subprocess.run(
        [build.tool("ssm-run"), str(module), "--device", "cuda", "--describe"], check=False,
        capture_output=True, text=True,
        env=os.environ | {"SSMRT_CUDA_DRIVER": str(build.BUILD / "lib" / "libFakeCuda.so"),
                          "SSM_FAKE_CUDA_CHIP": chip})
    told = re.search("has kernels for (.*), and none that", done.stderr)
    assert done.returncode and told, done.stderr
    return told[1]


@needs_ptxas
def test_ptx_rides_along(tmp_path):
    """That of the lowest chip whose code later ones run."""
    for targets, expected in (
            ("cuda:sm_80", "sm_80 (cubin), sm_80 (PTX)"), ("cuda:sm_90a", "sm_90a (cubin)"),
            ("cuda:sm_90a,cuda:sm_89,cuda:sm_80",
             "sm_90a (cubin), sm_89 (cubin), sm_80 (cubin), sm_80 (PTX)")):
        done = compile_to(tmp_path, f"--target={targets}")
        assert done.returncode == 0, done.stderr
        assert images(tmp_path / "m.so", "sm_75") == expected


@needs_ptxas
@pytest.mark.parametrize("chip", ["sm_88", "sm_110", "sm_110a", "sm_121", "sm_121a"])
def test_chips_of_cuda_13(chip, tmp_path):
    """Those that CUDA 13.0's ptxas knows, and PTX of theirs."""
    done = compile_to(tmp_path, f"--target=cuda:{chip}", "--spill-budget=0")
    assert done.returncode == 0, done.stderr
    pieces = [f"{chip} (cubin)"] + [f"{chip} (PTX)"] * (not chip.endswith("a"))
    assert images(tmp_path / "m.so", "sm_75") == ", ".join(pieces)


@needs_ptxas
def test_broken_ptxas_is_passed_over(tmp_path):
    """One on PATH that ends with an error, or is no program: the next one is taken."""
    folders = [tmp_path / "broken", tmp_path / "text", tmp_path / "closed"]
    for folder, text in zip(folders, ("#!/bin/sh\nexit 3\n", "no program", "#!/bin/sh\nexit 0\n")):
        folder.mkdir()
        (folder / "ptxas").write_text(text)
        (folder / "ptxas").chmod(0o644 if folder.name == "closed" else 0o755)
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    done = compile_to(tmp_path, "--target=cuda:sm_80", "--spill-budget=0",
                      env=os.environ | {"PATH": path})
    assert done.returncode == 0, done.stderr
    assert describe(tmp_path / "m.so", "--device", "none")["device_kernels"][0]["registers"] > 8
    # Where it is the one asked for, it is named.
    broken = folders[0] / "ptxas"
    done = compile_to(tmp_path, "--target=cuda:sm_80", f"--ptxas={broken}")
    assert done.returncode == 1 and f"'{broken}' failed" in done.stderr, done.stderr


def test_machine_without_ptxas(tmp_path):
    """A compiler with none beside it, on PATH or elsewhere."""
    if os.path.exists("/usr/local/cuda/bin/ptxas"):
        pytest.skip("there is one where CUDA is installed")
    compiler = tmp_path / "bin" / "ssm-compile"
    compiler.parent.mkdir()
    shutil.copy(build.tool("ssm-compile"), compiler)
    onnx.save(softmax(), tmp_path / "m.onnx")
    env = {name: value for name, value in os.environ.items()
           if name not in ("CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV")}
    env["PATH"] = "/usr/lib/llvm-22/bin:/usr/bin:/bin"

    def run(*options):
        return subprocess.run([str(compiler), str(tmp_path / "m.onnx"), "--target=cuda:sm_80",
                               *options, "-o", str(tmp_path / "m.so")], env=env,
                              capture_output=True, text=True, check=False)
    done = run()
    assert done.returncode == 0 and "warning: ptxas was not found" in done.stderr, done.stderr
    assert images(tmp_path / "m.so", "sm_75") == "sm_80 (PTX)"
    done = run("--spill-budget=0")
    assert done.returncode == 1 and "--spill-budget needs ptxas" in done.stderr, done.stderr
    # None but one that does not run.
    broken = compiler.with_name("ptxas")
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    env["PATH"] += f":{broken.parent}"
    done = run()
    assert done.returncode == 1 and f"'{broken}' does not run: it ended with status 3" in done.stderr


def test_ptx_as_text(tmp_path):
    """It tells its chip and entry."""
    done = compile_to(tmp_path, "--target=cuda:sm_80", "--emit=ptx", "-o", tmp_path / "m.ptx")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "m.ptx").read_text()
    assert ".target sm_80" in text and ".entry kernel_softmax(" in text
    assert "__nv_" not in text  # nothing of NVIDIA's library
    done = compile_to(tmp_path, "--target=cuda:sm_80", "--ptxas=/nowhere/ptxas")
    assert done.returncode == 1 and "cannot find '/nowhere/ptxas' given by --ptxas" in done.stderr


@pytest.mark.parametrize("options, words", [
    (["--target=cuda:sm_12"], "unknown GPU 'sm_12', expected one of sm_75, sm_80,"),
    (["--target=cuda:"], "unknown GPU ''"),
    (["--target=cuda:sm_80,cuda:sm_80"], "'cuda:sm_80' is given twice"),
    (["--target=cpu,cpu"], "expected one target of CPUs"),
    (["--target=cpu,,cuda:sm_80"], "--target: "),
    (["--target=cpu,cuda:sm_80", "--emit=vector"], "expected one --cpu and one --target"),
    (["--target=cpu", "--emit=ptx"], "--emit=ptx needs a GPU"),
    (["--spill-budget=x"], "--spill-budget x: expected a number of bytes"),
    (["--spill-budget="], "--spill-budget : expected a number of bytes"),
    (["--f32-products=fast"], "--f32-products=fast: expected one of ieee, tf32x3, tf32"),
])
def test_refused(options, words, tmp_path):
    done = compile_to(tmp_path, *options)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert not (tmp_path / "m.so").exists()


@needs_ptxas
def test_language_model(tmp_path):
    """Every kernel of a model on the oldest chip and on the best, without a spill; its ids are
    checked by the device, so nothing is waited for."""
    for chip in ("sm_75", "sm_90a"):
        module = tmp_path / f"{chip}.so"
        done = compiler.run_compiler([MODEL, f"--target=cuda:{chip}", "--remarks=placement", "-o",
                                      module, "--spill-budget=0"])
        assert done.returncode == 0, done.stderr
        assert "waits for the device" not in done.stderr
        kernels = describe(module, "--device", "none")["device_kernels"]
        # What a block can have: CUDA's programming guide, technical specifications.
        limit = {"sm_75": 64, "sm_90a": 227}[chip] * 1024
        assert all(kernel["shared_bytes"] <= limit for kernel in kernels)
        names = {kernel["name"] for kernel in kernels}
        assert "kernel_gather" in names and any(name.startswith("kernel_scan") for name in names)
        # The kernel that reads by the ids checks them.
        assert not any(name.startswith("check_") for name in names)


def test_needed_numbers_are_remarked(tmp_path):
    """A size that data tells costs a wait, and a remark says where."""
    x = helper.make_tensor_value_info("x", TensorProto.INT64, [])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, ["k"])
    nodes = [helper.make_node("Constant", [], ["zero"], value_int=0),
             helper.make_node("Constant", [], ["one"], value_int=1),
             helper.make_node("Range", ["zero", "x", "one"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]),
                              opset_imports=[helper.make_opsetid("", 21)])
    done = compile_to(tmp_path, "--target=cuda:sm_80", "--remarks=placement", model=model)
    assert done.returncode == 0, done.stderr
    assert "the host waits for the device" in done.stderr


def test_remark_of_a_size_input(tmp_path):
    """One that is an input costs no wait where it lies on the host."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["M", "N"]),
              helper.make_tensor_value_info("k", TensorProto.INT64, [1])]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["M", "K"])
    node = helper.make_node("TopK", ["x", "k"], ["y", ""], name="best")
    model = helper.make_model(helper.make_graph([node], "g", inputs, [out]),
                              opset_imports=[helper.make_opsetid("", 21)])
    done = compile_to(tmp_path, "--target=cuda:sm_80", "--remarks=placement", model=model)
    assert done.returncode == 0, done.stderr
    assert "node 'best'" in done.stderr and "unless input 'k' lies on the host" in done.stderr

# ===- typeseg.py - The trained model of the PyPI package typeseg ---------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Fetches typeseg's bidirectional Mamba and speaks its alphabet.

The model takes `ids` [T] int64 in 0..129 and gives `logits` [T, 35]: for every
byte of a text, which of 35 kinds of content it belongs to. The package
(Apache-2.0) is downloaded, never installed or run.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

VERSION = "0.2.7"
MODEL = "typeseg/data/mamba_al.onnx"
MANIFEST = "typeseg/data/manifest.json"
# The id of every byte that the model was not trained to tell apart.
OTHER_BYTE = 128


def fetch(folder):
    """Downloads the wheel into `folder` unless it is there, and unpacks model
    and manifest. Returns their paths, or raises OSError saying why not."""
    folder = Path(folder)
    model, manifest = folder / Path(MODEL).name, folder / Path(MANIFEST).name
    if model.exists() and manifest.exists():
        return model, manifest
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check",
               "--no-input", "--no-deps", "--only-binary", ":all:", "--retries", "1",
               "--timeout", "30", "--dest", str(folder), f"typeseg=={VERSION}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    wheels = sorted(folder.glob(f"typeseg-{VERSION}-*.whl"))
    if done.returncode != 0 or not wheels:
        lines = done.stdout.strip().splitlines() or ["no output"]
        raise OSError(f"pip download typeseg=={VERSION} failed: {lines[-1]}")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            # The model last: its presence stands for both.
            for name, path in ((MANIFEST, manifest), (MODEL, model)):
                part = path.with_suffix(".part")
                part.write_bytes(wheel.read(name))
                part.rename(path)
    except (zipfile.BadZipFile, KeyError) as error:
        wheels[0].unlink()
        raise OSError(f"{wheels[0].name} is damaged ({error}); deleted it") from error
    return model, manifest


def labels(manifest):
    """The names of the 35 classes, in the order of the logits."""
    return json.loads(Path(manifest).read_text(encoding="utf-8"))["labels"]


def encode(text):
    """str -> ids [bytes of its UTF-8] int64. Printable ASCII, tab, line feed and
    carriage return keep their code; all else shares one id."""
    codes = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int64)
    known = ((codes >= 0x20) & (codes < 0x7F)) | np.isin(codes, (0x09, 0x0A, 0x0D))
    return np.where(known, codes, OTHER_BYTE)


def runs(text, logits, shortest=3):
    """(text, logits [T, C]) -> list of (text of the run, class, mean
    probability). Neighbours of equal class are one run; white space, and runs
    of fewer than `shortest` bytes, belong to what stands before them."""
    data = text.encode("utf-8")
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances = shifted / shifted.sum(axis=1, keepdims=True)
    classes = chances.argmax(axis=1)
    for at in range(1, len(data)):
        # A continuation byte of UTF-8 belongs to the character it continues.
        if data[at : at + 1].isspace() or data[at] & 0xC0 == 0x80:
            classes[at] = classes[at - 1]
    starts = [at for at in range(len(data)) if at == 0 or classes[at] != classes[at - 1]]
    for start, end in zip(starts[1:], starts[2:] + [len(data)]):
        if end - start < shortest:
            classes[start:end] = classes[start - 1]
    found, start = [], 0
    for at in range(1, len(data) + 1):
        if at == len(data) or classes[at] != classes[start]:
            part = data[start:at].decode("utf-8", "replace")
            found.append((part, int(classes[start]),
                          float(chances[start:at, classes[start]].mean())))
            start = at
    return found

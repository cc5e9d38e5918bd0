# ===- fetch_text.py - The King James Bible as plain text ------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Takes the text out of Debian's packages bible-kjv-text, which holds it in a
compressed form, and bible-kjv, whose program reads that form. Neither is
installed. One verse a line without its reference, an empty line between chapters.

Writes TEXT (4.1 MB) and HELD_OUT, its last whole verses that fit in 64 KiB.

usage: fetch_text.py TEXT HELD_OUT
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HELD_OUT_BYTES = 64 * 1024
# The text that the committed model was trained on: version 4.38 of the packages.
SHA256 = "6b40e3f13a6cf83937165995b4868d7eb1f429d0c96ddb8574bea5544101a914"


def print_verses():
    """The program's output: a verse a line, after its reference."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "bible-kjv", "bible-kjv-text"], cwd=folder,
                       check=True)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, folder], check=True)
        command = [f"{folder}/usr/bin/bible", "-p", f"{folder}/usr/lib", "-f", "gen1:1-rev22:21"]
        return subprocess.run(command, check=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE).stdout.decode("ascii")


def strip_references(verses):
    lines, last = [], None
    for line in verses.splitlines():
        chapter, verse = re.fullmatch(r"(\w+):\d+ (.*)", line).groups()
        if last not in (None, chapter):
            lines.append("")
        lines.append(verse.strip())
        last = chapter
    return "\n".join(lines) + "\n"


def main(text_path, held_out_path):
    text = strip_references(print_verses()).encode()
    found = hashlib.sha256(text).hexdigest()
    if found != SHA256:
        sys.exit(f"fetch_text.py: the text's SHA-256 is {found}, expected {SHA256}")
    start = text.index(b"\n", len(text) - HELD_OUT_BYTES - 1) + 1
    Path(text_path).write_bytes(text)
    Path(held_out_path).write_bytes(text[start:])
    print(f"{len(text)} bytes, {len(text) - start} of them held out")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

# ===- tokenizer.py - Reads a tokenizer.json for ssm-run -------------------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The package `tokenizers` as a process that ssm-run asks: a line of JSON comes by
stdin, one goes by stdout. This text is part of ssm-run, which runs it by `python3 -c`.

    (start, argument: FILE)            {"size": 300, "ends": [2]}
    {"encode": "a b", "begins": true}  {"ids": [1, 263, 264]}
    {"add": 17}                        {"text": " é"}
    {"finish": true}                   {"text": "\\ufffd"}

An answer with "error" instead tells what is wrong.
"""

import json
import os
import signal
import sys

# Modules are not to come from wherever the user happens to be.
if sys.path and sys.path[0] == "":
    del sys.path[0]

# What models end their text with, where no file beside tokenizer.json tells.
END_NAMES = ["<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "<end_of_turn>",
             "</s>", "<eos>", "[EOS]"]


class Failure(Exception):
    """Its text is the message."""


def read_json(path):
    """The object in a file, {} if there is no such file."""
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, ValueError) as error:
        raise Failure(f"cannot read '{path}': {error}") from error
    if not isinstance(value, dict):
        raise Failure(f"cannot read '{path}': expected an object")
    return value


def end_ids(tokenizer, folder):
    """Ids that end a text, as the files of a Hugging Face export tell."""
    ends = set()
    for name in ["generation_config.json", "config.json"]:
        given = read_json(os.path.join(folder, name)).get("eos_token_id")
        ends.update(given if isinstance(given, list) else [given])
    token = read_json(os.path.join(folder, "tokenizer_config.json")).get("eos_token")
    if isinstance(token, dict):
        token = token.get("content")
    if isinstance(token, str):
        ends.add(tokenizer.token_to_id(token))
    ends = {end for end in ends if isinstance(end, int)}
    if not ends:
        special = {token.content: number
                   for number, token in tokenizer.get_added_tokens_decoder().items()
                   if token.special}
        ends = {special[name] for name in END_NAMES if name in special}
    return sorted(ends)


class Server:
    """Answers requests about one tokenizer.json."""

    def __init__(self, path):
        try:
            import tokenizers
            from tokenizers.decoders import DecodeStream
        except ImportError as error:
            raise Failure(f"'{sys.executable}' lacks the package tokenizers (0.21 or newer), which "
                          f"reads '{path}' (pip install tokenizers): {error}; another Python: "
                          "--python or SSM_PYTHON") from error
        self.make_stream = DecodeStream
        try:
            self.tokenizer = tokenizers.Tokenizer.from_file(path)
        except Exception as error:  # the package raises nothing more special
            raise Failure(f"cannot read '{path}': {error}") from error
        self.encode("", False)

    def describe(self, path):
        vocabulary = self.tokenizer.get_vocab(with_added_tokens=True)
        return {"size": max(vocabulary.values(), default=-1) + 1,
                "ends": end_ids(self.tokenizer, os.path.dirname(path))}

    def encode(self, text, begins):
        # What is written goes on from the prompt: its first space is none to be dropped.
        self.given = self.tokenizer.encode(text, add_special_tokens=begins).ids
        self.written = []
        self.pending = 0  # ids at the end of `written` whose text is held back
        self.stream = self.make_stream(ids=self.given, skip_special_tokens=True)
        return {"ids": self.given}

    def rest(self):
        """The text of what is held back."""
        if not self.pending:
            return ""
        done = self.given + self.written[:-self.pending]
        before = self.tokenizer.decode(done)
        whole = self.tokenizer.decode(self.given + self.written)
        if whole.startswith(before):
            return whole[len(before):]
        # Bytes that are no character spoil those before them, which are written already.
        return self.tokenizer.decode(self.written[-self.pending:])

    def add(self, number):
        if self.tokenizer.id_to_token(number) is None:
            raise Failure(f"the model wrote the id {number}, which tokenizer.json lacks")
        self.written.append(number)
        self.pending += 1
        try:
            text = self.stream.step(self.tokenizer, number)
        except Exception:  # see rest()
            text = self.rest()
            self.stream = self.make_stream(ids=self.written[-self.pending:],
                                           skip_special_tokens=True)
        if text is None:
            return {"text": ""}
        self.pending = 0
        return {"text": text}

    def finish(self):
        return {"text": self.rest()}

    def answer(self, request):
        if "encode" in request:
            return self.encode(request["encode"], request["begins"])
        if "add" in request:
            return self.add(request["add"])
        return self.finish()


def main():
    # Ctrl-C is for ssm-run, whose end is seen at stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(value):
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()
    try:
        path = sys.argv[1]
        server = Server(path)
        tell(server.describe(path))
        for line in sys.stdin:
            tell(server.answer(json.loads(line)))
    except Failure as failure:
        tell({"error": " ".join(str(failure).split())})


main()

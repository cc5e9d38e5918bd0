# ===- shard.py - One of several processes that share out the tests ---------===#
#
# Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A pytest plugin of test/gpu/check. SSM_TEST_SHARD=INDEX/COUNT:LOG: runs the tests of that
share which LOG does not tell of yet, and adds a line to LOG when each begins and when it
ends. After a fault of the device the process ends: nothing runs in it any more, and
whoever started it starts it again."""

import json
import os
import time
import zlib

SHARE, LOG = os.environ["SSM_TEST_SHARD"].split(":", 1)
INDEX, COUNT = map(int, SHARE.split("/"))
FAULT = "device failed: "
FAULT_EXIT = 3

reports = {}


def read_log(path):
    """-> ({id: its last line}, id of the test that began and did not end)."""
    known, open_id = {}, None
    if os.path.exists(path):
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                entry = json.loads(line)
                known[entry["id"]] = entry
                open_id = entry["id"] if entry["outcome"] == "began" else None
    return known, open_id


def tell(**entry):
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(json.dumps(entry) + "\n")


def pytest_collection_modifyitems(items):
    mine = [item for item in items if zlib.crc32(item.nodeid.encode()) % COUNT == INDEX]
    with open(LOG + ".share", "w", encoding="utf-8") as share:
        share.write(str(len(mine)))
    known, _ = read_log(LOG)
    items[:] = [item for item in mine if item.nodeid not in known]


def pytest_runtest_logstart(nodeid):
    reports[nodeid] = []
    tell(id=nodeid, outcome="began", at=time.time())


def pytest_runtest_logreport(report):
    reports[report.nodeid].append(report)


def pytest_runtest_logfinish(nodeid):
    parts = reports.pop(nodeid)
    seconds = round(sum(part.duration for part in parts), 3)
    for outcome in ("failed", "skipped"):
        for part in parts:
            if part.outcome != outcome:
                continue
            text = part.longrepr[2] if isinstance(part.longrepr, tuple) else \
                getattr(getattr(part.longrepr, "reprcrash", None), "message", str(part.longrepr))
            tell(id=nodeid, outcome=outcome, reason=text, seconds=seconds)
            if outcome == "failed" and FAULT in text:
                os._exit(FAULT_EXIT)
            return
    tell(id=nodeid, outcome="passed", seconds=seconds)

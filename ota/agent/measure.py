"""Start the benchmark under the runtime's own interpreter, pass its progress on and return what it measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from typing import Any, Dict, Tuple

from . import blobs, facts
from .dialogue import Dialogue, RefusedError, Request

_START = "import sys; sys.path.insert(0, sys.argv[1]); from agent.bench import main; main(sys.argv[2])"


def bench(dialogue: Dialogue, root: str, agent_path: str, request: Request) -> Tuple[Dict[str, Any], bytes]:
    """Measure candidates that are here on a dataset that is here; return the records and the raw outputs, one after the other."""
    known = {one["id"]: one for one in facts.runtimes(root)}
    if request["runtime"] not in known:
        raise RefusedError("no_runtime", "runtime %s is not installed here" % request["runtime"])
    runtime = known[request["runtime"]]
    folder = tempfile.mkdtemp(prefix="bench-", dir=root)
    try:
        plan = dict(
            request,
            package=runtime["package"],
            dataset=_here(root, "datasets", request["dataset"]),
            networks=[_here(root, "candidates", digest) for digest in request["candidates"]],
            folder=folder,
        )
        with open(os.path.join(folder, "plan.json"), "w", encoding="utf-8") as file:
            json.dump(plan, file)
        _follow(dialogue, agent_path, runtime["python"], folder)
        with open(os.path.join(folder, "records.json"), encoding="utf-8") as file:
            records = json.load(file)
        return {"records": records}, b"".join(
            _outputs(folder, index, record) for index, record in enumerate(records)
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _follow(dialogue: Dialogue, agent_path: str, python: str, folder: str) -> None:
    """Run the benchmark, each line of its stdout being an event, and see that it ended well."""
    said = os.path.join(folder, "stderr")
    with open(said, "wb") as errors:
        process = subprocess.Popen(
            [python, "-I", "-c", _START, agent_path, folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                try:
                    dialogue.event(**json.loads(line.decode("utf-8")))
                except (ValueError, TypeError):
                    continue
        code = process.wait()
    if code:
        with open(said, encoding="utf-8", errors="replace") as file:
            said_lines = file.read()[-4000:].strip().splitlines()
        raise RefusedError(
            "bench",
            "the benchmark ended with %d: %s" % (code, said_lines[-1] if said_lines else "it said nothing"),
        )


def _outputs(folder: str, index: int, record: Dict[str, Any]) -> bytes:
    if "reason" in record:
        return b""
    with open(os.path.join(folder, "%d.outputs" % index), "rb") as file:
        return file.read()


def _here(root: str, kind: str, digest: str) -> str:
    path = blobs.path_of(root, kind, digest)
    if not os.path.isfile(path):
        raise RefusedError("missing", "%s/%s is not on the device" % (kind, digest))
    return path

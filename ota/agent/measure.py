"""Blocks and examinations: the benchmark processes of this device, one for each runtime, kept while the dialogue lasts.

Invariants: one benchmark at a time on this machine, whatever root it works in; a benchmark process that dies costs the turn it was at and is started again.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from typing import Any, Dict, List, Optional, Tuple

from . import blobs, conditions, facts, files
from .dialogue import Dialogue, RefusedError, Request

_START = "import sys; sys.path.insert(0, sys.argv[1]); from agent.bench import main; main(sys.argv[2], sys.argv[3])"
_READY_S = 120.0
_SPARE_S = 30.0
_BUSY_S = 60.0
_LOCK_FOLDERS = ("/run/lock", "/tmp")  # noqa: S108 - every user of this machine must find it

Answer = Tuple[Dict[str, Any], bytes]


class Benchmarks:
    """The benchmark processes; `close` ends them."""

    def __init__(self, root: str, agent_path: str) -> None:
        self._root = root
        self._agent_path = agent_path
        self._dataset = ""
        self._servers: Dict[str, _Server] = {}
        self._folder = ""

    def block(self, dialogue: Dialogue, request: Request) -> Answer:
        """Carry out the turns of a block in their order; return the records with the conditions around them, and the kept outputs."""
        self._begin(request["dataset"])
        common = {
            "job": "turn",
            "warmup": int(request["warmup"]),
            "warmup_s": float(request["warmup_s"]),
        }
        with _Alone():
            _cool(dialogue, float(request["cool_to_c"]), float(request["cool_s"]))
            for turn in request["turns"]:
                self._server(turn["runtime"])
            before, around = conditions.now(), conditions.Surroundings(self._pids())
            records: List[Dict[str, Any]] = []
            outputs: List[bytes] = []
            for done, turn in enumerate(request["turns"], 1):
                record = self._ask(dict(turn, **common), turn, float(request["turn_timeout_s"]))
                outputs.append(self._outputs(record))
                records.append(record)
                dialogue.event(event="progress", done=done, total=len(request["turns"]))
            watch = dict(around.since(self._pids()), before=before, after=conditions.now())
        return {"turns": records, "watch": watch}, b"".join(outputs)

    def examine(self, request: Request) -> Answer:
        """Run each pair of candidate and runtime once, for its memory and for what the fast path takes."""
        self._begin(request["dataset"])
        with _Alone():
            records = [
                self._ask(dict(pair, job="examine"), pair, float(request["turn_timeout_s"]))
                for pair in request["pairs"]
            ]
        return {"pairs": records}, b""

    def close(self) -> None:
        """End the processes and remove what they left."""
        for server in self._servers.values():
            server.close()
        self._servers = {}
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    def _begin(self, dataset: str) -> None:
        """See that the processes have loaded this dataset."""
        if dataset != self._dataset:
            self.close()
            self._dataset = dataset
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="bench-", dir=self._root)

    def _pids(self) -> List[int]:
        return [os.getpid(), *(server.pid for server in self._servers.values())]

    def _server(self, runtime: str) -> _Server:
        server = self._servers.get(runtime)
        if server is None or not server.alive():
            known = {one["id"]: one for one in facts.runtimes(self._root)}
            if runtime not in known:
                raise RefusedError("no_runtime", "runtime %s is not installed here" % runtime)
            dataset = _here(self._root, "datasets", self._dataset)
            server = _Server(known[runtime], self._agent_path, dataset, os.path.join(self._folder, runtime))
            self._servers[runtime] = server
        return server

    def _ask(self, job: Dict[str, Any], turn: Request, timeout_s: float) -> Dict[str, Any]:
        """Have the runtime's process do a job; a process that is lost meanwhile is an answer too."""
        job["network"] = _here(self._root, "candidates", turn["candidate"])
        job["timeout_s"] = timeout_s
        job["outputs"] = os.path.join(self._folder, "outputs")
        job["said"] = os.path.join(self._folder, "said")
        files.remove(job["outputs"])
        return self._server(turn["runtime"]).ask(job, timeout_s + _SPARE_S)

    def _outputs(self, record: Dict[str, Any]) -> bytes:
        if "reason" in record or not record["output_shape"][0]:
            return b""
        with open(os.path.join(self._folder, "outputs"), "rb") as file:
            return file.read()


class _Server:
    """A benchmark process under one runtime."""

    def __init__(self, runtime: Dict[str, Any], agent_path: str, dataset: str, said: str) -> None:
        self._said = said
        self._rest = b""
        with open(said, "wb") as errors:
            self._process = subprocess.Popen(
                [runtime["python"], "-I", "-c", _START, agent_path, runtime["package"], dataset],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
            )
        self.pid = self._process.pid
        answer = self._line(time.monotonic() + _READY_S)
        if answer is None:
            reason = self._last_words()
            self.close()
            raise RefusedError("bench", "the benchmark does not start: %s" % reason)

    def alive(self) -> bool:
        """Say whether the process is there."""
        return self._process.poll() is None

    def ask(self, job: Dict[str, Any], timeout_s: float) -> Dict[str, Any]:
        """Send a job and return its answer, {kind, reason} where the process is lost over it."""
        answer = None
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(job).encode("utf-8") + b"\n")
            answer = self._line(time.monotonic() + timeout_s)
        except OSError:
            pass
        if answer is None:
            reason = "the benchmark process was lost: %s" % self._last_words()
            self.close()
            return {"kind": "run", "reason": reason[:1000]}
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self, deadline: float) -> Optional[Dict[str, Any]]:
        """Return the next line of the process as JSON; None where it ends, says nonsense or the time is up."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                return None
            chunk = os.read(pipe, 1 << 16)
            if not chunk:
                return None
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            answer = json.loads(line.decode("utf-8"))
        except ValueError:
            return None
        return answer if isinstance(answer, dict) else None

    def _last_words(self) -> str:
        with open(self._said, encoding="utf-8", errors="replace") as file:
            lines = file.read()[-4000:].strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class _Alone:
    """No other benchmark on this machine while this lasts; where no lock can be had at all, none is held."""

    def __init__(self) -> None:
        self._handle: Optional[int] = None

    def __enter__(self) -> None:
        self._handle = _lock_file()
        until = time.monotonic() + _BUSY_S
        while self._handle is not None:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > until:
                    os.close(self._handle)
                    raise RefusedError(
                        "busy", "another benchmark has been running on this machine for a minute"
                    ) from None
                time.sleep(0.1)
            else:
                return

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            os.close(self._handle)


def _lock_file() -> Optional[int]:
    """Open the one lock file of this machine; a link in its place is not followed, and another user's file serves as well."""
    for folder in _LOCK_FOLDERS:
        path = os.path.join(folder, "ota-bench.lock")
        for flags in (os.O_RDONLY | os.O_CREAT, os.O_RDONLY):
            try:
                return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            except OSError:
                continue
    return None


def _cool(dialogue: Dialogue, to_c: float, seconds: float) -> None:
    """Wait until the board is no hotter than `to_c`, at most so long; a board that does not tell is not waited for."""
    until = time.monotonic() + seconds
    degrees = conditions.temperature()
    while degrees is not None and degrees > to_c and time.monotonic() < until:
        dialogue.event(event="cooling", temperature_c=degrees)
        time.sleep(2.0)
        degrees = conditions.temperature()


def _here(root: str, kind: str, digest: str) -> str:
    path = blobs.path_of(root, kind, digest)
    if not os.path.isfile(path):
        raise RefusedError("missing", "%s/%s is not on the device" % (kind, digest))
    return path

"""Blocks and examinations: the benchmark processes of this device, one for each runtime, kept while the dialogue lasts.

Invariants: one benchmark at a time on this machine, whatever root it works in; a benchmark process that dies costs the turn it was at and is started again; a
runtime that does not start costs its own turns. `tick` is called now and then: what it raises, as where the controller has gone, ends the work. The temporary folder of the benchmark processes is no part of the release store: nothing there need survive.
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from . import blobs, conditions, facts, releases
from .dialogue import RefusedError, Request
from .machine import alone
from .server import NotStartedError, Server, Tick

_COOL_LOOK_S = 2.0

Answer = Tuple[Dict[str, Any], bytes]


class Benchmarks:
    """The benchmark processes; `close` ends them."""

    def __init__(self, root: str, agent_path: str) -> None:
        self._root = root
        self._agent_path = agent_path
        self._dataset = ""
        self._shared: Optional[int] = None
        self._servers: Dict[str, Server] = {}
        self._unfit: Dict[str, str] = {}
        self._folder = ""

    def block(self, tell: Callable[..., None], request: Request, tick: Tick) -> Answer:
        """Carry out the turns of a block in their order; return the records with the conditions around them, and times and kept outputs.

        `tell` is told events.
        """
        turns = request["turns"]
        self._begin(request["dataset"])
        _cool(tell, float(request["cool_to_c"]), float(request["cool_s"]), tick)
        with alone(tick):
            self._start([turn["runtime"] for turn in turns], tick)
            before, around = conditions.now(), conditions.Surroundings(self._pids())
            records: List[Dict[str, Any]] = []
            bodies: List[bytes] = []
            for done, turn in enumerate(turns, 1):
                record = self._ask(_job("turn", turn, request), turn, tick)
                bodies.append(self._body(record))
                records.append(record)
                tell(event="progress", done=done, total=len(turns))
            watch = dict(around.since(self._pids()), before=before, after=conditions.now())
        return {"turns": records, "watch": watch}, b"".join(bodies)

    def examine(self, request: Request, tick: Tick) -> Answer:
        """Run each pair of candidate and runtime once, for its memory and for what the fast path takes."""
        pairs = request["pairs"]
        self._begin(request["dataset"])
        with alone(tick):
            self._start([pair["runtime"] for pair in pairs], tick)
            records = [self._ask(_job("examine", pair, request), pair, tick) for pair in pairs]
        return {"pairs": records}, b""

    def close(self) -> None:
        """End the processes and remove what they left."""
        for server in self._servers.values():
            server.close()
        self._servers = {}
        if self._shared is not None:
            os.close(self._shared)
            self._shared = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    def _begin(self, dataset: str) -> None:
        """See that the processes have loaded this dataset; what an interrupted dialogue left goes, for we are alone in this root."""
        if dataset != self._dataset:
            self.close()
            self._dataset = dataset
            self._shared = _memory()
        if not self._folder:
            sweep(self._root)
            self._folder = tempfile.mkdtemp(prefix="bench-", dir=self._root)

    def _start(self, runtimes: Sequence[str], tick: Tick) -> None:
        """Start what is not there, before anything is timed; RefusedError where not one of the runtimes comes up."""
        self._unfit = {}
        for runtime in runtimes:
            self._server(runtime, tick)
        if runtimes and set(runtimes) == set(self._unfit):
            raise RefusedError("bench", "the benchmark does not start: %s" % self._unfit[runtimes[0]])

    def _pids(self) -> List[int]:
        return [os.getpid(), *(server.pid for server in self._servers.values())]

    def _server(self, runtime: str, tick: Tick) -> Optional[Server]:
        """Return the runtime's process, started where there is none; None, and the reason noted, where it does not come up."""
        server = self._servers.get(runtime)
        if runtime in self._unfit or (server is not None and server.alive()):
            return server
        if server is not None:
            self._servers.pop(runtime).close()
        known = {one["id"]: one for one in facts.runtimes(self._root)}
        if runtime not in known:
            raise RefusedError("no_runtime", "runtime %s is not installed here" % runtime)
        dataset = _here(self._root, "datasets", self._dataset)
        said = os.path.join(self._folder, runtime)
        try:
            self._servers[runtime] = Server(
                known[runtime], self._agent_path, (dataset, self._shared), said, tick
            )
        except NotStartedError as error:
            self._unfit[runtime] = str(error)
            return None
        return self._servers[runtime]

    def _ask(self, job: Dict[str, Any], turn: Request, tick: Tick) -> Dict[str, Any]:
        """Have the runtime's process do a job; a process that is lost meanwhile or does not come up is an answer too."""
        job["network"] = _network(self._root, turn["candidate"])
        job["body"] = os.path.join(self._folder, "body")
        job["said"] = os.path.join(self._folder, "said")
        server = self._server(turn["runtime"], tick)
        if server is None:
            reason = "the runtime does not start: %s" % self._unfit[turn["runtime"]]
            return {"kind": "load", "reason": reason[:1000]}
        return server.ask(job, tick)

    def _body(self, record: Dict[str, Any]) -> bytes:
        if "reason" in record:
            return b""
        with open(os.path.join(self._folder, "body"), "rb") as file:
            return file.read()


def sweep(root: str) -> None:
    """Remove what the benchmark processes of an interrupted dialogue left; only for whom is alone in this root."""
    for left in glob.glob(os.path.join(glob.escape(root), "bench-*")):
        shutil.rmtree(left, ignore_errors=True)


def _job(name: str, asked: Request, request: Request) -> Dict[str, Any]:
    job = dict(asked, job=name, timeout_s=float(request["turn_timeout_s"]))
    if name == "turn":
        job.update(warmup=int(request["warmup"]), warmup_s=float(request["warmup_s"]))
    return job


def _cool(tell: Callable[..., None], to_c: float, seconds: float, tick: Tick) -> None:
    """Wait until the board is no hotter than `to_c`, at most so long; a board that does not tell is not waited for."""
    until = time.monotonic() + seconds
    degrees = conditions.temperature()
    while degrees is not None and degrees > to_c and time.monotonic() < until:
        tell(event="cooling", temperature_c=degrees)
        tick()
        time.sleep(_COOL_LOOK_S)
        degrees = conditions.temperature()


def _memory() -> Optional[int]:
    """Return a file in memory alone; None where the interpreter or the kernel has none."""
    try:
        return os.memfd_create("samples") if hasattr(os, "memfd_create") else None
    except OSError:
        return None


def _network(root: str, digest: str) -> str:
    return releases.model_file(root, digest) or _here(root, "candidates", digest)


def _here(root: str, kind: str, digest: str) -> str:
    path = blobs.path_of(root, kind, digest)
    if not os.path.isfile(path):
        raise RefusedError("missing", "%s/%s is not on the device" % (kind, digest))
    return path

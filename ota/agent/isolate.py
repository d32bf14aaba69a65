"""Do one thing in a process of its own: fork, hear what it tells, and know how it ended whatever it did."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from typing import Any, Callable, Dict, List, Sequence, Tuple

SAID_LIMIT = 4000

Tell = Callable[[Dict[str, Any]], None]
Job = Callable[[Tell], Dict[str, Any]]


def run(job: Job, timeout_s: float, said_path: str, ends: Sequence[int] = ()) -> Dict[str, Any]:
    """Carry out `job` in a forked process; return its answer, or {kind, reason} where it failed, crashed or took too long.

    The job tells {"phase": "load" or "run"} before each step that may crash; what it prints goes to the file `said_path`. `ends` are our own pipes, which the job
    does not hold open; when the first, from which nothing comes while a job runs, becomes readable, who asked has gone.

    Raises:
        EOFError: who asked has gone; the job was ended.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        for end in (ours, *ends):
            os.close(end)
        _be_the_child(job, theirs, said_path)
    os.close(theirs)
    timed_out = True
    try:
        answers, timed_out = _read_lines(ours, time.monotonic() + timeout_s, list(ends[:1]))
    finally:
        os.close(ours)
        if timed_out:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    return _outcome(answers, timed_out, status, timeout_s, _tail(said_path))


def _be_the_child(job: Job, pipe: int, said_path: str) -> None:
    """Never returns: what goes wrong here is told through the pipe or by how this process ends."""
    code = 1
    try:
        said = os.open(said_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(said, 1)
        os.dup2(said, 2)
        _go_first()

        def tell(fields: Any) -> None:
            data = json.dumps(fields).encode("utf-8") + b"\n"
            while data:
                data = data[os.write(pipe, data) :]

        try:
            tell(job(tell))
            code = 0
        except MemoryError:
            tell({"reason": "the device is out of memory"})
        except Exception as error:  # noqa: BLE001 - the runtimes raise anything
            tell({"reason": "%s" % error or type(error).__name__})
    finally:
        os._exit(code)


def _go_first() -> None:
    """Where memory runs out the kernel ends this process, not the application of the device nor the one that measures."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass


def _read_lines(pipe: int, deadline: float, asker: List[int]) -> Tuple[List[Dict[str, Any]], bool]:
    """Return (the JSON lines up to the end of the pipe, whether the time was up)."""
    pieces: List[bytes] = []
    while True:
        left = deadline - time.monotonic()
        ready = select.select([pipe, *asker], [], [], left)[0] if left > 0 else []
        if not ready:
            return _parsed(b"".join(pieces)), True
        if pipe not in ready:
            raise EOFError
        chunk = os.read(pipe, 1 << 16)
        if not chunk:
            return _parsed(b"".join(pieces)), False
        pieces.append(chunk)


def _parsed(content: bytes) -> List[Dict[str, Any]]:
    return [json.loads(line.decode("utf-8")) for line in content.split(b"\n")[:-1]]


def _outcome(
    answers: List[Dict[str, Any]], timed_out: bool, status: int, timeout_s: float, said: str
) -> Dict[str, Any]:
    kind = next((answer["phase"] for answer in reversed(answers) if "phase" in answer), "load")
    doing = "loading" if kind == "load" else "running"
    last = answers[-1] if answers else {"phase": kind}
    if timed_out:
        return {"kind": kind, "reason": "no answer after %g s while %s" % (timeout_s, doing)}
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return {"kind": kind, "reason": _with("killed by %s while %s%s" % (name, doing, hint), said)}
    if "reason" in last:
        return {"kind": kind, "reason": _with(last["reason"], said)}
    if "phase" in last:
        return {"kind": kind, "reason": _with("ended without an answer while %s" % doing, said)}
    return last


def _with(reason: str, said: str) -> str:
    """Put the runtime's own last complaint behind a reason that does not hold it already."""
    reason = " ".join(reason.split())
    complaints = [line for line in said.splitlines() if "ERROR" in line.upper()]
    if complaints and complaints[-1].split("ERROR:")[-1].strip() not in reason:
        reason += "; " + complaints[-1].strip()
    return reason[:1000]


def _tail(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()[-SAID_LIMIT:]
    except OSError:
        return ""

"""A benchmark process as the agent sees it: started under a runtime's interpreter, asked for one job after another, ended with all that it forked."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

_START = "import sys; sys.path.insert(0, sys.argv[1]); from agent.bench import main; main(*sys.argv[2:])"
_READY_S = 600.0
_SPARE_S = 30.0
_TICK_S = 0.5

Tick = Callable[[], None]


class NotStartedError(Exception):
    """The process does not come up; the message is its own last words."""


class Server:
    """A benchmark process under one runtime.

    `dataset` is its file and, where there is some, the memory that keeps the samples for all processes; `said` is the file that takes what it prints, `tick` is
    called now and then while it works.
    """

    def __init__(
        self,
        runtime: Dict[str, Any],
        agent_path: str,
        dataset: Tuple[str, Optional[int]],
        said: str,
        tick: Tick,
    ) -> None:
        self._said = said
        self._rest = b""
        path, shared = dataset
        inherited = [] if shared is None else [shared]
        memory = "" if shared is None else str(shared)
        argv = [runtime["python"], "-I", "-c", _START, agent_path, runtime["package"], path, memory]
        self._process = _started(argv, said, inherited)
        self.pid = self._process.pid
        if self._line(time.monotonic() + _READY_S, tick) is None:
            self.close()
            raise NotStartedError(self._last_words())

    def alive(self) -> bool:
        """Say whether the process is there."""
        return self._process.poll() is None

    def ask(self, job: Dict[str, Any], tick: Tick) -> Dict[str, Any]:
        """Have a job done within its `timeout_s` and return the answer, {kind, reason} where the process is lost over it."""
        answer = None
        if self._send(json.dumps(job).encode("utf-8") + b"\n"):
            answer = self._line(time.monotonic() + job["timeout_s"] + _SPARE_S, tick)
        if answer is None:
            self.close()
            reason = "the benchmark process was lost: %s" % self._last_words()
            return {"kind": "run", "reason": reason[:1000]}
        return answer

    def close(self) -> None:
        """End the process and what it has forked; once it was seen to have ended by itself, its number may be another's."""
        if self._process.returncode is None:
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _send(self, line: bytes) -> bool:
        """Write to the process; the agent, which a controller that goes may end by this signal, must not end with its process."""
        assert self._process.stdin is not None
        before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        try:
            self._process.stdin.write(line)
        except OSError:
            return False
        finally:
            signal.signal(signal.SIGPIPE, before)
        return True

    def _line(self, deadline: float, tick: Tick) -> Optional[Dict[str, Any]]:
        """Return the next line of the process as JSON; None where it ends, says nonsense or the time is up."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if not select.select([pipe], [], [], min(left, _TICK_S))[0]:
                tick()
                continue
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
        if lines:
            return lines[-1]
        code = self._process.returncode or 0
        return "killed by signal %d" % -code if code < 0 else "it said nothing"


def _started(argv: List[str], said: str, inherited: Sequence[int]) -> "subprocess.Popen[bytes]":
    """Start a process that leads a group of its own, so that nothing it forks outlives it."""
    with open(said, "wb") as errors:
        try:
            return subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,
                pass_fds=inherited,
            )
        except OSError as error:
            raise NotStartedError("%s: %s" % (argv[0], error.strerror or error)) from error

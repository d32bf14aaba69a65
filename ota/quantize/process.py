"""The controller's end of a child process that makes files: started, asked, read from, ended; the tools are never loaded here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

_START = "import sys; sys.path[:] = {path!r}; from {module} import main; main()"
_TAIL = 4096
_MAX_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a child runs: the module whose `main` serves, and what it is called in a message."""

    module: str
    called: str


CONVERTER = Program(module="ota.quantize.converter_child", called="the converter")
QUANTIZER = Program(module="ota.quantize.quantizer_child", called="the quantizer")


class ChildProcess:
    """One child process; `scheme` is what it is making now, None while it is idle.

    `job` is the first thing it is told: what to load.

    It runs in a session of its own, so that Ctrl-C reaches the controller alone, and ends when its stdin closes.
    """

    def __init__(self, program: Program, job: Mapping[str, Any]) -> None:
        self._called = program.called
        self.scheme: str | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._rest = b""
        self._stopped = ""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path, module=program.module)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            start_new_session=True,
        )
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("IO[bytes]", self._process.stdout)
        self._send(job)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def fileno(self) -> int:
        """The descriptor that becomes readable when the child answers or dies."""
        return self._stdout.fileno()

    def ask(self, scheme: str, request: dict[str, Any]) -> None:
        """Have the child make the file of `scheme`."""
        self.scheme = scheme
        self._send({"scheme": scheme, **request})

    def answers(self) -> list[dict[str, str]] | None:
        """Return the complete answers that are there, None once the child is gone; call when `fileno` is readable."""
        chunk = os.read(self.fileno(), 1 << 16)
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def why_gone(self) -> str:
        """Return in one line how the child ended."""
        code = self._process.wait()
        if self._stopped:
            return self._stopped
        if code == -signal.SIGKILL:
            return f"{self._called} was killed: this machine may be short of memory"
        if code < 0:
            return f"{self._called} crashed with {signal.Signals(-code).name}"
        return f"{self._called} ended with exit code {code}: {self._last_words()}"[:_MAX_REASON]

    def stop(self, reason: str) -> None:
        """End the child and remember why; whoever reads its answers hears of it."""
        self._stopped = reason
        os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the child, whatever it is doing, and free what it held; a second call does nothing."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._stdin.close()
        self._stdout.close()
        self._log.close()

    def _send(self, fields: Mapping[str, Any]) -> None:
        """Write one line; a child that is gone is noticed by who reads its answers."""
        try:
            self._stdin.write(json.dumps(dict(fields)).encode() + b"\n")
        except BrokenPipeError:
            return

    def _last_words(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _TAIL))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "it said nothing"

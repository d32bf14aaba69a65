"""A Dask scheduler and workers as processes of this machine, over TLS, each worker in a folder of its own and, where asked for, in a network namespace of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ota.lab.sshd import free_port

ROOT = Path(__file__).parent.parent
_START_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """A scheduler at `address`; `options` are what `ota` needs to reach it. A worker runs in `folder`/NAME."""

    folder: Path
    address: str
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `ota deploy` that reach these sites."""
        return (
            *("--executor", "dask", "--scheduler", self.address),
            *("--tls-ca", str(self.cert), "--tls-cert", str(self.cert), "--tls-key", str(self.key)),
        )

    @property
    def cert(self) -> Path:
        """The one certificate of all, which is its own authority."""
        return self.folder / "cert.pem"

    @property
    def key(self) -> Path:
        """Its private key."""
        return self.folder / "key.pem"

    def log(self, name: str) -> str:
        """Return what a worker wrote."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def start(
        self,
        name: str,
        *,
        site: str = "",
        inside: Sequence[str] = (),
        threads: int = 8,
        code: Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a worker and wait until it is registered; `inside` are the words that enter its namespace, `code` is where its `ota` lies.

        It serves the site of its own name, and `site` by offering a resource of that name.
        """
        here = self.folder / name
        here.mkdir(exist_ok=True)
        offered = ("--resources", f"{site}=1") if site else ()
        words = ["worker", self.address, "--name", name, "--nthreads", str(threads), "--no-nanny", "--no-dashboard", "--local-directory", str(here / "dask"), *offered, *self._tls()]  # fmt: skip
        self.workers[name] = _start(
            [*inside, sys.executable, "-m", "dask", *words],
            self.folder / f"{name}.log",
            here,
            {"PYTHONPATH": str(code), **(environment or {})},
        )
        self._wait(name, "Registered to")

    def kill(self, name: str) -> None:
        """Kill a worker at once."""
        process = self.workers.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def _tls(self) -> tuple[str, ...]:
        return (*("--tls-ca-file", str(self.cert), "--tls-cert", str(self.cert), "--tls-key", str(self.key)),)

    def _wait(self, name: str, words: str) -> None:
        until = time.monotonic() + _START_S
        while words not in self.log(name):
            if time.monotonic() > until or self.workers[name].poll() is not None:
                raise RuntimeError(f"{name} does not start: {self.log(name)[-3000:]}")
            time.sleep(0.05)


@contextmanager
def sites(
    folder: Path, host: str = "127.0.0.1", environment: Mapping[str, str] | None = None
) -> Iterator[Sites]:
    """Start a scheduler, with these variables too; it and all workers are ended afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    there = Sites(folder=folder, address=f"tls://{host}:{free_port()}")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=ota",
         "-keyout", str(there.key), "-out", str(there.cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    words = ["scheduler", "--host", host, "--port", there.address.rpartition(":")[2], "--protocol", "tls", "--no-dashboard", *there._tls()]  # noqa: SLF001  # fmt: skip
    there.workers["scheduler"] = _start(
        [sys.executable, "-m", "dask", *words], folder / "scheduler.log", folder, environment or {}
    )
    try:
        there._wait("scheduler", "Scheduler at:")  # noqa: SLF001
        yield there
    finally:
        for process in there.workers.values():
            process.kill()
            process.wait()


def _start(
    argv: list[str], log: Path, folder: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(folder), **environment},
        )

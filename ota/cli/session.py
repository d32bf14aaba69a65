"""One command's session with the devices: the hosts it is about, the ways to them, and the end of all of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import click

from ota.cli.console import Watcher
from ota.cli.options import Target
from ota.core.connection import Connection, connection_of, password_of
from ota.core.facts import Facts, Runtime
from ota.core.inventory import Host
from ota.errors import ExitCode, HostError, OtaError, UnreachableError
from ota.remote.connections import Connections
from ota.remote.device import Device
from ota.remote.executor import ThreadExecutor

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

PASSWORD_VARIABLE = "OTA_SSH_PASSWORD"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a command that talks to devices works with."""

    target: Target
    watcher: Watcher
    connections: Connections
    executor: ThreadExecutor

    def connector(
        self, model: str, *, keep_agent: bool = True
    ) -> Callable[[Host], AbstractContextManager[Device]]:
        """Return a function that opens a device as one that runs `model`; without `keep_agent` no file is left there."""
        return opener(self.connections, model, keep_agent=keep_agent, trace=self.watcher.trace)


def opener(
    connections: Connections,
    model: str,
    *,
    keep_agent: bool,
    trace: Callable[[str, str], None] = lambda _host, _text: None,
) -> Callable[[Host], Device]:
    """Return a function that opens a device as one that runs `model`; without `keep_agent` no file is left there. `trace` is told what is said, by host."""

    def connect(host: Host) -> Device:
        connection = connection_of(host)
        return Device.open(
            host,
            connections.open(host),
            model=model,
            root=connection.ota_root,
            python=connection.python_interpreter,
            keep_agent=keep_agent,
            trace=lambda text: trace(host.name, text),
        )

    return connect


@contextmanager
def session(target: Target, *, quiet: bool, close_on_cancel: bool = True) -> Iterator[Session]:
    """Open a session; everything is closed at its end, and at once on Ctrl-C where `close_on_cancel`."""
    passwords = Passwords(ask=target.ask_pass)
    connections = Connections(passwords.of)
    on_cancel = connections.close if close_on_cancel else lambda: None
    try:
        with Watcher(quiet=quiet, verbose=target.verbose) as watcher:
            yield Session(
                target=target, watcher=watcher, connections=connections, executor=ThreadExecutor(on_cancel)
            )
    finally:
        connections.close()


class Passwords:
    """Passwords at the moment when they are needed; one that was typed serves every host of this command and is kept nowhere else."""

    def __init__(self, *, ask: bool) -> None:
        self._lock = Lock()
        self._typed = self._prompt("SSH password") if ask else None

    def of(self, host: Host, connection: Connection) -> str | None:
        """Return the password of a host, None where keys alone are meant."""
        if self._typed is not None:
            return self._typed
        source = connection.password_source or ""
        if source.startswith("env:"):
            return os.environ.get(source.removeprefix("env:"))
        if source == "prompt":
            with self._lock:
                return self._prompt(f"SSH password of {host.name}")
        return password_of(host) or os.environ.get(PASSWORD_VARIABLE)

    @staticmethod
    def _prompt(text: str) -> str:
        return str(click.prompt(text, hide_input=True, err=True))


def runtimes_for(host: Host, facts: Facts) -> tuple[Runtime, ...]:
    """Return the runtimes that were proven on a device, in order of preference; HostError says to provision it."""
    from ota.core.runtime import installed_runtimes

    runtimes = installed_runtimes(facts, connection_of(host).ota_runtime)
    if not runtimes:
        raise HostError(
            "no runtime is installed for this board",
            where=host.name,
            hint=f"ota provision --limit {host.name}",
        )
    return runtimes


def runtime_for(host: Host, facts: Facts, label: str | None) -> Runtime:
    """Return the runtime called `label`, None: the preferred one; HostError where it is not on the device."""
    if label is None:
        return runtimes_for(host, facts)[0]
    suffix = f"-cp{facts.python[0]}{facts.python[1]}"
    found = [runtime for runtime in facts.runtimes if runtime.label == label]
    if found:
        # One that was made by a Python that the device had before is the last resort.
        return next((runtime for runtime in found if runtime.id.endswith(suffix)), found[0])
    there = ", ".join(runtime.label for runtime in facts.runtimes) or "none"
    raise HostError(
        f"the release was measured under {label}, which is not installed here",
        where=host.name,
        found=there,
        hint=f"ota provision --limit {host.name}",
    )


def exit_code(errors: Sequence[OtaError | None]) -> ExitCode:
    """Return the exit code of a command from how its hosts ended: a failed host outweighs an unreachable one."""
    real = [error for error in errors if error is not None]
    if any(not isinstance(error, UnreachableError) for error in real):
        return ExitCode.HOST_FAILED
    return ExitCode.HOSTS_UNREACHABLE if real else ExitCode.DONE

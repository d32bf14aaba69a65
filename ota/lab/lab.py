"""`up`, `down` and `status` of a lab; idempotent, and everything about a lab is in its one folder.

Invariants: what runs as asked is left alone; only processes that this folder's lab started are ever ended; a port that something else holds is
found before anything is started. The folder belongs to its user alone, for the client key is in it.
"""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ota.errors import UsageError
from ota.lab import link, sshd
from ota.lab.fleet import (
    FIRST_PORT,
    DeviceSpec,
    LabDevice,
    LabState,
    default_fleet,
    inventory_text,
    known_hosts_text,
    read_record,
    replace_text,
    write_record,
)
from ota.lab.interpreters import device_python
from ota.lab.processes import end, running_pid, wait_until
from ota.lab.sshd import Daemon, Programs

__all__ = ["LabState", "down", "status", "up"]

_LOGIN_S = 30
_LINK_START_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """The files of a lab."""

    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / "lab.json"

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yaml"

    @property
    def link_config(self) -> Path:
        return self.folder / "link.json"

    @property
    def link_pid_file(self) -> Path:
        return self.folder / "link.pid"

    def daemon(self, name: str) -> Daemon:
        return Daemon(folder=self.folder / name)

    def link_pid(self) -> int | None:
        return running_pid(self.link_pid_file, self.link_config)

    def end_link(self) -> None:
        end(self.link_pid_file, self.link_config)


def up(
    folder: Path, count: int = 3, *, first_port: int = FIRST_PORT, fleet: Sequence[DeviceSpec] | None = None
) -> LabState:
    """Start a lab's devices and the lines to them, or what of them does not run; devices beyond `count` are stopped.

    Args:
        folder: where everything of the lab is kept.
        count: how many devices.
        first_port: the port of the first line; 0: the ports of the last time, else free ones.
        fleet: the devices themselves, in place of count and ports.

    Raises:
        UsageError: OpenSSH is missing or refuses to serve this account, a port is taken, the folder cannot be used.
        ContentError: the folder holds a record that is not one.
    """
    wanted = tuple(fleet) if fleet is not None else default_fleet(count, first_port or FIRST_PORT)
    programs = sshd.find_programs()
    user = sshd.account()
    files = _Files(folder=_usable(folder))
    with _locked(files.folder):
        before = read_record(files.record)
        if fleet is None and not first_port:
            wanted = _on_any_ports(files, wanted, before)
        with ExitStack() as stack:
            listeners = _listen(files, wanted, stack)
            _stop_others(files, wanted, before)
            pythons = [_python_for(spec, before) for spec in wanted]
            write_record(files.record, list(zip(wanted, pythons, strict=True)))
            started = _start_daemons(files, programs, wanted, pythons)
            if listeners:
                _start_link(files, wanted, listeners)
        state = status(files.folder)
        _write_texts(files, state, user)
        if started or listeners:
            _check_login(programs, state, user, started[0] if started else wanted[0].name)
    return state


def down(folder: Path) -> None:
    """Stop a lab's lines and devices; their disks stay. Nothing to stop is fine."""
    files = _Files(folder=folder.resolve())
    if not files.folder.is_dir():
        return
    with _locked(files.folder):
        files.end_link()
        for config in sorted(files.folder.glob("*/sshd_config")):
            Daemon(folder=config.parent).stop()


def status(folder: Path) -> LabState:
    """Return what a lab's record names and what of it runs; ContentError where the record is not one."""
    files = _Files(folder=folder.resolve())
    link_pid = files.link_pid()
    devices: list[LabDevice] = []
    for spec, python in read_record(files.record):
        daemon = files.daemon(spec.name)
        pid = daemon.pid()
        devices.append(
            LabDevice(
                name=spec.name,
                port=spec.port,
                running=pid is not None and link_pid is not None,
                pid=pid,
                rate_kbit=spec.rate_kbit,
                delay_ms=spec.delay_ms,
                runtimes=spec.runtimes,
                home=str(daemon.home),
                python=python,
            )
        )
    return LabState(
        folder=str(files.folder),
        inventory=str(files.inventory),
        key=str(files.key),
        known_hosts=str(files.known_hosts),
        link_pid=link_pid,
        devices=tuple(devices),
    )


def _usable(folder: Path) -> Path:
    """Make the folder, its user's alone, and return its absolute path."""
    path = folder.resolve()
    if any(sign in str(path) for sign in '"\n'):
        raise UsageError("a lab cannot be in a folder with such a name", found=repr(str(path)))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise UsageError(
            "the lab's folder cannot be made", where=str(folder), found=error.strerror or ""
        ) from None
    return path


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one command at a time change a lab."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _on_any_ports(
    files: _Files, wanted: Sequence[DeviceSpec], before: Sequence[tuple[DeviceSpec, str]]
) -> tuple[DeviceSpec, ...]:
    """Return the devices on the ports of the last time, as far as these can be had, else on free ones."""
    ours = files.link_pid() is not None
    had = {spec.name: spec.port for spec, _ in before if ours or sshd.is_free(spec.port)}
    return tuple(replace(spec, port=had.get(spec.name) or sshd.free_port()) for spec in wanted)


def _stop_others(
    files: _Files, wanted: Sequence[DeviceSpec], before: Sequence[tuple[DeviceSpec, str]]
) -> None:
    kept = {spec.name for spec in wanted}
    for spec, _ in before:
        if spec.name not in kept:
            files.daemon(spec.name).stop()


def _python_for(spec: DeviceSpec, before: Sequence[tuple[DeviceSpec, str]]) -> str:
    """Return the interpreter that a device has had so far, while it is there, else the one that suits it."""
    had = next(
        (python for old, python in before if old.name == spec.name and old.runtimes == spec.runtimes), ""
    )
    return had if had and Path(had).exists() else str(device_python(spec.runtimes))


def _start_daemons(
    files: _Files, programs: Programs, wanted: Sequence[DeviceSpec], pythons: Sequence[str]
) -> list[str]:
    """Start the daemons that do not run; return the names of those devices."""
    sshd.make_key(programs, files.key, "ota lab")
    public_key = files.key.with_suffix(".pub").read_text(encoding="utf-8")
    started: list[str] = []
    for spec, python in zip(wanted, pythons, strict=True):
        daemon = files.daemon(spec.name)
        sshd.prepare(daemon, programs, name=spec.name, public_key=public_key, python=Path(python))
        if daemon.pid() is None:
            sshd.start(daemon, programs)
            started.append(spec.name)
    return started


def _listen(files: _Files, wanted: Sequence[DeviceSpec], stack: ExitStack) -> list[socket.socket]:
    """Return a listening socket per line, none where the lines run as wanted; lines that do not suit are ended first."""
    if files.link_pid() is not None and files.link_config.read_text(encoding="utf-8") == _link_config(
        files, wanted
    ):
        return []
    files.end_link()
    return [stack.enter_context(_listener(spec)) for spec in wanted]


def _listener(spec: DeviceSpec) -> socket.socket:
    listener = socket.socket()
    try:
        # Connections that have just ended do not hold the port; a listener does, in spite of this.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", spec.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {spec.port} on 127.0.0.1 cannot be had: {error.strerror}",
            where=spec.name,
            hint=f"the lab of another folder ('ota lab down' there), or another program: 'ss -ltnp sport = :{spec.port}' names it",
        ) from None
    return listener


def _start_link(files: _Files, wanted: Sequence[DeviceSpec], listeners: Sequence[socket.socket]) -> None:
    """Start the process that carries all lines; it is handed sockets that listen already."""
    replace_text(files.link_config, _link_config(files, wanted))
    numbers = [listener.fileno() for listener in listeners]
    asked = {
        "lines": _lines(files, wanted),
        "listeners": numbers,
        "pid_file": str(files.link_pid_file),
    }
    with (files.folder / "link.log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-I", link.__file__, str(files.link_config)],
            input=json.dumps(asked).encode(),
            stdout=log,
            stderr=log,
            pass_fds=numbers,
            cwd="/",
            check=False,
        )
    if not wait_until(lambda: files.link_pid() is not None, _LINK_START_S):
        said = (files.folder / "link.log").read_text(encoding="utf-8", errors="replace").strip()
        raise UsageError("the lines to the devices do not start", where=str(files.folder), found=said[-500:])


def _link_config(files: _Files, wanted: Sequence[DeviceSpec]) -> str:
    """Return what the lines are; lines that run suit while this stays the same."""
    return (
        json.dumps({"ports": [spec.port for spec in wanted], "lines": _lines(files, wanted)}, indent=1) + "\n"
    )


def _lines(files: _Files, wanted: Sequence[DeviceSpec]) -> list[dict[str, str | int]]:
    return [
        {
            "port_file": str(files.daemon(spec.name).port_file),
            "rate_kbit": spec.rate_kbit,
            "delay_ms": spec.delay_ms,
        }
        for spec in wanted
    ]


def _write_texts(files: _Files, state: LabState, user: str) -> None:
    keys = [
        files.daemon(device.name).host_key.with_suffix(".pub").read_text(encoding="utf-8")
        for device in state.devices
    ]
    replace_text(files.known_hosts, known_hosts_text(state.devices, keys))
    replace_text(
        files.inventory,
        inventory_text(state.devices, key=state.key, known_hosts=state.known_hosts, user=user),
    )


def _check_login(programs: Programs, state: LabState, user: str, name: str) -> None:
    """Log in once as a controller would: what the account's shell or the system forbids is told now, in sshd's words."""
    device = next(device for device in state.devices if device.name == name)
    options = (
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=yes",
        f'UserKnownHostsFile="{state.known_hosts}"',
        "GlobalKnownHostsFile=/dev/null",
        f"ConnectTimeout={_LOGIN_S}",
    )
    argv = [programs.ssh, "-F", "none", "-i", state.key, "-p", str(device.port)]
    argv += [word for option in options for word in ("-o", option)]
    command = "cd && pwd -P && python3 -I -c 'import sys; print(sys.executable)'"
    answer = subprocess.run(
        [*argv, f"{user}@127.0.0.1", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LOGIN_S * 2,
        check=False,
    )
    if answer.stdout.split("\n")[:1] == [device.home] and answer.returncode == 0:
        return
    log = Path(device.home).with_name("log").read_text(encoding="utf-8", errors="replace").strip()
    said = (answer.stdout + answer.stderr).strip() or "nothing"
    raise UsageError(
        f"sshd runs, and a login as {user} does not work",
        where=device.name,
        expected=f"the home folder {device.home} and a Python",
        found=said[-500:],
        hint=f"sshd's log ends with: {log.splitlines()[-1] if log else 'nothing'}",
    )

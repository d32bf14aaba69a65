"""The lab: virtual microcomputers brought up and down as one; a folder holds everything.

Invariants: `up` leaves what runs alone and starts only what does not; `down` ends only what `up` started; a device's disk outlives both.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ota.errors import UsageError
from ota.lab.daemon import Daemon, find_sshd, make_key, user_name
from ota.lab.processes import end, free_port, listens, note, noted, wait_until
from ota.lab.proxy import Link
from ota.lab.pythons import own_python, python_for_old_runtime

FIRST_PORT = 24801
GROUP = "sorters"
NAME = "sorter"
PROFILES = ((100_000, 5.0), (100_000, 5.0), (50_000, 20.0))
"""Rate in kbit/s and one-way delay in ms of the first, second and third device; a fourth has the first's again."""
_START = "import sys; sys.path[:] = {path!r}; from ota.lab.proxy import main; main({links!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabDevice:
    """One virtual microcomputer as it stands."""

    name: str
    port: int
    running: bool
    pid: int | None
    rate_kbit: int
    delay_ms: float
    home: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabState:
    """The lab as it stands; `inventory` names its devices, `key` and `known_hosts` are what an SSH client needs."""

    folder: str
    inventory: str
    key: str
    known_hosts: str
    devices: tuple[LabDevice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    name: str
    link: Link
    python: str


def up(folder: Path, count: int = 3, *, first_port: int = FIRST_PORT) -> LabState:
    """Bring up `count` devices in `folder`, the links on ports from `first_port` (0: any free ones).

    Raises:
        UsageError: sshd is missing or does not start, or a port is taken.
    """
    find_sshd()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    planned = _plan(folder, count, first_port)
    make_key(folder / "id_ed25519", "controller of the lab")
    public_key = (folder / "id_ed25519.pub").read_text(encoding="utf-8")
    for one in planned:
        _daemon(folder, one).start(public_key)
    _write_known_hosts(folder, planned)
    _start_links(folder, planned)
    (folder / "inventory.yaml").write_text(inventory_text(folder, planned), encoding="utf-8")
    return status(folder)


def down(folder: Path) -> None:
    """End every daemon and the links; the devices' disks stay."""
    folder = folder.resolve()
    end(folder / "links.process")
    for one in _planned(folder):
        _daemon(folder, one).stop()


def status(folder: Path) -> LabState:
    """Return the lab in `folder` as it stands; no devices where there never was one."""
    folder = folder.resolve()
    carried = noted(folder / "links.process") is not None
    devices = []
    for one in _planned(folder):
        daemon = _daemon(folder, one)
        devices.append(
            LabDevice(
                name=one.name,
                port=one.link.port,
                running=carried and daemon.pid is not None,
                pid=daemon.pid,
                rate_kbit=one.link.rate_kbit,
                delay_ms=one.link.delay_ms,
                home=str(daemon.home),
                python=one.python,
            )
        )
    return LabState(
        folder=str(folder),
        inventory=str(folder / "inventory.yaml"),
        key=str(folder / "id_ed25519"),
        known_hosts=str(folder / "known_hosts"),
        devices=tuple(devices),
    )


def inventory_text(folder: Path, planned: tuple[_Planned, ...]) -> str:
    """Return an inventory of the devices, as `up` writes it beside them."""
    lines = [
        "# Written by `ota lab up`.",
        "all:",
        "  children:",
        f"    {GROUP}:",
        "      vars:",
        "        ansible_host: 127.0.0.1",
        f"        ansible_user: {json.dumps(user_name())}",
        f"        ansible_ssh_private_key_file: {json.dumps(str(folder / 'id_ed25519'))}",
        f"        ansible_ssh_common_args: {json.dumps('-o UserKnownHostsFile=' + _quoted(folder / 'known_hosts'))}",
        "        ota_root: ~/ota",
        "      hosts:",
    ]
    for number, one in enumerate(planned, 1):
        lines += [f"        {one.name}:", f"          ansible_port: {one.link.port}"]
        if number == 3:
            lines.append("          ota_runtime: [tflite-runtime, ai-edge-litert]")
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    return f"'{path}'" if " " in str(path) else str(path)


def _plan(folder: Path, count: int, first_port: int) -> tuple[_Planned, ...]:
    """Return the devices of an earlier `up` as they were, with more behind them where `count` asks for more."""
    planned = list(_planned(folder))[:count]
    for number in range(len(planned), count):
        rate, delay = PROFILES[number % len(PROFILES)]
        port = first_port + number if first_port else free_port()
        link = Link(port=port, target=free_port(), rate_kbit=rate, delay_ms=delay)
        python = python_for_old_runtime() if number == 2 else own_python()
        planned.append(_Planned(name=f"{NAME}-{number + 1}", link=link, python=python))
    text = json.dumps([asdict(one) for one in planned], indent=2)
    (folder / "lab.json").write_text(text, encoding="utf-8")
    return tuple(planned)


def _planned(folder: Path) -> tuple[_Planned, ...]:
    try:
        entries = json.loads((folder / "lab.json").read_text(encoding="utf-8"))
        return tuple(
            _Planned(name=entry["name"], link=Link(**entry["link"]), python=entry["python"])
            for entry in entries
        )
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "the lab's own record is damaged",
            where=str(folder / "lab.json"),
            hint=f"remove {folder} and bring the lab up again",
        ) from error


def _daemon(folder: Path, one: _Planned) -> Daemon:
    return Daemon(folder=folder / one.name, port=one.link.target, python=one.python)


def _write_known_hosts(folder: Path, planned: tuple[_Planned, ...]) -> None:
    lines = []
    for one in planned:
        kind, key, *_ = (folder / one.name / "host_key.pub").read_text(encoding="utf-8").split()
        lines.append(f"[127.0.0.1]:{one.link.port} {kind} {key}\n")
    (folder / "known_hosts").write_text("".join(lines), encoding="utf-8")


def _start_links(folder: Path, planned: tuple[_Planned, ...]) -> None:
    links = json.dumps([asdict(one.link) for one in planned])
    path, process = folder / "links.json", folder / "links.process"
    same = path.is_file() and path.read_text(encoding="utf-8") == links
    if same and noted(process) is not None:
        return
    end(process)
    taken = [one.link.port for one in planned if listens(one.link.port)]
    if taken:
        raise UsageError(
            f"port {taken[0]} on 127.0.0.1 is taken by another program",
            hint="stop that program, or give the lab other ports: ota lab up --port N",
        )
    path.write_text(links, encoding="utf-8")
    with (folder / "links.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path, links=str(path))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    note(process, started.pid)
    if not wait_until(lambda: all(listens(one.link.port) for one in planned), 10.0):
        raise UsageError("the links of the lab do not start", hint=f"see {folder / 'links.log'}")

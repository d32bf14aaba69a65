"""What there is to say about a lab: virtual microcomputers on the controller itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The line to a virtual device: its rate in kbit/s each way, and its delay in ms one way."""

    rate_kbit_s: int
    delay_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """A virtual device as it is asked for; `runtimes` in order of preference, empty where its facts decide."""

    name: str
    port: int
    link: Link
    runtimes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabDevice:
    """A virtual device as it is found; `pid` is of its OpenSSH daemon, None where none runs.

    `running` says that the daemon and the line to it are both up. `home` is its home folder, `python` the interpreter behind its `python3`.
    """

    name: str
    port: int
    link: Link
    runtimes: tuple[str, ...]
    running: bool
    pid: int | None
    home: Path
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabState:
    """A lab as it is found, with the files by which its devices are reached; no devices: there was never one here.

    `link_pid` is of the one process that carries all lines, None where it does not run.
    """

    folder: Path
    devices: tuple[LabDevice, ...]
    key: Path
    known_hosts: Path
    inventory: Path
    link_pid: int | None

    @property
    def running(self) -> bool:
        """Say whether there are devices and all of them run."""
        return bool(self.devices) and all(device.running for device in self.devices)

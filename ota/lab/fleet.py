"""What a lab is: its devices as asked for and as found, and what is written about them: the record, the known hosts, the inventory.

The inventory.yaml that is shipped names the first three; a lab writes one of its own too, for any number.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ota.errors import ContentError, Fault, UsageError

GROUP = "sorters"
FIRST_PORT = 24801
MOST_DEVICES = 200
_OLD_RUNTIME_FIRST = ("tflite-runtime", "ai-edge-litert")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """A virtual device as it is asked for.

    `rate_kbit` is what its line carries each way, in kbit/s, `delay_ms` the line's delay one way. `runtimes` are in order of preference,
    empty where the device's facts decide.
    """

    name: str
    port: int
    rate_kbit: int
    delay_ms: int
    runtimes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabDevice:
    """A virtual device as it is found; `pid` is of its OpenSSH daemon, None where it does not run.

    `running` says that the daemon and the line to it are both up. `home` is its home folder, `python` the interpreter behind its
    `python3`; the rest is as in DeviceSpec.
    """

    name: str
    port: int
    running: bool
    pid: int | None
    rate_kbit: int
    delay_ms: int
    runtimes: tuple[str, ...]
    home: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabState:
    """A lab as it is found, no devices: there was never one here; `inventory`, `key` and `known_hosts` are what a client needs.

    `link_pid` is of the one process that carries all lines, None where it does not run.
    """

    folder: str
    inventory: str
    key: str
    known_hosts: str
    link_pid: int | None
    devices: tuple[LabDevice, ...]

    @property
    def running(self) -> bool:
        """Say whether there are devices and all of them run."""
        return bool(self.devices) and all(device.running for device in self.devices)


def default_fleet(count: int, first_port: int = FIRST_PORT) -> tuple[DeviceSpec, ...]:
    """Return the devices of a lab of `count`, on ports from `first_port`; every third has a longer line and prefers the older runtime.

    Raises:
        UsageError: there cannot be so many.
    """
    if not 1 <= count <= MOST_DEVICES or not 1 <= first_port <= 65536 - count:
        raise UsageError(
            "such a lab cannot be",
            expected=f"1 to {MOST_DEVICES} devices on ports up to 65535",
            found=f"{count} from port {first_port}",
        )
    return tuple(_default(number, first_port) for number in range(count))


def _default(number: int, first_port: int) -> DeviceSpec:
    far = number % 3 == 2
    return DeviceSpec(
        name=f"sorter-{number + 1}",
        port=first_port + number,
        rate_kbit=50_000 if far else 100_000,
        delay_ms=10 if far else 5,
        runtimes=_OLD_RUNTIME_FIRST if far else (),
    )


def write_record(path: Path, fleet: Sequence[tuple[DeviceSpec, str]]) -> None:
    """Record the devices of a lab, each with its interpreter, by one rename."""
    entries = [asdict(spec) | {"python": python} for spec, python in fleet]
    replace_text(path, json.dumps(entries, indent=1) + "\n")


def read_record(path: Path) -> tuple[tuple[DeviceSpec, str], ...]:
    """Return the devices of a lab with their interpreters; none where there was never a lab.

    Raises:
        ContentError: the record is not one.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return tuple(
            (
                DeviceSpec(
                    name=str(entry["name"]),
                    port=int(entry["port"]),
                    rate_kbit=int(entry["rate_kbit"]),
                    delay_ms=int(entry["delay_ms"]),
                    runtimes=tuple(str(name) for name in entry["runtimes"]),
                ),
                str(entry["python"]),
            )
            for entry in entries
        )
    except FileNotFoundError:
        return ()
    except (ValueError, TypeError, KeyError) as error:
        raise ContentError(
            Fault(
                file=str(path),
                problem=f"this is no record of a lab: {error}",
                hint=f"remove {path}, then 'ota lab up'",
            )
        ) from None


def inventory_text(devices: Sequence[LabDevice], *, key: str, known_hosts: str, user: str) -> str:
    """Return an inventory of the devices; its paths are absolute, so that it works from any folder."""
    known = shlex.quote(f'UserKnownHostsFile="{known_hosts}"')
    lines = [
        "# Written by `ota lab up`; your changes would be lost.",
        "all:",
        "  children:",
        f"    {GROUP}:",
        "      vars:",
        "        ansible_host: 127.0.0.1",
        f"        ansible_user: {json.dumps(user)}",
        f"        ansible_ssh_private_key_file: {json.dumps(key)}",
        f"        ansible_ssh_common_args: {json.dumps(f'-o {known}')}",
        "        ota_root: ~/ota",
        "        ota_boot_hook: none",
        "      hosts:",
    ]
    for device in devices:
        lines += [f"        {device.name}:", f"          ansible_port: {device.port}"]
        if device.runtimes:
            lines.append(f"          ota_runtime: [{', '.join(device.runtimes)}]")
    return "\n".join(lines) + "\n"


def known_hosts_text(devices: Sequence[LabDevice], host_keys: Sequence[str]) -> str:
    """Return known hosts of the devices, given the text of each public host key."""
    return "".join(
        f"[127.0.0.1]:{device.port} {' '.join(key.split()[:2])}\n"
        for device, key in zip(devices, host_keys, strict=True)
    )


def replace_text(path: Path, text: str) -> None:
    """Write a file by one rename, so that nobody reads half of it."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)

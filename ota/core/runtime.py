"""Which runtimes really run on a device: a literal table, and the choice from a device's facts.

Rules: what counts is what the wheel's binaries need, not what its tag promises; every row is a wheel that exists; a device for which nothing exists
is refused with the reason per row and with what its owner can do. A 64-bit kernel under a 32-bit system is a 32-bit device.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from ota.core.facts import Facts, Runtime

Version = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSpec:
    """One build of a runtime: where wheels of it exist and run.

    Python and glibc versions are inclusive; `numpy` is the range [from, to) that it works with, None as end: open.
    """

    package: str
    version: str
    architectures: frozenset[str]
    python: tuple[Version, Version]
    glibc: Version
    numpy: tuple[Version, Version | None]
    note: str = ""

    @property
    def label(self) -> str:
        """What messages call it, such as `tflite-runtime 2.14.0`."""
        return f"{self.package} {self.version}"


_LITERT = "ai-edge-litert"
_TFLITE = "tflite-runtime"
_ARM64, _ARM32, _X86 = "aarch64", "armv7l", "x86_64"
_SLOW = "this runtime accelerates float32 only: expect int8 and dynamic range to be slower than under ai-edge-litert"

RUNTIMES: tuple[RuntimeSpec, ...] = (
    RuntimeSpec(
        package=_LITERT,
        version="2.3.0",
        architectures=frozenset({_ARM64, _X86}),
        python=((3, 10), (3, 14)),
        glibc=(2, 34),
        numpy=((1, 23), None),
    ),
    RuntimeSpec(
        package=_LITERT,
        version="2.1.0",
        architectures=frozenset({_ARM64, _X86}),
        python=((3, 9), (3, 13)),
        glibc=(2, 30),
        numpy=((1, 23), None),
    ),
    RuntimeSpec(
        package=_TFLITE,
        version="2.14.0",
        architectures=frozenset({_ARM64, _ARM32}),
        python=((3, 8), (3, 11)),
        glibc=(2, 34),
        numpy=((1, 23), (2, 0)),
        note=_SLOW,
    ),
    RuntimeSpec(
        package=_TFLITE,
        version="2.14.0",
        architectures=frozenset({_X86}),
        python=((3, 8), (3, 11)),
        glibc=(2, 29),
        numpy=((1, 23), (2, 0)),
        note=_SLOW,
    ),
    RuntimeSpec(
        package=_TFLITE,
        version="2.13.0",
        architectures=frozenset({_ARM64, _ARM32}),
        python=((3, 8), (3, 10)),
        glibc=(2, 27),
        numpy=((1, 21), (2, 0)),
        note=_SLOW,
    ),
    RuntimeSpec(
        package=_TFLITE,
        version="2.11.0",
        architectures=frozenset({_ARM64, _ARM32}),
        python=((3, 7), (3, 10)),
        glibc=(2, 27),
        numpy=((1, 19), (2, 0)),
        note=_SLOW,
    ),
)
"""The builds, best first; of each package the first that fits a device is installed there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeChoice:
    """What a device gets: the build, and what to download for it with pip.

    `architecture` is what the device's Python runs as. `system_site_packages` says that numpy is the device's own, for no wheel of it exists.
    """

    package: str
    version: str
    architecture: str
    python: Version
    glibc: Version
    requirements: tuple[str, ...]
    with_dependencies: bool
    system_site_packages: bool
    note: str = ""

    @property
    def id(self) -> str:
        """The name of its folder on the device."""
        return f"{self.package}-{self.version}-cp{self.python[0]}{self.python[1]}"

    @property
    def label(self) -> str:
        """What messages call it, such as `tflite-runtime 2.14.0`."""
        return f"{self.package} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """Why no runtime runs on a device, and what its owner can do."""

    reason: str
    hint: str


def choose_runtimes(
    facts: Facts, preference: tuple[str, ...] = ()
) -> tuple[RuntimeChoice, ...] | Unsupported:
    """Return the runtimes for a device, side by side and in the order of preference: of each package the newest build that runs there.

    `preference` are packages, or packages with `==version`, in order; only those are considered, and a version that is named is chosen beside
    the newest. Empty: all of RUNTIMES in their order.
    """
    architecture = _architecture(facts)
    python = facts.python[:2]
    glibc = _version(facts.libc, r"glibc (\d+)\.(\d+)")
    refused = _hopeless(facts, architecture, glibc)
    if refused is not None:
        return refused
    rows = _rows(preference)
    if isinstance(rows, Unsupported):
        return rows
    chosen: dict[str, RuntimeChoice] = {}
    reasons: list[str] = []
    for wanted, row in rows:
        against = _against(row, architecture, python, glibc or (0, 0), facts.system_numpy)
        if against:
            reasons += _reason(row, against, architecture)
        else:
            chosen.setdefault(wanted, _choice(row, architecture, python, glibc or (0, 0)))
    if chosen:
        return tuple(dict.fromkeys(chosen.values()))
    return Unsupported(
        reason=f"no runtime for {_words(architecture)}, Python {python[0]}.{python[1]}, {facts.libc}: "
        + "; ".join(dict.fromkeys(reasons)),
        hint=_hint(architecture, python, facts.system_numpy, preference),
    )


def installed_runtimes(facts: Facts, preference: tuple[str, ...] = ()) -> tuple[Runtime, ...]:
    """Return the runtimes on a device that `choose_runtimes` would choose, in its order; none where it is not provisioned."""
    choices = choose_runtimes(facts, preference)
    if isinstance(choices, Unsupported):
        return ()
    there = {runtime.id: runtime for runtime in facts.runtimes}
    return tuple(there[choice.id] for choice in choices if choice.id in there)


def _architecture(facts: Facts) -> str:
    known = {
        "arm64": _ARM64,
        "amd64": _X86,
        "armv8l": _ARM32,
        "armhf": _ARM32,
        "i386": "i686",
        "i586": "i686",
    }
    machine = known.get(facts.architecture.lower(), facts.architecture.lower())
    if facts.python_bits == 32:
        return {_ARM64: _ARM32, _X86: "i686"}.get(machine, machine)
    return machine


def _hopeless(facts: Facts, architecture: str, glibc: Version | None) -> Unsupported | None:
    """Return why no row can ever fit, where that is so."""
    if architecture.startswith(("armv6", "armv5", "armv4")):
        return Unsupported(
            reason=f"no runtime was ever built for {architecture} (Raspberry Pi 1, Zero and Zero W)",
            hint="use a board with ARMv7 or later, such as a Raspberry Pi Zero 2 W",
        )
    if facts.libc.startswith("musl"):
        return Unsupported(
            reason=f"every runtime is built for glibc, the device has {facts.libc}",
            hint="use a system with glibc, such as Raspberry Pi OS, Debian or Ubuntu",
        )
    if glibc is None:
        return Unsupported(
            reason=f"the C library of the device is not known to be glibc: {facts.libc or 'it says nothing'}",
            hint="use a system with glibc, such as Raspberry Pi OS, Debian or Ubuntu",
        )
    if not any(architecture in row.architectures for row in RUNTIMES):
        return Unsupported(
            reason=f"no runtime is built for {architecture}",
            hint="runtimes exist for 64-bit ARM (aarch64), 32-bit ARM (armv7l) and x86_64",
        )
    return None


def _rows(preference: tuple[str, ...]) -> tuple[tuple[str, RuntimeSpec], ...] | Unsupported:
    """Return (what was asked for, row) pairs: of rows that answer to the same, the first that fits is chosen."""
    if not preference:
        return tuple((row.package, row) for row in RUNTIMES)
    rows: list[tuple[str, RuntimeSpec]] = []
    for wanted in preference:
        found = [row for row in RUNTIMES if wanted in {row.package, f"{row.package}=={row.version}"}]
        if not found:
            names = sorted(
                {row.package for row in RUNTIMES} | {f"{r.package}=={r.version}" for r in RUNTIMES}
            )
            guess = get_close_matches(wanted, names, n=1)
            return Unsupported(
                reason=f"ota_runtime names {wanted!r}, which is no runtime that `ota` knows",
                hint=f"did you mean {guess[0]}?" if guess else f"those are {', '.join(names)}",
            )
        rows += [(wanted, row) for row in found]
    return tuple(rows)


def _against(row: RuntimeSpec, architecture: str, python: Version, glibc: Version, numpy: str) -> str:
    """Return why a row does not fit; empty where it does."""
    low, high = row.python
    if architecture not in row.architectures:
        return f"has no build for {_words(architecture)}"
    if not low <= python <= high:
        return f"is for Python {low[0]}.{low[1]} to {high[0]}.{high[1]}"
    if glibc < row.glibc:
        return f"needs glibc {row.glibc[0]}.{row.glibc[1]}"
    if architecture != _ARM32:
        return ""
    least, below = row.numpy
    held = _version(numpy, r"(\d+)\.(\d+)")
    if held is None or held < least or (below is not None and held >= below):
        end = f" and below {below[0]}" if below else ""
        return f"needs the system's numpy from {least[0]}.{least[1]}{end}, which is {numpy or 'absent'}"
    return ""


def _reason(row: RuntimeSpec, against: str, architecture: str) -> list[str]:
    """Return what to say of a row that does not fit; nothing where another row of the package says more."""
    if architecture in row.architectures:
        return [f"{row.label} {against}"]
    elsewhere = any(r.package == row.package and architecture in r.architectures for r in RUNTIMES)
    return [] if elsewhere else [f"{row.package} {against}"]


def _choice(row: RuntimeSpec, architecture: str, python: Version, glibc: Version) -> RuntimeChoice:
    system_numpy = architecture == _ARM32
    least, below = row.numpy
    numpy = f"numpy>={least[0]}.{least[1]}" + (f",<{below[0]}" if below else "")
    package = f"{row.package}=={row.version}"
    return RuntimeChoice(
        package=row.package,
        version=row.version,
        architecture=architecture,
        python=python,
        glibc=glibc,
        requirements=(package,) if system_numpy else (package, numpy),
        with_dependencies=not system_numpy,
        system_site_packages=system_numpy,
        note=row.note,
    )


def _hint(architecture: str, python: Version, numpy: str, preference: tuple[str, ...]) -> str:
    if architecture == _ARM32 and python > (3, 11):
        return "install the 64-bit system image, or the 32-bit one of Debian 12 (Bookworm) with Python 3.11"
    if architecture == _ARM32 and not numpy:
        return "on the device: sudo apt install python3-numpy"
    if preference:
        return "let ota_runtime name another runtime as well, or remove it"
    return (
        "install a current 64-bit system, or point ansible_python_interpreter at another Python on the device"
    )


def _words(architecture: str) -> str:
    return {_ARM64: "64-bit ARM", _ARM32: "32-bit ARM"}.get(architecture, architecture)


def _version(text: str, pattern: str) -> Version | None:
    found = re.match(pattern, text)
    return (int(found[1]), int(found[2])) if found else None

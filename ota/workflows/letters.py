"""What travels between the rollout's controller and a site: a host's job as a value, and the words that both say while it runs.

Invariants: a site asks before it counts: what a device ran is in the rollout's journal before anything changes there, and only the attempt that was granted last is
heard; no secret of the inventory travels, and no private key.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import ota
from ota.core.events import Event
from ota.core.host_state import HostOutcome
from ota.core.inventory import Host, Value
from ota.core.journal_head import NotedHead
from ota.core.release import Digest
from ota.workflows.gate_plan import LaterGate
from ota.workflows.order import JobName, Order, Return

PIECE_BYTES = 1 << 20
_TRAVELS = ("ansible_", "ota_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which `ota` somebody runs: its version, and the digest of its code, the agent's with it."""

    version: str
    code: str

    def __str__(self) -> str:
        return f"ota {self.version} ({self.code[:12]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A host's job. `host` is (name, groups, variables); an order that is signed is by the controller; `attempt` counts from 1.

    With `notes` what the device runs is noted first; with `keeps` the agent stays there and the journal's head is noted.
    """

    job: JobName
    host: tuple[str, tuple[str, ...], Mapping[str, object]]
    order: Order | Return
    signed: bool
    notes: bool
    keeps: bool
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """A worker says what it runs; nobody answers."""

    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Asks for the Assignment."""

    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the device runs, before anything changes; answered once that is in the journal."""

    current: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Asks for an order's signatures."""

    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """Asks what is wrong with a device's answers to the probe samples."""

    digest: Digest
    runtime: str
    outputs: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Asks for at most PIECE_BYTES of a file, empty behind its end."""

    digest: Digest
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHead:
    """Asks how far the device's journal is known."""

    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHead:
    """How far it is known from now on."""

    root: str
    noted: NotedHead


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """Asks whether a person asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something happened; nobody answers."""

    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the job ended."""

    outcome: HostOutcome


def sealed(word: object) -> bytes:
    """Return a word as it travels."""
    return pickle.dumps(word)


def opened(content: bytes) -> object:
    """Return the word again; both ends run the same code, and who may write here may run anything at a site already."""
    return pickle.loads(content)  # noqa: S301


def travelling(host: Host) -> tuple[str, tuple[str, ...], Mapping[str, object]]:
    """Return a host as it travels: by the variables that say how to reach it, and no others."""
    kept = {name: _thawed(value) for name, value in host.variables.items() if name.startswith(_TRAVELS)}
    return host.name, host.groups, kept


def arrived(host: tuple[str, tuple[str, ...], Mapping[str, object]]) -> Host:
    """Return the host again."""
    name, groups, variables = host
    return Host(
        name=name,
        groups=groups,
        variables=MappingProxyType({name: _frozen(value) for name, value in variables.items()}),
    )


def without_ends(order: Order | Return) -> Order | Return:
    """Return an order without what only its own process can call, its gate as a value."""
    if isinstance(order, Return):
        return replace(order, authority=None)
    gate = order.gate.made() if isinstance(order.gate, LaterGate) else order.gate
    return replace(order, authority=None, gate=gate)


@lru_cache
def identity() -> Identity:
    """Return which `ota` this is."""
    digest, folder = hashlib.sha256(), Path(ota.__file__).parent
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return Identity(version=ota.__version__, code=digest.hexdigest())


def _thawed(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _thawed(one) for key, one in value.items()}
    return tuple(map(_thawed, value)) if isinstance(value, tuple) else value


def _frozen(value: object) -> Value:
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(one) for key, one in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, tuple) else value  # type: ignore[return-value]  # as it was thawed

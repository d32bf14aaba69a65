"""Real devices for the workflows' tests: the agent itself over the local transport, each in a root of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ota.core.connection import Connection
from ota.core.events import Event, StepFinished, Warned
from ota.core.facts import Facts, Runtime
from ota.core.host_state import HostOutcome
from ota.core.inventory import Host
from ota.core.playbook import DeploySpec
from ota.core.protocol import BlobKind
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Manifest, Release
from ota.core.setting import Setting
from ota.errors import HostError, UnreachableError
from ota.remote import local
from ota.remote.device import Device
from ota.remote.dialogue import Dialogue
from ota.remote.executor import ThreadExecutor
from ota.remote.flight import Flight, Reply
from ota.remote.requests import Asking
from ota.workflows.deploy import Result, roll_out
from ota.workflows.deploy_host import deploy_host
from ota.workflows.order import Ends, Order, Return
from ota.workflows.rollback_host import rollback_host

OLD, NEW = b"....TFL3 old model", b"....TFL3 new model"


@dataclass
class Bench:
    """A fleet in a temporary folder: hosts `a`, `b`, ... with a root each, a shelf of blobs, and what was emitted.

    `kind` is what devices are opened as, `python` what their agents run under; `opened` are all that were; `keep_agent` False is check mode's way to reach them.
    """

    folder: Path
    events: list[Event] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    model: str = "sorter"
    kind: type[Device] = Device
    keep_agent: bool = True
    python: str = sys.executable
    opened: list[Device] = field(default_factory=list)

    def host(self, name: str) -> Host:
        """Return a host of that name."""
        return Host(name=name)

    def root(self, name: str) -> Path:
        """Return where a host keeps its releases."""
        return self.folder / name

    def connect(self, host: Host) -> Device:
        """Open a device; a dead one is out of reach."""
        if host.name in self.dead:
            raise UnreachableError("no route to host", where=host.name)
        device = self.kind.open(
            host,
            local.connect(host, Connection(kind="local", address="x")),
            model=self.model,
            root=str(self.root(host.name)),
            python=self.python,
            keep_agent=self.keep_agent,
        )
        self.opened.append(device)
        return device

    def blob(self, digest: Digest) -> Path:
        """Return a shelved blob."""
        return self.folder / "shelf" / digest.hex

    def shelve(self, content: bytes) -> Digest:
        """Put a blob on the shelf."""
        digest = Digest.of(content)
        self.blob(digest).parent.mkdir(exist_ok=True, parents=True)
        self.blob(digest).write_bytes(content)
        return digest

    def release(self, content: bytes, setting: Setting | None = None, **artifacts: bytes) -> Release:
        """Return a release of that model file and further artifacts, all on the shelf; `setting` is how it was measured."""
        files = {MODEL_ARTIFACT: content, **{f"{name}.txt": text for name, text in artifacts.items()}}
        return Release(
            manifest=Manifest(
                model=self.model,
                artifacts=tuple(
                    Artifact(name=name, digest=self.shelve(text), size_bytes=len(text))
                    for name, text in files.items()
                ),
                setting=setting,
            )
        )

    def order(self, release: Release, *, probe: Digest | None = None, **spec: object) -> Order:
        """Return the order to deploy a release, without samples to try it with unless `probe` names some."""
        return Order(release=release, spec=DeploySpec(**spec), probe=probe)  # type: ignore[arg-type]

    def back(self, to: str | None = None, **spec: object) -> Return:
        """Return the order to roll back."""
        return Return(model=self.model, spec=DeploySpec(**spec), to=to)  # type: ignore[arg-type]

    def ends(self, **more: object) -> Ends:
        """Return the ends of a deployment on this fleet."""
        given: dict[str, object] = {
            "connect": self.connect,
            "emit": self.events.append,
            "blob": self.blob,
            "runtime_for": installed,
            "agree": lambda *_: "",
            "sleep": lambda _: None,
            **more,
        }
        return Ends(**given)  # type: ignore[arg-type]

    def deploy(self, content: bytes, host: str = "a", **spec: object) -> HostOutcome:
        """Deploy a release of `content` on one host."""
        return deploy_host(self.host(host), self.order(self.release(content), **spec), self.ends())

    def rollback(self, to: str | None = None, host: str = "a", **spec: object) -> HostOutcome:
        """Roll one host back."""
        return rollback_host(self.host(host), self.back(to, **spec), self.ends())

    def roll(self, content: bytes, hosts: list[str], **spec: object) -> Result:
        """Roll a release out on several hosts."""
        order = self.order(self.release(content), **spec)
        return roll_out(
            [self.host(name) for name in hosts],
            order.spec,
            lambda host: deploy_host(host, order, self.ends()),
            executor=ThreadExecutor(),
            emit=self.events.append,
            forks=4,
        )

    def leave_on_trial(self, content: bytes, host: str = "a", previous: bytes | None = None) -> None:
        """Activate a release and confirm nothing, as a controller does that dies behind the activation."""
        release = self.release(content)
        with self.connect(self.host(host)) as device:
            device.put(BlobKind.CANDIDATE, release.model.digest, self.blob(release.model.digest))
            device.stage(release)
            current = None if previous is None else self.release(previous).id
            device.activate(release.id, expected_current=current)

    def provision(self, host: str = "a") -> None:
        """Give a host the runtime of this environment, as a proven one of its own."""
        pytest.importorskip(
            "ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError
        )
        folder = self.root(host) / "runtime" / "litert"
        folder.mkdir(parents=True)
        record = {"id": "litert", "package": "ai-edge-litert", "version": "2", "python": sys.executable}
        (folder / "proven.json").write_text(json.dumps(record))

    def current(self, name: str = "a") -> bytes | None:
        """Return what an application on the host would read."""
        path = self.root(name) / "current" / MODEL_ARTIFACT
        return path.read_bytes() if path.exists() else None

    def files(self, name: str = "a") -> list[str]:
        """Return the names of all that lies under a host's root."""
        return sorted(str(path) for path in self.root(name).rglob("*"))

    def told(self, result: str) -> list[str]:
        """Return the details of the steps that ended so."""
        return [
            event.detail
            for event in self.events
            if isinstance(event, StepFinished) and event.result == result
        ]

    def warnings(self) -> list[str]:
        """Return what was warned of."""
        return [event.message for event in self.events if isinstance(event, Warned)]


class Altered(Device):
    """A device whose requests a test alters on their way: real agents, faults on demand."""

    def alter(self, asking: Asking[Any]) -> Asking[Any]:
        """Return what goes out instead."""
        return asking

    def lose(self) -> NoReturn:
        """Break the connection."""
        self.close()
        raise UnreachableError("the connection went silent", where=self.host.name)

    def flight(self) -> Flight:
        """Return a flight whose requests are altered."""
        return _AlteredFlight(self._dialogue, self.host.name, self.alter)


class _AlteredFlight(Flight):
    def __init__(self, dialogue: Dialogue, host: str, alter: Callable[[Asking[Any]], Asking[Any]]) -> None:
        super().__init__(dialogue, host)
        self._alter = alter

    def add(self, asking: Asking[Any], **how: Any) -> Reply[Any]:
        """Add what the test makes of it."""
        return super().add(self._alter(asking), **how)


def installed(host: Host, facts: Facts, label: str | None) -> Runtime:
    """Return a device's runtime of that label, or the first, as the command line does."""
    found = [runtime for runtime in facts.runtimes if label in {None, runtime.label}]
    if not found:
        what = f"{label} is not installed here" if label else "no runtime is installed for this board"
        raise HostError(what, where=host.name, hint="ota provision")
    return found[0]


@pytest.fixture
def fleet(tmp_path: Path) -> Bench:
    """A fleet of real agents in a temporary folder."""
    return Bench(tmp_path)


def states(result: Result) -> dict[str, str]:
    """Return the state of each host."""
    return {outcome.host: outcome.state.value for outcome in result.outcomes}

"""Real devices for the workflows' tests: the agent itself over the local transport, each in a root of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ota.core.connection import Connection
from ota.core.events import Event
from ota.core.facts import Facts, Runtime
from ota.core.inventory import Host
from ota.core.playbook import DeploySpec
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Manifest, Release
from ota.errors import HostError, UnreachableError
from ota.remote import local
from ota.remote.device import Device
from ota.workflows.order import Ends, Order, Return


@dataclass
class Bench:
    """A fleet in a temporary folder: hosts `a`, `b`, ... with a root each, a shelf of blobs, and what was emitted."""

    folder: Path
    events: list[Event] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    model: str = "sorter"

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
        transport = local.connect(host, Connection(kind="local", address="x"))
        return Device.open(
            host, transport, model=self.model, root=str(self.root(host.name)), python=sys.executable
        )

    def blob(self, digest: Digest) -> Path:
        """Return a shelved blob."""
        return self.folder / "shelf" / digest.hex

    def shelve(self, content: bytes) -> Digest:
        """Put a blob on the shelf."""
        digest = Digest.of(content)
        self.blob(digest).parent.mkdir(exist_ok=True, parents=True)
        self.blob(digest).write_bytes(content)
        return digest

    def release(self, content: bytes, **artifacts: bytes) -> Release:
        """Return a release of that model file and further artifacts, all on the shelf."""
        files = {MODEL_ARTIFACT: content, **{f"{name}.txt": text for name, text in artifacts.items()}}
        return Release(
            manifest=Manifest(
                model=self.model,
                artifacts=tuple(
                    Artifact(name=name, digest=self.shelve(text), size_bytes=len(text))
                    for name, text in files.items()
                ),
            )
        )

    def order(self, release: Release, **spec: object) -> Order:
        """Return the order to deploy a release, without samples to try it with."""
        return Order(release=release, spec=DeploySpec(**spec), probe=None)  # type: ignore[arg-type]

    def back(self, to: str | None = None, **spec: object) -> Return:
        """Return the order to roll back."""
        return Return(model=self.model, spec=DeploySpec(**spec), to=to)  # type: ignore[arg-type]

    def ends(self, **more: object) -> Ends:
        """Return the ends of a deployment on this fleet."""
        given: dict[str, object] = {
            "connect": self.connect,
            "emit": self.events.append,
            "blob": self.blob,
            "runtime_for": no_runtime,
            "agree": lambda *_: "",
            "sleep": lambda _: None,
            **more,
        }
        return Ends(**given)  # type: ignore[arg-type]

    def current(self, name: str) -> bytes | None:
        """Return what an application on the host would read."""
        path = self.root(name) / "current" / MODEL_ARTIFACT
        return path.read_bytes() if path.exists() else None


def no_runtime(host: Host, _facts: Facts) -> Runtime:
    """Refuse: these devices have no runtime."""
    raise HostError("no runtime is installed for this board", where=host.name)


@pytest.fixture
def fleet(tmp_path: Path) -> Bench:
    """A fleet of real agents in a temporary folder."""
    return Bench(tmp_path)


MakeFleet = Callable[[], Bench]

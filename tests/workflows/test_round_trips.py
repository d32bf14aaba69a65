"""How often a deployment waits for its device: each wait is a round trip of the link, and the far devices have long ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pytest

from ota.core.connection import Connection
from ota.core.host_state import HostState
from ota.core.inventory import Host
from ota.core.playbook import HealthCheck
from ota.core.protocol import BlobKind
from ota.core.release import MODEL_ARTIFACT
from ota.remote import local, requests
from ota.remote.device import Device
from ota.remote.transport import Channel, Transport
from ota.store import Store
from ota.workflows.deploy_host import deploy_host
from ota.workflows.heads import JournalMemory
from ota.workflows.rollback_host import rollback_host
from tests.workflows.conftest import NEW, OLD, Bench
from tests.workflows.test_deploy_load_check import GOOD, ONES


class CountingChannel:
    """A channel that counts the reads behind a write."""

    def __init__(self, channel: Channel, waits: list[int]) -> None:
        self._channel = channel
        self._waits = waits
        self._written = False

    def write(self, data: bytes | memoryview) -> None:
        """Send, so that the next read is a wait."""
        self._written = True
        self._channel.write(data)

    def read_line(self, limit: int) -> bytes:
        """Read, and count a wait."""
        self._waits[0] += self._written
        self._written = False
        return self._channel.read_line(limit)

    def __getattr__(self, name: str) -> object:
        return getattr(self._channel, name)


class CountingTransport:
    """A transport whose channels count."""

    def __init__(self, transport: Transport, waits: list[int]) -> None:
        self._transport = transport
        self._waits = waits

    def open(self, argv: Sequence[str]) -> object:
        """Start a command."""
        return CountingChannel(self._transport.open(argv), self._waits)

    @property
    def round_trip_s(self) -> float:
        """None at all."""
        return 0.0

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()


def counted(fleet: Bench, waits: list[int]) -> Callable[[Host], AbstractContextManager[Device]]:
    """Return a way to open the fleet's devices as `ota deploy` does, counting."""

    def connect(host: Host) -> Device:
        transport = local.connect(host, Connection(kind="local", address="x"))
        return Device.open(
            host,
            CountingTransport(transport, waits),  # type: ignore[arg-type]
            model=fleet.model,
            root=str(fleet.root(host.name)),
            python=fleet.python,
        )

    return connect


@pytest.mark.parametrize(
    ("artifacts", "spec", "most"),
    [
        ({}, {}, 3),
        ({"labels": b"a\nb\n", "notes": b"none"}, {}, 3),
        ({}, {"after": ("true",), "health_check": HealthCheck(command="true")}, 6),
    ],
    ids=["a file", "three files", "commands"],
)
def test_a_deployment_waits_so_often(
    artifacts: dict[str, bytes], spec: dict[str, object], most: int, fleet: Bench
) -> None:
    """A look; the files, the staging, the activation and the read-back; the confirmation, with what is removed then, and the journal.

    The agent is there already. Each command is one wait more, and what was read back is asked for behind the last of them.
    """
    fleet.deploy(OLD)
    waits = [0]
    order = fleet.order(fleet.release(NEW, **artifacts), **spec)
    with Store.open(fleet.folder / "store") as store:
        memory = JournalMemory(heads=store.heads, now=lambda: "2026-01-01T00:00:00+00:00")
        ends = fleet.ends(connect=counted(fleet, waits), journals=memory)
        outcome = deploy_host(fleet.host("a"), order, ends)
        assert outcome.state is HostState.CONFIRMED, outcome.reason
        assert store.heads.get("a", str(fleet.root("a"))) is not None
    assert fleet.current() == NEW
    assert waits[0] == most


@pytest.mark.parametrize("known", [False, True], ids=["new samples", "samples that are there"])
def test_a_load_check_is_one_wait_more(fleet: Bench, *, known: bool) -> None:
    """The model is tried in the flight that brings it; what it answers is looked at here before it is activated."""
    fleet.provision()
    model, samples = GOOD, fleet.shelve(ONES)
    fleet.deploy(OLD)
    if known:
        with fleet.connect(fleet.host("a")) as device:
            device.put(BlobKind.DATASET, samples, fleet.blob(samples))
    waits = [0]
    order = fleet.order(fleet.release(model), probe=samples)
    outcome = deploy_host(fleet.host("a"), order, fleet.ends(connect=counted(fleet, waits)))
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert any(detail.startswith("2 samples") for detail in fleet.told("ok"))
    assert waits[0] == 4


def test_a_rollback_waits_three_times(fleet: Bench) -> None:
    """A look, the switch with what was read back, the confirmation; no byte of a model."""
    fleet.deploy(OLD)
    fleet.deploy(NEW)
    waits = [0]
    outcome = rollback_host(fleet.host("a"), fleet.back(), fleet.ends(connect=counted(fleet, waits)))
    assert (outcome.state, outcome.bytes_sent) == (HostState.CONFIRMED, 0)
    assert fleet.current() == OLD
    assert waits[0] == 3


def test_a_host_that_is_up_to_date_is_asked_once(fleet: Bench) -> None:
    """What is looked at says so."""
    fleet.deploy(NEW)
    waits = [0]
    order = fleet.order(fleet.release(NEW))
    outcome = deploy_host(fleet.host("a"), order, fleet.ends(connect=counted(fleet, waits)))
    assert (outcome.state, outcome.changed) == (HostState.CONFIRMED, False)
    assert waits[0] == 1


def test_an_agent_that_has_to_be_sent_costs_one_wait_more(fleet: Bench) -> None:
    """What was asked before anybody knew is asked again behind it."""
    waits = [0]
    order = fleet.order(fleet.release(NEW))
    outcome = deploy_host(fleet.host("a"), order, fleet.ends(connect=counted(fleet, waits)))
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert waits[0] == 4


def test_only_what_matters_is_read_back(fleet: Bench) -> None:
    """The release that comes and the current one; of another one its manifest's word is taken, and a look at everything tells that it is false."""
    for content in (OLD, NEW):
        assert fleet.deploy(content).state is HostState.CONFIRMED
    old, new = fleet.release(OLD), fleet.release(NEW)
    model = fleet.root("a") / "releases" / old.id / MODEL_ARTIFACT
    model.unlink()
    model.write_bytes(b"rot")
    with fleet.connect(fleet.host("a")) as device:
        for read in (new.id, "0" * 16):
            slot = device.ask(requests.slot(read))
            assert {held.id: held.intact for held in slot.releases} == {old.id: None, new.id: True}
            assert {held.model_digest for held in slot.releases} == {old.model.digest, new.model.digest}
            assert slot.current_digest == new.model.digest
        whole = device.slot()
        assert {held.id: held.intact for held in whole.releases} == {old.id: False, new.id: True}
        assert device.ask(requests.slot(old.id)) == whole

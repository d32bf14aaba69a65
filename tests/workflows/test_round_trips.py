"""How often a deployment waits for its device: each wait is a round trip of the link, and the far devices have long ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pytest

from ota.core.connection import Connection
from ota.core.host_state import HostState
from ota.core.inventory import Host
from ota.remote import local
from ota.remote.device import Device
from ota.remote.transport import Channel, Transport
from ota.workflows.deploy_host import deploy_host
from ota.workflows.journalling import noting
from tests.workflows.conftest import NEW, OLD, Bench


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

    return noting(connect, lambda _: None)


@pytest.mark.parametrize(("artifacts", "most"), [({}, 10), ({"labels": b"a\nb\n"}, 12)])
def test_a_deployment_waits_so_often(artifacts: dict[str, bytes], most: int, fleet: Bench) -> None:
    """Slot, held, ready, two for each file, stage, activate, slot, confirm, prune; the agent is there already."""
    fleet.deploy(OLD)
    waits = [0]
    order = fleet.order(fleet.release(NEW, **artifacts))
    outcome = deploy_host(fleet.host("a"), order, fleet.ends(connect=counted(fleet, waits)))
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert fleet.current() == NEW
    assert waits[0] <= most


def test_a_host_that_is_up_to_date_is_asked_once(fleet: Bench) -> None:
    """What the journal notes of it is what is looked at."""
    fleet.deploy(NEW)
    waits = [0]
    order = fleet.order(fleet.release(NEW))
    outcome = deploy_host(fleet.host("a"), order, fleet.ends(connect=counted(fleet, waits)))
    assert (outcome.state, outcome.changed) == (HostState.CONFIRMED, False)
    assert waits[0] == 1

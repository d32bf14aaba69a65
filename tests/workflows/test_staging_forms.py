"""A deployment sends the form of a model that is there first: over a slow link the difference to a release that the device holds, else the file compressed, near by the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ota.core.events import StepFinished
from ota.core.host_state import HostOutcome, HostState
from ota.core.release import Digest
from ota.core.wire import Timed
from ota.deltas.encodings import Encodings
from ota.workflows.crossings import Crossings
from ota.workflows.deploy_host import deploy_host
from ota.workflows.rollback_host import rollback_host
from tests.deltas.test_encode import changed
from tests.workflows.conftest import Bench

OLD = b"....TFL3" + np.random.RandomState(1).normal(0, 30, 400_000).astype("i1").tobytes()
NEW = OLD[:8] + changed(OLD[8:], 0.02)
SLOW, FAST = 10e3, 50e6


class Shelf:
    """Encodings by their keys, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def get(self, key: str) -> Path | None:
        """Return what is kept."""
        path = self._folder / Digest.of(key.encode()).hex
        return path if path.is_file() else None

    def put(self, key: str, content: bytes) -> Path:
        """Keep it."""
        path = self._folder / Digest.of(key.encode()).hex
        path.write_bytes(content)
        return path


class Known:
    """One speed for all hosts, None: nobody timed them; and what is to be remembered."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._timed = None if bytes_per_s is None else Timed(size_bytes=int(bytes_per_s), seconds=1.0)
        self.learnt: dict[str, Timed] = {}

    def speed(self, host: str) -> Timed | None:
        """Return the speed."""
        del host
        return self._timed

    def put_speeds(self, timed: Mapping[str, Timed]) -> None:
        """Remember."""
        self.learnt.update(timed)


def deploy(fleet: Bench, content: bytes, speed: float | None) -> HostOutcome:
    """Deploy over a link of which it is known how many bytes a second it takes."""
    shelf = Shelf(fleet.folder / f"shelf-{len(fleet.opened)}")
    ends = fleet.ends(crossings=Crossings(Encodings(fleet.blob, shelf), Known(speed)))
    return deploy_host(fleet.host("a"), fleet.order(fleet.release(content)), ends)


def test_an_update_over_a_slow_link_is_the_difference(fleet: Bench) -> None:
    """The first release comes compressed, the second as its difference to it, a twentieth of the file; both are confirmed by their digest."""
    first = deploy(fleet, OLD, SLOW)
    second = deploy(fleet, NEW, SLOW)
    assert (first.state, second.state) == (HostState.CONFIRMED, HostState.CONFIRMED)
    assert len(OLD) / 2 < first.bytes_sent < len(OLD)
    assert second.bytes_sent < len(NEW) / 20
    assert (second.digest, fleet.current()) == (Digest.of(NEW), NEW)
    told = [
        event.detail for event in fleet.events if isinstance(event, StepFinished) and event.step == "transfer"
    ]
    assert told[0].endswith(", compressed")
    assert told[1] == f"model.tflite, {second.bytes_sent} bytes, the difference to {Digest.of(OLD).short}"


@pytest.mark.parametrize("speed", [FAST, None], ids=["measured", "by its round trip"])
def test_near_by_the_file_is_sent_as_it_is(fleet: Bench, speed: float | None) -> None:
    """Where the file crosses in a moment nothing is encoded: that would take longer."""
    deploy(fleet, OLD, speed)
    assert deploy(fleet, NEW, speed).bytes_sent == len(NEW)


def test_a_base_that_was_changed_on_the_device_is_not_built_upon(fleet: Bench) -> None:
    """A release whose model was damaged there is no base; the update comes by another form, and is whole."""
    deploy(fleet, OLD, SLOW)
    for path in fleet.root("a").glob("releases/*/model.tflite"):
        path.write_bytes(OLD[:-1])
    for path in fleet.root("a").glob("candidates/*"):
        path.unlink()
    outcome = deploy(fleet, NEW, SLOW)
    assert (outcome.state, fleet.current()) == (HostState.CONFIRMED, NEW)
    assert outcome.bytes_sent > len(NEW) / 2


def test_a_rollback_after_a_difference_sends_nothing(fleet: Bench) -> None:
    """The release that was made of a difference is as whole as any, and so is the one before it."""
    deploy(fleet, OLD, SLOW)
    deploy(fleet, NEW, SLOW)
    back = rollback_host(fleet.host("a"), fleet.back(), fleet.ends())
    assert (back.state, back.bytes_sent, fleet.current()) == (HostState.CONFIRMED, 0, OLD)
    assert deploy(fleet, NEW, SLOW).bytes_sent == 0

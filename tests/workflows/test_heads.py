"""Journals of real agents, noted at each contact: what was cut or rewritten since is told, and taken as it is only by a person's word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ota.core.host_state import HostState
from ota.core.host_status import drift
from ota.errors import HostError
from ota.remote.device import Device
from ota.remote.executor import ThreadExecutor
from ota.store import Store
from ota.workflows.deploy_host import check_host, deploy_host
from ota.workflows.heads import JournalMemory
from ota.workflows.rollback_host import rollback_host
from ota.workflows.status import status
from tests.workflows.conftest import NEW, OLD, Bench

WHEN = "2026-01-01T00:00:00+00:00"
Lines = list[bytes]


class Watched:
    """A device whose journal a store remembers."""

    def __init__(self, fleet: Bench, store: Store) -> None:
        self.fleet = fleet
        self.store = store
        self.told: list[str] = []

    def memory(self, *, accept: bool = False) -> JournalMemory:
        """Return what is known of the journal."""
        return JournalMemory(heads=self.store.heads, now=lambda: WHEN, accept=accept)

    def deploy(self, content: bytes) -> HostState:
        """Deploy as the command does: the device is left with its journal noted."""
        told = len(self.fleet.warnings())
        ends = self.fleet.ends(journals=self.memory())
        order = self.fleet.order(self.fleet.release(content))
        state = deploy_host(self.fleet.host("a"), order, ends).state
        self.told += [f"a: {message}" for message in self.fleet.warnings()[told:]]
        return state

    def found(self, *, accept: bool = False) -> str:
        """Return what a verification finds."""
        (one,) = status(
            [self.fleet.host("a")],
            {},
            model=self.fleet.model,
            connect=self.fleet.connect,
            executor=ThreadExecutor(),
            forks=1,
            verify=self.memory(accept=accept),
        )
        return drift(one)

    @property
    def journal(self) -> Path:
        """The journal on the device."""
        return self.fleet.root("a") / "journal.jsonl"

    def lines(self) -> Lines:
        """Return its lines."""
        return self.journal.read_bytes().splitlines()


@pytest.fixture
def device(fleet: Bench, tmp_path: Path) -> Iterator[Watched]:
    """Return a device that runs NEW after OLD, both through a controller that noted its journal."""
    with Store.open(tmp_path / "store") as store:
        watched = Watched(fleet, store)
        for content in (OLD, NEW):
            assert watched.deploy(content) is HostState.CONFIRMED
        yield watched


def chained(lines: Lines) -> bytes:
    """Return lines as a journal whose chain holds, as whoever has the device can write it."""
    before, made = b"", b""
    for line in lines:
        told = json.loads(line)
        told["prev"] = hashlib.sha256(before).hexdigest() if before else "0" * 64
        before = json.dumps(told, sort_keys=True).encode()
        made += before + b"\n"
    return made


CUT = "its journal was cut: 6 lines were noted at " + WHEN
REWRITTEN = "its journal was rewritten: line 6 is not the one that was noted at " + WHEN
TAMPERED: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "the last line gone": (lambda lines: lines[:-1], f"{CUT}, 5 are there"),
    "one from the middle gone": (lambda lines: [*lines[:2], *lines[3:]], f"{CUT}, 5 are there"),
    "another action": (lambda lines: [lines[0].replace(b"stage", b"prune"), *lines[1:]], REWRITTEN),
    "another action, and more": (
        lambda lines: [lines[0].replace(b"stage", b"prune"), *lines[1:], lines[-1]],
        REWRITTEN,
    ),
    "all gone": (lambda _: [], f"{CUT}, 0 are there"),
}


@pytest.mark.parametrize(("tamper", "said"), TAMPERED.values(), ids=TAMPERED)
def test_what_was_taken_or_rewritten_is_told(
    device: Watched, tamper: Callable[[Lines], Lines], said: str
) -> None:
    """Though its chain holds, at every contact, until a person takes it as it is; then further lines are no fault."""
    assert device.found() == ""
    assert len(device.lines()) == 6
    device.journal.write_bytes(chained(tamper(device.lines())))
    assert device.found() == said
    assert device.deploy(OLD) is HostState.CONFIRMED
    assert len(device.told) == 1
    assert device.told[0].startswith("a: its journal was ")
    assert device.told[0].endswith("ota verify --accept-journals takes it as it is")
    assert device.found().startswith("its journal was ")
    assert device.found(accept=True) == ""
    assert device.deploy(NEW) is HostState.CONFIRMED
    assert device.found() == ""
    assert len(device.told) == 1


def test_a_journal_that_is_as_it_was_is_not_noted_again(device: Watched, fleet: Bench) -> None:
    """What was noted keeps the time at which the journal was first seen so, and the store is not written for each host that is up to date."""
    root = str(fleet.root("a"))
    noted = device.store.heads.get("a", root)
    assert noted is not None
    later = JournalMemory(heads=device.store.heads, now=lambda: "2030-01-01T00:00:00+00:00")
    with fleet.connect(fleet.host("a")) as opened:
        assert later.compare(opened, opened.journal(noted.lines)) == ""
    assert device.store.heads.get("a", root) == noted


def test_a_whole_journal_that_grew_is_no_fault(device: Watched, fleet: Bench) -> None:
    """Whatever others added since: another controller, the device itself."""
    assert fleet.deploy(OLD).state is HostState.CONFIRMED
    assert fleet.rollback().state is HostState.CONFIRMED
    assert len(device.lines()) > 6
    assert device.found() == ""
    assert device.told == []


def test_a_chain_that_is_broken_is_not_noted(device: Watched) -> None:
    """It is told by its own error, and accepting it makes it no better."""
    lines = device.lines()
    device.journal.write_bytes(b"\n".join([lines[0].replace(b"stage", b"prune"), *lines[1:]]) + b"\n")
    fault = "its journal was changed before line 2 of 6"
    assert device.found() == fault
    assert device.found(accept=True) == fault


def test_what_a_cut_tore_is_as_it_was_noted(device: Watched) -> None:
    """Half a line at the end was not there at the contact, and is closed by the next."""
    with device.journal.open("ab") as file:
        file.write(b'{"action": "sta')
    assert device.found() == ""
    assert device.deploy(OLD) is HostState.CONFIRMED
    assert device.found() == ""


def test_a_journal_that_was_never_met_is_no_fault(fleet: Bench, tmp_path: Path) -> None:
    """What another project deployed before is noted as it is."""
    assert fleet.deploy(OLD).state is HostState.CONFIRMED
    with Store.open(tmp_path / "store") as store:
        watched = Watched(fleet, store)
        assert watched.found() == ""
        watched.journal.write_bytes(b"")
        assert watched.found() == f"its journal was cut: 3 lines were noted at {WHEN}, 0 are there"


def test_only_a_device_within_reach_is_left(fleet: Bench) -> None:
    """A rollback and a look are contacts too; one that is out of reach is not asked again, and what it does not answer is told by its job alone."""
    left: list[str] = []

    class Memory:
        def lines(self, device: Device) -> int:  # noqa: ARG002 - as JournalMemory has it
            return 0

        def leave(self, device: Device, *_: object) -> None:
            left.append(type(device).__name__)

    ends = fleet.ends(journals=Memory())
    order = fleet.order(fleet.release(OLD))
    assert deploy_host(fleet.host("a"), order, ends).state is HostState.CONFIRMED
    assert rollback_host(fleet.host("a"), fleet.back(), ends).state is HostState.FAILED
    assert check_host(fleet.host("a"), order, ends).state is HostState.CONFIRMED
    assert left == ["Device"] * 2
    fleet.dead.add("a")
    assert deploy_host(fleet.host("a"), order, ends).state is HostState.UNREACHABLE
    assert len(left) == 2


def test_a_device_that_closed_is_left_in_peace(fleet: Bench, tmp_path: Path) -> None:
    """Nothing is noted, and nothing raised."""
    assert fleet.deploy(OLD).state is HostState.CONFIRMED
    with Store.open(tmp_path / "store") as store:
        watched = Watched(fleet, store)
        with fleet.connect(fleet.host("a")) as device:
            assert device.root == str(fleet.root("a"))
            device.close()
            watched.memory().leave(device, lambda *_: pytest.fail("told"))
            with pytest.raises(HostError):
                device.journal()
            assert store.heads.get("a", device.root) is None

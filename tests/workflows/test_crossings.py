"""How the files of a play cross: the form by what is known of the links and by how many still wait, and what transfers that share the way out tell."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import pytest

from ota.core.host_state import HostState
from ota.core.release import Artifact, Digest
from ota.core.wire import Crossing, Encoding, Timed
from ota.remote.answers import Transfer
from ota.workflows.crossings import Crossings, Outgoing
from ota.workflows.deploy_host import deploy_host
from tests.workflows.conftest import Bench

MB = 1_000_000
MODEL = Digest.of(b"model")
FORM = Encoding(path=PurePath("x"), digest=Digest.of(b"form"), size_bytes=40_000, base=None)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


class Memory:
    """Speeds by host."""

    def __init__(self, **known: Timed) -> None:
        self.known = known

    def speed(self, host: str) -> Timed | None:
        """Return what is known."""
        return self.known.get(host)

    def put_speeds(self, timed: Mapping[str, Timed]) -> None:
        """Remember."""
        self.known.update(timed)


class Encoder:
    """Has one form of everything; keeps what it was asked with."""

    def __init__(self) -> None:
        self.asked: list[Crossing] = []

    def __call__(self, digest: Digest, bases: Sequence[Digest], crossing: Crossing) -> tuple[Encoding, ...]:
        """Return the form."""
        del digest, bases
        self.asked.append(crossing)
        return (FORM,)


def sending(clock: Clock, sent: int, seconds: float, form: Encoding | None = None) -> Transfer:
    """Let a transfer take its time."""
    clock.now += seconds
    return Transfer(bytes_sent=sent, seconds=seconds, form=form)


def test_sharers_are_counted_over_a_transfer() -> None:
    """Two hosts, the second from the middle of the first's transfer on, with two files at once: each is told how many hosts there were while it lasted."""
    clock = Clock()
    outgoing = Outgoing(clock)
    clock.now += 50
    with outgoing.transfer("a") as first:
        clock.now += 2
        assert first() == pytest.approx(1.0)
        with outgoing.transfer("b") as second, outgoing.transfer("b"):
            clock.now += 2
            assert (first(), second()) == (pytest.approx(1.5), pytest.approx(2.0))
        clock.now += 4
        assert first() == pytest.approx(1.25)


def test_a_long_transfer_tells_of_the_link_and_the_next_play_knows() -> None:
    """What it took is remembered with its sharers, less about what decoding took; a short one and none tell nothing."""
    clock, memory = Clock(), Memory()
    crossings = Crossings(speeds=memory, outgoing=Outgoing(clock))
    crossings.timed("a", MB, lambda: sending(clock, MB, 8.0))
    crossings.timed("b", 3 * MB, lambda: sending(clock, MB, 8.0, FORM))
    crossings.timed("c", MB, lambda: sending(clock, 1000, 8.0))
    crossings.timed("d", MB, lambda: sending(clock, 0, 0.0))
    assert memory.known == {}
    crossings.keep()
    assert memory.known == {
        "a": Timed(size_bytes=MB, seconds=8.0, sharers=1.0),
        "b": Timed(size_bytes=MB, seconds=7.0, sharers=1.0),
    }


def test_a_fleet_that_shared_the_way_out_is_not_taken_for_slow_lines() -> None:
    """20 devices at once at 50 kB/s each: for one alone that is a fast link, for the 20 again it is what it was."""
    timed = Timed(size_bytes=MB, seconds=20.0, sharers=20.0)
    encoder = Encoder()
    alone = Crossings(encoder, Memory(a=timed))
    assert alone.forms("a", MODEL, MB // 4, [], 0.2) == ()
    together = Crossings(encoder, Memory(a=timed))
    together.expect({MODEL: 20}, 20)
    assert together.forms("a", MODEL, MB // 4, [], 0.2) == (FORM,)
    assert [asked.link.bytes_per_s for asked in encoder.asked] == [50e3]


def test_a_link_that_nobody_timed_is_taken_by_its_round_trip() -> None:
    """Far away the forms are asked for, near by not."""
    encoder = Encoder()
    crossings = Crossings(encoder, Memory())
    assert crossings.forms("a", MODEL, MB, [], 0.001) == ()
    assert crossings.forms("a", MODEL, MB, [], 0.3) == (FORM,)
    assert len(encoder.asked) == 1


def test_a_form_counts_for_those_that_still_wait() -> None:
    """Of 50 hosts, 20 at once, the first three turns lie before the first host, one before the last; who asks again is no other host."""
    encoder = Encoder()
    crossings = Crossings(encoder, Memory())
    crossings.expect({MODEL: 50, FORM.digest: 1}, 20)
    for number in range(50):
        crossings.forms(f"host{number}", MODEL, MB, [], 0.3)
    crossings.forms("host49", MODEL, MB, [], 0.3)
    crossings.forms("other", FORM.digest, MB, [], 0.3)
    turns = [asked.turns for asked in encoder.asked]
    assert turns == [3] * 10 + [2] * 20 + [1] * 22


def test_a_watched_transfer_tells_as_a_timed_one_does() -> None:
    """From its first byte to the answer; one that begins anew counts once, and one that never ends shares the way no more when it is closed."""
    clock, memory = Clock(), Memory()
    outgoing = Outgoing(clock)
    crossings = Crossings(speeds=memory, outgoing=outgoing)
    lost, watch = (crossings.watch(host, 1 << 20, None) for host in ("lost", "pi"))
    lost.begin()
    watch.begin()
    watch.begin()
    clock.now += 2
    lost.close()
    clock.now += 2
    watch.end(1 << 20)
    crossings.keep()
    assert list(memory.known) == ["pi"]
    assert memory.known["pi"].size_bytes == 1 << 20
    assert memory.known["pi"].sharers == pytest.approx(1.5)
    with outgoing.transfer("new") as alone:
        clock.now += 1
        assert alone() == pytest.approx(1.0)


def test_a_deployment_tells_how_fast_its_host_is_reached(fleet: Bench) -> None:
    """In one flight with all the rest."""
    memory = Memory()
    crossings = Crossings(speeds=memory)
    content = b"....TFL3" + os.urandom(1 << 20)
    order = fleet.order(fleet.release(content))
    assert deploy_host(fleet.host("a"), order, fleet.ends(crossings=crossings)).state is HostState.CONFIRMED
    crossings.keep()
    assert memory.known["a"].size_bytes == len(content)
    assert memory.known["a"].seconds > 0


def models(*hosts: str) -> dict[str, Artifact]:
    """Return the model of each host."""
    return {host: Artifact(name="model.tflite", digest=MODEL, size_bytes=MB) for host in hosts}


def ended() -> None:
    """Wait for what makes forms ahead."""
    for thread in threading.enumerate():
        if thread.name == "ota-forms":
            thread.join(20)


def test_forms_for_far_hosts_are_made_while_they_are_signed_in_to() -> None:
    """Only for who is known to be slow and runs something else; equal pairs once; hosts of a later turn wait for theirs."""
    slow, fast = Timed(size_bytes=MB, seconds=10.0), Timed(size_bytes=MB, seconds=0.1)
    encoder, base = Encoder(), Digest.of(b"base")
    known = Memory(far=slow, there=slow, near=fast, also=slow, last=slow)
    crossings = Crossings(encoder, known)
    crossings.expect({MODEL: 9}, 3)
    crossings.begin(models("near", "new", "far", "there", "also", "last"), lambda: {"far": base, "there": MODEL, "also": base, "last": MODEL})  # fmt: skip
    ended()
    assert [(asked.size_bytes, asked.turns, asked.link.bytes_per_s) for asked in encoder.asked] == [(MB, 3, 100e3)]  # fmt: skip


def test_nobody_far_away_costs_nothing() -> None:
    """What hosts run is not even looked up."""
    crossings = Crossings(Encoder(), Memory(near=Timed(size_bytes=MB, seconds=0.1)))
    crossings.begin(models("near", "new"), lambda: pytest.fail("it was looked up"))

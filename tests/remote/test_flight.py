"""Requests in one flight, to a real agent: what a refusal stops, and that bytes which came along are read whatever becomes of their request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ota.core.protocol import BlobKind
from ota.core.release import Digest
from ota.core.wire import Encoding
from ota.deltas import encode
from ota.errors import CommandEndedError, UnreachableError
from ota.remote import requests
from ota.remote.bootstrap import agent_zip, bootstrap_argv
from ota.remote.dialogue import SKIPPED, RefusedError
from ota.remote.requests import Along, Asking
from tests.remote.test_device import blob, open_device, release

CONTENT = os.urandom(700_000)


def along(path: Path, length: int | None = None) -> Along:
    """Return a file as it goes out."""
    size = path.stat().st_size if length is None else length
    return Along(path=path, length=size, on_progress=lambda _done, _total: None)


def bring(path: Path, form: Encoding | None = None, size: int | None = None) -> Asking[int]:
    """Return the request that brings a candidate, of that size, in that form."""
    file = along(path if form is None else Path(form.path))
    return requests.bring(
        BlobKind.CANDIDATE, Digest(path.name), path.stat().st_size if size is None else size, file, form
    )


def test_a_release_comes_and_is_staged_in_one_flight(tmp_path: Path) -> None:
    """Answers are told in their order, as they come."""
    _, path = blob(tmp_path, CONTENT)
    told: list[object] = []
    with open_device(tmp_path / "root") as device:
        flight = device.flight()
        flight.add(bring(path), told=told.append)
        flight.add(requests.stage(release(CONTENT), ()), told=told.append)
        slot = flight.add(requests.slot())
        assert not flight.is_out
        flight.go()
        assert flight.is_out
        assert told == [len(CONTENT), True]
        assert [held.intact for held in slot.value.releases] == [True]


def test_what_stands_behind_a_refusal_is_not_carried_out(tmp_path: Path) -> None:
    """But for requests that stand for themselves; and the next flight is a new one."""
    _, path = blob(tmp_path, CONTENT)
    with open_device(tmp_path / "root") as device:
        flight = device.flight()
        refused = flight.add(requests.stage(release(b"another"), ()))
        skipped = [flight.add(bring(path)), flight.add(requests.confirm("0" * 16))]
        alone = flight.add(requests.held(BlobKind.CANDIDATE, [Digest(path.name)]), then=False)
        behind = flight.add(requests.slot())
        flight.go()
        assert refused.refused is not None
        assert refused.refused.code == "missing"
        assert [reply.refused is not None and reply.refused.code for reply in skipped] == [SKIPPED] * 2
        assert alone.value.whole == frozenset()
        assert behind.value.releases == ()
        with pytest.raises(RefusedError, match="what was asked for before it was not carried out"):
            _ = skipped[0].value
        assert device.ask(bring(path)) == len(CONTENT)
        assert device.ask(bring(path)) == 0


@pytest.mark.parametrize("what", ["another request", "a damaged file", "a fault of the disk"])
def test_bytes_that_came_along_are_read_whatever_becomes_of_them(what: str, tmp_path: Path) -> None:
    """The request behind them is understood."""
    _, path = blob(tmp_path, CONTENT)
    asking = bring(path)
    if what == "another request":
        asking = Asking(op="nonsense", read=asking.read, along=asking.along)
    elif what == "a damaged file":
        path.write_bytes(CONTENT[::-1])
    else:
        (tmp_path / "root").mkdir()
        (tmp_path / "root" / "candidates").write_bytes(b"in the way")
    with open_device(tmp_path / "root") as device:
        flight = device.flight()
        reply = flight.add(asking)
        after = flight.add(requests.slot(), then=False)
        flight.go()
        assert reply.refused is not None
        assert after.value.releases == ()


def test_a_transfer_that_was_cut_is_not_begun_anew(tmp_path: Path) -> None:
    """What is there of it is told by the look; what comes unasked from the beginning is refused, and goes on as the device asks."""
    digest, path = blob(tmp_path, CONTENT)
    begun = tmp_path / "root" / "candidates" / f"{digest.hex}.partial"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(CONTENT[:300_000])
    with open_device(tmp_path / "root") as device:
        assert device.ask(requests.held(BlobKind.CANDIDATE, [digest])).begun == {digest}
        with pytest.raises(RefusedError) as raised:
            device.ask(bring(path))
        assert raised.value.code == "unsent"
        assert begun.stat().st_size == 300_000
        assert device.put(BlobKind.CANDIDATE, digest, path).bytes_sent == 400_000
        assert device.ask(requests.held(BlobKind.CANDIDATE, [digest])).begun == frozenset()


def test_an_encoding_comes_along(tmp_path: Path) -> None:
    """One whose base is there; one whose base is gone, or that makes another file, is refused, and nothing has that file's name."""
    base = bytes(range(256)) * 400
    model = base[:50_000] + b"new" + base[50_003:]
    digest, path = blob(tmp_path, model)
    _, old = blob(tmp_path, base)

    def form(content: bytes, of: Digest | None) -> Encoding:
        made, file = blob(tmp_path, content)
        return Encoding(path=file, digest=made, size_bytes=len(content), base=of)

    with open_device(tmp_path / "root") as device:
        difference = form(encode.delta(model, base), Digest.of(base))
        for wrong in (difference, form(encode.packed(base), None)):
            with pytest.raises(RefusedError) as raised:
                device.ask(bring(path, wrong))
            assert raised.value.code == "unsent"
            assert digest not in device.held([(BlobKind.CANDIDATE, digest)])
        device.ask(bring(old))
        assert device.ask(bring(path, difference)) == difference.size_bytes
        assert digest in device.held([(BlobKind.CANDIDATE, digest)])


def test_a_file_that_shrinks_while_it_is_sent_is_our_own_fault(tmp_path: Path) -> None:
    """It is no fault of the device, and the flight ends there."""
    _, path = blob(tmp_path, CONTENT)
    asking = requests.bring(
        BlobKind.CANDIDATE, Digest(path.name), len(CONTENT) + 1, along(path, len(CONTENT) + 1), None
    )
    with open_device(tmp_path / "root") as device, pytest.raises(OSError, match="became shorter"):
        device.ask(asking)


def test_a_line_that_is_lost_in_a_flight_tells_how_far_it_may_have_gone(tmp_path: Path) -> None:
    """While a file is under way what stands behind it cannot have been carried out; what came of the file stays, and is taken up."""
    _, path = blob(tmp_path, CONTENT * 20)
    with open_device(tmp_path / "root") as device:
        device.slot()
        flight = device.flight()

        def cut(done: int, _total: int) -> None:
            if done > len(CONTENT) * 10:
                device.close()

        file = Along(path=path, length=path.stat().st_size, on_progress=cut)
        flight.add(requests.bring(BlobKind.CANDIDATE, Digest(path.name), file.length, file, None))
        confirmed = flight.add(requests.confirm("0" * 16))
        with pytest.raises((UnreachableError, CommandEndedError)):
            flight.go()
        assert not flight.is_out
        assert not confirmed.heard
    with open_device(tmp_path / "root") as device:
        sent = device.put(BlobKind.CANDIDATE, Digest(path.name), path).bytes_sent
    assert 0 < sent < path.stat().st_size


def raw(root: Path, *lines: bytes) -> tuple[list[dict[str, Any]], int]:
    """Say that to a real agent and leave; return what it answers, and its exit code."""
    argv = bootstrap_argv(sys.executable, str(root), keep=True)
    first = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, errors = first.communicate(b"ota-agent\n" + agent_zip() + b"".join(lines), timeout=60)
    assert errors == b""
    return [json.loads(line) for line in said.splitlines() if line.startswith(b"{")][1:], first.returncode


@pytest.mark.parametrize("follows", [-5, "many", [1], 10**30])
def test_a_count_that_is_none_ends_in_a_refusal_or_the_dialogue(follows: object, tmp_path: Path) -> None:
    """Nothing is raised, and nothing waits for bytes that never come."""
    request = {"op": "slot", "follows": follows}
    answers, code = raw(tmp_path, json.dumps(request).encode() + b"\n")
    assert len(answers) == 1
    assert code == 0

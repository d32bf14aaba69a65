"""Journals of rollouts: durable lines, torn and damaged ones, one process at a time, and the way into the database."""

from __future__ import annotations

import json
import os
import threading
import time
from hashlib import sha256
from pathlib import Path

import pytest

from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import OnFailure
from ota.core.release import Artifact, Digest, Manifest, Release
from ota.core.rollout import Wanted, WayBack
from ota.core.rollout_log import (
    BatchBegun,
    Begun,
    Ended,
    HostBegun,
    HostEnded,
    HostFound,
    HostReturned,
    Record,
    Returning,
    Stopped,
)
from ota.errors import ContentError, UsageError
from ota.store import Store

MODEL = Digest.of(b"model")
RELEASE = Release(
    manifest=Manifest(model="m", artifacts=(Artifact(name="model.tflite", digest=MODEL, size_bytes=5),))
)
NEW, OLD = RELEASE.id, "0123456789abcdef"


def begun(hosts: str = "ab", **more: object) -> Begun:
    """Return the plan of a rollout, one host a batch."""
    given: dict[str, object] = {
        "started": "2026-01-31T10:00:00+00:00",
        "play": "p",
        "model": "m",
        "selection": None,
        "spec": Digest.of(b"spec"),
        "probe": None,
        "batches": tuple((host,) for host in hosts),
        "max_fail_percentage": 0.0,
        "on_failure": OnFailure.ROLLBACK_ALL,
        "wanted": tuple(Wanted(host=host, release=NEW, digest=MODEL) for host in hosts),
        "manifests": (RELEASE.manifest,),
        **more,
    }
    return Begun(**given)  # type: ignore[arg-type]


def end(host: str, state: HostState = HostState.CONFIRMED, release: str | None = NEW, **more: object) -> HostOutcome:  # fmt: skip
    """Return how a host ended."""
    given: dict[str, object] = {"previous": OLD, "changed": True, "bytes_sent": 1, "digest": MODEL, **more}
    return HostOutcome(host=host, state=state, release=release, **given)  # type: ignore[arg-type]


STEPS: tuple[Record, ...] = (
    BatchBegun(number=1, hosts=("a",)),
    HostBegun(host="a"),
    HostFound(host="a", current=OLD),
    HostEnded(outcome=end("a")),
    BatchBegun(number=2, hosts=("b",)),
    HostBegun(host="b"),
    HostFound(host="b", current=None),
    HostEnded(outcome=end("b", HostState.FAILED, OLD, digest=None, reason="no")),
    Stopped(reason="batch 2 of 2: b did not make it, 100 % where at most 0 % may fail"),
    Returning(ways=(WayBack(host="a", release=OLD),)),
    HostReturned(outcome=end("a", HostState.UNREACHABLE, None, digest=None, reason="no route")),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a store."""
    return tmp_path / ".ota"


def written(folder: Path, *steps: Record) -> Path:
    """Write a journal and leave it, as a controller does that dies; return its file."""
    with Store.open(folder) as store:
        journal = store.journals.begin(begun())
        for step in steps:
            journal.note(step)
        journal.close()
    return folder / "rollouts" / f"{journal.id}.jsonl"


def test_what_was_noted_is_read_back(folder: Path) -> None:
    """After every record the standing that is read is the one that was written, and the whole ends as the pure rollout says."""
    for number in range(len(STEPS) + 1):
        path = written(folder, *STEPS[:number])
        with Store.open(folder) as store:
            journal = store.journals.take_up("")
            assert journal.id == "20260131-100000"
            assert journal.standing.begun == begun()
            told = {one.outcome.host for one in STEPS[:number] if isinstance(one, HostEnded)}
            assert {one.host for one in journal.standing.rollout.outcomes} == told
            journal.close()
        assert len(path.read_text().splitlines()) == number + 1
        path.unlink()


def test_a_rollout_that_ended_is_in_the_database_alone(folder: Path) -> None:
    """The journal is folded and removed; what could not be brought back is unknown, is to run its earlier release, and is owed to the next rollback."""
    with Store.open(folder) as store:
        journal = store.journals.begin(begun())
        for step in STEPS:
            journal.note(step)
        store.journals.end(journal, "stopped")
        assert not list((folder / "rollouts").iterdir())
        (rolled,) = store.rollouts()
        assert [one.state.value for one in rolled.outcomes] == ["unknown", "failed"]
        assert (store.expected("m"), store.owed("m")) == ({"a": OLD, "b": OLD}, {"a": OLD})
        journal = store.journals.begin(begun("a"))
        journal.note(HostEnded(outcome=end("a")))
        store.journals.end(journal, "")
        assert (store.expected("m")["a"], store.owed("m")) == (NEW, {})


def test_what_each_host_should_run_follows_the_journal(folder: Path) -> None:
    """While a rollout is under way the store expects what is confirmed, and the earlier release as soon as it returns; of a host never met, what it did before."""
    with Store.open(folder) as store:
        journal = store.journals.begin(begun("abc"))
        seen = []
        for step in (*STEPS[:4], STEPS[7], *STEPS[8:10]):
            journal.note(step)
            seen.append(store.expected("m").get("a"))
        assert seen == [None, None, None, NEW, NEW, NEW, OLD]
        gone = store.journals.begin(begun("c", play="q"))
        gone.note(HostEnded(outcome=end("c", HostState.UNREACHABLE, NEW, previous=None, changed=False)))
        assert "c" not in store.expected("m")


def test_a_controller_that_died_behind_the_last_record_is_folded_at_the_next_start(folder: Path) -> None:
    """An ended journal that is still there is folded when the store is opened, once."""
    path = written(folder, *STEPS, Ended(reason="stopped"))
    kept = path.read_bytes()
    for _ in range(2):
        with Store.open(folder) as store:
            assert len(store.rollouts()) == 1
        assert not path.exists()
        path.write_bytes(kept)


@pytest.mark.parametrize("keep", [0, 1, 40, -1])
def test_a_torn_last_record_is_cut_off(keep: int, folder: Path) -> None:
    """Whatever is left of the last line, the rollout stands where the line before left it, and the next record follows that."""
    path = written(folder, *STEPS[:4])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:keep])
    with Store.open(folder) as store:
        journal = store.journals.take_up("")
        assert not journal.standing.rollout.outcomes
        assert path.read_bytes() == b"".join(lines[:-1])
        journal.note(STEPS[3])
        journal.close()
    assert path.read_bytes() == b"".join(lines)


def test_a_rollout_torn_in_its_first_record_never_began(folder: Path) -> None:
    """Nothing was done before the plan was on the disk: there is nothing to take up."""
    path = written(folder)
    path.write_bytes(path.read_bytes()[:30])
    with Store.open(folder) as store:
        assert store.journals.unfinished() == ()
        with pytest.raises(UsageError, match="there is no unfinished rollout"):
            store.journals.take_up("")


def strange() -> bytes:
    """Return a whole line of a step that there is not."""
    text = json.dumps({"step": "danced"})
    return json.dumps({"check": sha256(text.encode()).hexdigest()[:16], "record": text}).encode() + b"\n"


DAMAGES = {
    "a letter changed": (lambda line: line.replace(b"a", b"e", 1), "its check does not fit"),
    "half a line": (lambda line: line[:20] + b"\n", "it is no record"),
    "another form": (lambda _: b"[]\n", "it is no record"),
    "not a text": (lambda _: b"\xff\xfe\n", "it is no record"),
    "an unknown step": (lambda _: strange(), "it is no record of a step that is known here"),
}


@pytest.mark.parametrize(("change", "problem"), DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("line", [1, 4, 5])
def test_a_damaged_record_in_the_middle_is_told_at_its_place(
    change: object, problem: str, line: int, folder: Path
) -> None:
    """Exit code 65, the file, the line and what to do; nothing is guessed, and nothing changed."""
    path = written(folder, *STEPS[:6])
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = change(lines[line - 1])  # type: ignore[operator]
    path.write_bytes(b"".join(lines))
    with Store.open(folder) as store:
        with pytest.raises(ContentError) as caught:
            store.journals.take_up("")
        assert f"{path}:{line}: the rollout's journal is damaged: {problem}" in caught.value.render()
        assert "remove the file and run ota deploy" in caught.value.render()
        assert store.journals.unfinished() == ()
    assert path.read_bytes() == b"".join(lines)


IMPOSSIBLE: dict[str, tuple[Record, str]] = {
    "a second beginning": (begun(), "nothing like this can follow here"),
    "a strange host": (HostBegun(host="z"), "z is not in its plan"),
    "a return that was not asked for": (HostReturned(outcome=end("a")), "a is not to go back"),
}


@pytest.mark.parametrize(("record", "problem"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_cannot_follow_is_refused_when_written(record: Record, problem: str, folder: Path) -> None:
    """A record that the rules do not allow is a slip, and nothing is written."""
    with Store.open(folder) as store:
        journal = store.journals.begin(begun())
        with pytest.raises(ValueError, match=problem):
            journal.note(record)
        assert not journal.standing.rollout.outcomes


def test_a_history_that_cannot_have_happened_is_damage(folder: Path) -> None:
    """Whole lines in an impossible order are told as damaged."""
    path = written(folder, *STEPS)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[-1], *lines[1:-1]]))
    with Store.open(folder) as store, pytest.raises(ContentError, match="a is not to go back"):
        store.journals.take_up("")


def test_one_process_at_a_time_has_a_journal(folder: Path) -> None:
    """A rollout under way is neither unfinished nor taken up by another; what its process left is."""
    with Store.open(folder) as first, Store.open(folder) as second:
        journal = first.journals.begin(begun())
        assert second.journals.unfinished() == ()
        with pytest.raises(UsageError, match="this rollout is under way in another ota"):
            second.journals.take_up("")
        journal.close()
        assert [name for name, _ in second.journals.unfinished()] == [journal.id]
        second.journals.take_up(journal.id[:8]).close()


def test_rollouts_that_begin_in_one_second_have_names_of_their_own(folder: Path) -> None:
    """The newest is taken up where none is named; a beginning that fits two is refused."""
    with Store.open(folder) as store:
        names = []
        for play in "pqr":
            journal = store.journals.begin(begun(play=play))
            names.append(journal.id)
            journal.close()
        assert names == ["20260131-100000", "20260131-100000-2", "20260131-100000-3"]
        with pytest.raises(UsageError, match="more than one unfinished rollout begins with 2026"):
            store.journals.take_up("2026")
        with pytest.raises(UsageError, match="no unfinished rollout is x"):
            store.journals.take_up("x")
        newest = store.journals.take_up("")
        assert (newest.id, newest.standing.begun.play) == (names[-1], "r")


def test_the_name_of_a_rollout_that_has_ended_is_not_given_again(folder: Path) -> None:
    """Two rollouts in one second, the first over before the second begins, are two in the history."""
    with Store.open(folder) as store:
        for _ in range(2):
            store.journals.end(store.journals.begin(begun()), "")
        assert len(store.rollouts()) == 2


def test_a_journal_that_cannot_be_written_says_so(folder: Path) -> None:
    """A file in the way of the folder is a UsageError with its path."""
    with Store.open(folder) as store:
        (folder / "rollouts").write_text("")
        with pytest.raises(UsageError, match="a rollout's journal cannot be written"):
            store.journals.begin(begun())


def test_every_line_is_json(folder: Path) -> None:
    """Each line can be read by whoever looks: its step by name, and the check."""
    path = written(folder, *STEPS)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [json.loads(line["record"])["step"] for line in lines][:3] == [
        "begun",
        "batch begun",
        "host begun",
    ]


def test_what_is_noted_at_once_is_brought_to_the_disk_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk works on one record, those of other threads gather, and one more sync is enough for all of them; none returns before."""
    with Store.open(folder) as store:
        journal = store.journals.begin(begun())
        real, begins, may_end = os.fsync, threading.Event(), threading.Event()
        synced: list[int] = []

        def slow(handle: int) -> None:
            begins.set()
            assert may_end.wait(10)
            real(handle)
            synced.append(handle)

        monkeypatch.setattr("os.fsync", slow)
        threads = [threading.Thread(target=journal.note, args=(HostBegun(host=host),)) for host in "abab"]
        threads[0].start()
        assert begins.wait(10)
        for thread in threads[1:]:
            thread.start()
        path = folder / "rollouts" / f"{journal.id}.jsonl"
        until = time.monotonic() + 10
        while len(path.read_text().splitlines()) < 5 and time.monotonic() < until:
            time.sleep(0.01)
        assert all(thread.is_alive() for thread in threads)
        may_end.set()
        for thread in threads:
            thread.join(10)
        assert len(synced) == 2
        journal.close()


def test_a_disk_that_does_not_sync_ends_the_rollout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fault nobody knows what is on the disk, and a second sync would not say: this record and all later ones are refused."""
    with Store.open(folder) as store:
        journal = store.journals.begin(begun())

        def broken(_: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", broken)
            with pytest.raises(UsageError, match="a rollout's journal cannot be written") as caught:
                journal.note(HostBegun(host="a"))
            assert caught.value.found == "Input/output error"
        with pytest.raises(UsageError, match="a rollout's journal cannot be written"):
            journal.note(HostBegun(host="b"))
        journal.close()

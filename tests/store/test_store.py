"""The store: what is kept comes back as it was, a second run finds it, and damage is told and never written over."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ota.core.host_state import HostOutcome, HostState
from ota.core.release import Digest
from ota.core.samples import Examination, SampleLog
from ota.core.selection import Selection
from ota.core.wire import Timed
from ota.errors import ContentError, ExitCode, MissingFileError, OtaError, UsageError
from ota.store import Rolled, Run, Store
from ota.store.codec import RecordError, from_plain, to_plain
from ota.store.database import FIRST
from ota.store.known_answer import KnownAnswer
from ota.workflows.choose import verdicts_of
from tests.report.boards import a_log as a_board_log
from tests.report.boards import scores_of as scores_of_boards
from tests.report.selections import a_log, a_selection


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A fresh store."""
    with Store.open(tmp_path / ".ota") as store:
        yield store


def test_a_selection_comes_back_whole(store: Store) -> None:
    """Every value of a selection, raw samples included, survives the store."""
    selection = a_selection()
    store.save_selection(selection)
    assert store.selection(selection.id) == selection
    assert store.selections() == (selection,)


def test_the_newest_selection_of_a_play_is_found(store: Store) -> None:
    """The latest is by time, and only of the play and the model asked for."""
    old = a_selection()
    new = replace(old, id="20260102-000000-abcdef", created="2026-01-02T00:00:00+00:00")
    other = replace(old, id="20260103-000000-abcdef", created="2026-01-03T00:00:00+00:00", play="q")
    for selection in (new, old, other):
        store.save_selection(selection)
    assert store.latest_selection("p", "m") == new
    assert store.latest_selection("p", "another") is None


def test_a_selection_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    """A unique beginning is enough; one that fits none or two is refused, wildcards mean nothing."""
    first = a_selection()
    store.save_selection(first)
    store.save_selection(replace(first, id="20260102-000000-abcdef"))
    assert store.selection("20260101") == first
    for wrong, words in (
        ("2026010", "more than one selection has the id"),
        ("x", "no selection has the id"),
        ("%", "no selection"),
    ):
        with pytest.raises(UsageError, match=words):
            store.selection(wrong)


def test_conversions_are_found_by_their_key_while_their_bytes_are_right(store: Store) -> None:
    """The cache returns a file only as long as it has the digest that it was kept with."""
    assert store.get("key") is None
    path = store.put("key", b"converted")
    assert store.get("key") == path
    path.write_bytes(b"conXerted")
    assert store.get("key") is None


def test_a_blob_that_is_gone_is_told(store: Store) -> None:
    """A file missing from the store is exit code 66 with what to do."""
    digest = store.put_blob(b"x")
    store.blob(digest).unlink()
    with pytest.raises(MissingFileError, match="a file is gone from the store") as caught:
        store.blob(digest)
    assert caught.value.exit_code is ExitCode.MISSING


def test_transfers_answers_and_runs_are_remembered(store: Store) -> None:
    """What was timed, answered and run comes back, newest first."""
    digest = Digest.of(b"c")
    assert store.measured.transfer("a", digest) is None
    store.measured.put_transfer("a", digest, Timed(size_bytes=10, seconds=1.5, sharers=4.0))
    assert store.measured.transfer("a", digest) == (1.5, 10)
    assert store.measured.speed("a") is None
    store.measured.put_transfer("a", Digest.of(b"d"), Timed(size_bytes=300_000, seconds=2.5, sharers=2.0))
    assert store.measured.speed("a") == Timed(size_bytes=300_000, seconds=2.5, sharers=2.0)
    newest = Timed(size_bytes=270_000, seconds=0.5, sharers=1.5)
    store.measured.put_speeds({"a": newest, "b": newest})
    assert (store.measured.speed("a"), store.measured.speed("c")) == (newest, None)
    answer = KnownAnswer(host="a", runtime="r 1", probe=Digest.of(b"p"), outputs=Digest.of(b"o"))
    store.put_answer(digest, answer)
    assert store.answers(digest) == (answer,)
    for number in range(3):
        store.save_run(Run(started=str(number), command="c", summary="s", exit_code=number))
    assert [run.exit_code for run in store.runs(2)] == [2, 1]


def test_a_rollout_says_what_each_host_should_run(store: Store) -> None:
    """Confirmed releases are what is expected from now on; a host that ended without one keeps its earlier expectation."""

    def end(host: str, release: str | None) -> HostOutcome:
        return HostOutcome(
            host=host,
            state=HostState.CONFIRMED,
            release=release,
            previous=None,
            changed=True,
            bytes_sent=0,
            digest=Digest.of(b"d"),
        )

    first = Rolled(
        started="t1",
        kind="deploy",
        play="p",
        model="m",
        selection="s",
        outcomes=(end("a", "r1"), end("b", "r1")),
    )
    second = replace(first, started="t2", outcomes=(end("a", "r2"), end("b", None)))
    for rolled in (first, second):
        store.save_rollout(rolled)
    assert store.expected("m") == {"a": "r2", "b": "r1"}
    assert store.rollouts() == (second, first)


def test_a_damaged_database_is_told_and_left_alone(tmp_path: Path) -> None:
    """A file that is no database is exit code 65, says what to do, and is not touched."""
    (tmp_path / "ota.db").write_bytes(b"this is no database at all, and long enough to see" * 100)
    before = (tmp_path / "ota.db").read_bytes()
    with pytest.raises(ContentError, match="the store is damaged"):
        Store.open(tmp_path)
    assert (tmp_path / "ota.db").read_bytes() == before


def test_a_damaged_record_is_told(store: Store, tmp_path: Path) -> None:
    """A selection of another shape is an error with the file's name, never a value of a wrong type."""
    store.save_selection(a_selection())
    with sqlite3.connect(tmp_path / ".ota" / "ota.db") as raw:
        raw.execute("UPDATE selections SET record = '{\"id\": 3}'")
    with pytest.raises(ContentError, match="a selection cannot be read"):
        store.selections()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A store that a newer ota made is refused and not downgraded."""
    with Store.open(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "ota.db") as raw:
        raw.execute("PRAGMA user_version=99")
    with pytest.raises(UsageError, match="a newer ota made this store"):
        Store.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Where the store's folder cannot be, the message names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OtaError, match="the store cannot be written"):
        Store.open(tmp_path / "file" / ".ota")


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    """Commands that run side by side in one folder lose nothing."""
    code = (
        "import sys; from pathlib import Path; from ota.store import Run, Store\n"
        "with Store.open(Path(sys.argv[1])) as store:\n"
        "    for number in range(50): store.save_run(Run(started='t', command=sys.argv[2], summary='', exit_code=number))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name])
        for name in ("one", "two", "three")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with Store.open(tmp_path) as store:
        runs = store.runs(1000)
    assert {name: sum(run.command == name for run in runs) for name in ("one", "two", "three")} == {
        "one": 50,
        "two": 50,
        "three": 50,
    }


WRONG = {
    "a missing field": {"host": "a"},
    "another type": {
        **to_plain(KnownAnswer(host="a", runtime="r", probe=Digest.of(b""), outputs=Digest.of(b""))),
        "host": 3,
    },
    "a digest that is none": {
        **to_plain(KnownAnswer(host="a", runtime="r", probe=Digest.of(b""), outputs=Digest.of(b""))),
        "probe": {"hex": "zz"},
    },
    "no mapping": [1],
    "a field too many": {
        **to_plain(KnownAnswer(host="a", runtime="r", probe=Digest.of(b""), outputs=Digest.of(b""))),
        "more": 1,
    },
}


@pytest.mark.parametrize("plain", WRONG.values(), ids=WRONG.keys())
def test_a_record_of_another_shape_is_no_value(plain: object) -> None:
    """The codec checks every field against its type."""
    with pytest.raises(RecordError):
        from_plain(KnownAnswer, plain)


def test_the_codec_turns_a_selection_round() -> None:
    """Plain values and back are the same selection."""
    selection = a_selection()
    assert from_plain(Selection, to_plain(selection)) == selection


def test_a_sample_log_comes_back_to_the_last_number(store: Store) -> None:
    """A log is kept by its digest, comes back equal, and is an error once a bit of it was changed."""
    log = a_log()
    digest = store.put_log(log)
    assert store.put_log(a_log()) == digest
    assert store.sample_log(digest) == log
    path = store.blob(digest)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ContentError, match="the sample log was changed"):
        store.sample_log(digest)


def _without(plain: object, names: frozenset[str]) -> object:
    """Return a record as it was before it had fields of these names."""
    if isinstance(plain, dict):
        return {name: _without(one, names) for name, one in plain.items() if name not in names}
    return [_without(one, names) for one in plain] if isinstance(plain, list) else plain


ADDED = frozenset({
    "board_revision", "serial_sha256", "firmware", "cpu_features", "affinity", "clock_limits_khz", "clock_source", "wheel_sha256", "origins",
})  # fmt: skip
ADDED_TO_CONDITIONS = ADDED | {"memory_available_bytes"}


def _older(log: SampleLog) -> bytes:
    """Return a log's bytes as they were written before boards told what they are made of."""
    plain = to_plain(log)
    for host in plain["hosts"]:
        host["blocks"] = _without(host["blocks"], ADDED_TO_CONDITIONS)
    return zlib.compress(json.dumps(_without(plain, ADDED), separators=(",", ":")).encode(), 6)


def test_an_older_log_gives_the_same_verdicts(store: Store) -> None:
    """A log without the later fields is read with their defaults, and everything that a verdict follows from is as it was."""
    log = a_board_log()
    old = store.sample_log(store.put_blob(_older(log)))
    facts = old.hosts[0].facts
    assert (facts.serial_sha256, facts.affinity, old.origins) == ("", (), ())
    assert facts.cpu_model == log.hosts[0].facts.cpu_model
    assert old.hosts[0].blocks[0].watch.before.memory_available_bytes is None
    scores, objective = scores_of_boards(log), a_selection().objective
    assert verdicts_of(old, scores, objective) == verdicts_of(log, scores, objective)


def test_blocks_come_back_in_their_order_and_only_in_their_context(store: Store) -> None:
    """Blocks and examinations are kept per host and context, and forgotten together."""
    host = a_log().hosts[0]
    for block in reversed(host.blocks):
        store.measured.put_block("a", "x", block)
    assert store.measured.blocks("a", "x") == host.blocks
    assert store.measured.blocks("a", "y") == store.measured.blocks("b", "x") == ()
    examined = Examination(
        contender=host.blocks[0].turns[0].contender,
        peak_memory_bytes=1,
        pss_bytes=2,
        nodes=("CONV_2D",),
        delegated=(0,),
        partitions=1,
    )
    store.measured.put_examination("a", "x", examined)
    assert store.measured.examinations("a", "x") == (examined,)
    store.measured.forget("a", "x")
    assert (store.measured.blocks("a", "x"), store.measured.examinations("a", "x")) == ((), ())


def test_a_store_of_the_first_form_is_brought_up_and_nothing_is_lost(tmp_path: Path) -> None:
    """What an older ota wrote stays: conversions are found, its selections are kept beside the new ones."""
    folder = tmp_path / ".ota"
    folder.mkdir()
    with sqlite3.connect(folder / "ota.db") as old:
        old.executescript(FIRST)
        old.execute("INSERT INTO selections VALUES ('1', 't', 'p', 'm', '{}')")
        old.execute("INSERT INTO expected VALUES ('m', 'a', 'r')")
        old.execute("PRAGMA user_version=1")
    old.close()
    with Store.open(folder) as store:
        assert store.expected("m") == {"a": "r"}
        assert store.selections() == ()
        store.save_selection(a_selection())
    with Store.open(folder) as store:
        assert len(store.selections()) == 1
    with sqlite3.connect(folder / "ota.db") as now:
        assert now.execute("SELECT id FROM selections_1").fetchall() == [("1",)]
    now.close()

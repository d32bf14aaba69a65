"""The journals of rollouts that have not ended: `<id>.jsonl` in `.ota/rollouts/`, one durable line a step; what has ended is in the database alone.

Invariants: a record is on the disk before `note` returns; one process at a time has a journal; a line that was torn at the end is cut off before
the next is written, and a damaged one elsewhere is an error with its place. While a rollout is under way its journal is the truth, and what each host
should run follows it in the database; at its end it is folded into the database and removed, in that order.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock

from ota.core.host_state import HostOutcome, HostState
from ota.core.rollout import touched
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
    Standing,
    Stopped,
)
from ota.durable import sync_folder
from ota.errors import ContentError, Fault, UsageError
from ota.store.codec import RecordError, from_plain, to_plain

_STEPS: Mapping[str, type[Record]] = {
    "begun": Begun,
    "batch begun": BatchBegun,
    "host begun": HostBegun,
    "host found": HostFound,
    "host ended": HostEnded,
    "stopped": Stopped,
    "returning": Returning,
    "host returned": HostReturned,
    "ended": Ended,
}
_NAMES = {kind: name for name, kind in _STEPS.items()}
_MOST_BYTES = 1 << 28
_LOOKS, _LOOK_S = 10, 0.05

Expect = Callable[[str, Mapping[str, str]], None]
"""Keeps what hosts should run of a model from now on, by host name."""
Fold = Callable[[str, Standing, tuple[HostOutcome, ...]], None]
"""Keeps how the rollout of an id ended."""


class Journal:
    """One rollout's journal, held by this process alone until `close` or `end`; `note` may be called from any thread.

    What several threads note at the same time is brought to the disk together.
    """

    def __init__(self, path: Path, handle: int, standing: Standing | None, expect: Expect) -> None:
        self.id = path.stem
        self._path = path
        self._handle = handle
        self._standing = standing
        self._expect = expect
        self._lock, self._disk_lock = Lock(), Lock()
        self._written = self._synced = 0
        self._broken: OSError | None = None

    @property
    def standing(self) -> Standing:
        """Where the rollout stands after what was noted last."""
        if self._standing is None:
            raise ValueError("nothing was noted yet")
        return self._standing

    def note(self, record: Record) -> None:
        """Write one record, durably; UsageError where it cannot be written, ValueError where it cannot follow."""
        with self._lock:
            after = (
                Standing.of(record)
                if self._standing is None and isinstance(record, Begun)
                else self.standing.after(record)
            )
            try:
                _write(self._handle, _line(record))
            except OSError as error:
                raise _unwritable(self._path, error) from error
            self._standing = after
            self._written += 1
            number = self._written
        self._sync(number)
        self._expect(after.begun.model, _wanted(record, after))

    def _sync(self, number: int) -> None:
        """Return when so many records are on the disk; after a fault of the disk nobody knows, and every later record is refused."""
        with self._disk_lock:
            if self._broken is None and self._synced < number:
                written = self._written
                try:
                    os.fsync(self._handle)
                except OSError as error:
                    self._broken = error
                else:
                    self._synced = written
            if self._broken is not None:
                raise _unwritable(self._path, self._broken) from self._broken

    def close(self) -> None:
        """Let go of it; the rollout can be taken up again."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def remove(self) -> None:
        """Remove what was folded into the database."""
        self._path.unlink(missing_ok=True)
        self.close()


class Journals:
    """The folder of journals."""

    def __init__(self, folder: Path, expect: Expect, fold: Fold, past: Callable[[str], bool]) -> None:
        self._folder = folder
        self._past = past
        self._expect = expect
        self._fold = fold

    def begin(self, begun: Begun) -> Journal:
        """Return the journal of a rollout that begins, with that noted; UsageError where it cannot be written."""
        stem = "".join(c for c in begun.started[:19] if c.isdigit() or c == "T").replace("T", "-")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path, handle = self._new(stem)
            while not os.fstat(handle).st_nlink:  # taken for one that was torn before its beginning
                os.close(handle)
                path, handle = self._new(stem)
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        journal = Journal(path, handle, None, self._expect)
        journal.note(begun)
        sync_folder(self._folder)
        return journal

    def take_up(self, id: str) -> Journal:  # noqa: A002 - the record's own word
        """Return the journal of an unfinished rollout, `id` or its unique beginning; empty: the newest.

        Raises:
            UsageError: there is none, or another process has it.
            ContentError: it is damaged.
        """
        names = [path.stem for path in self._paths()]
        fitting = [id] if id in names else [name for name in names if name.startswith(id)]
        fitting = fitting if id else names[-1:]
        if len(fitting) != 1:
            what = f"no unfinished rollout is {id}" if id else "there is no unfinished rollout"
            raise UsageError(
                what if not fitting else f"more than one unfinished rollout begins with {id}",
                found=", ".join(names),
                hint="ota deploy begins one",
            )
        path = self._folder / f"{fitting[0]}.jsonl"
        # Another process that only looks has it for a moment.
        for _ in range(_LOOKS):
            held = self._hold(path)
            if held is not None:
                return held
            time.sleep(_LOOK_S)
        raise UsageError("this rollout is under way in another ota", where=str(path))

    def unfinished(self) -> tuple[tuple[str, Standing], ...]:
        """Return the rollouts that nobody carries on, oldest first; those that cannot be read are left out: `take_up` says why."""
        found = []
        for path in self._paths():
            with suppress(ContentError):
                journal = self._hold(path)
                if journal is not None:
                    found.append((journal.id, journal.standing))
                    journal.close()
        return tuple(found)

    def end(self, journal: Journal, reason: str) -> None:
        """Note that a rollout ended, fold it into the database, and remove its journal."""
        if not journal.standing.ended:
            journal.note(Ended(reason=reason))
        self._fold(journal.id, journal.standing, journal.standing.rollout.finish())
        journal.remove()

    def settle(self) -> None:
        """Fold what had ended when its process died."""
        for path in self._paths():
            with suppress(ContentError, UsageError):
                journal = self._hold(path)
                if journal is not None and journal.standing.ended:
                    self.end(journal, "")
                elif journal is not None:
                    journal.close()

    def _paths(self) -> list[Path]:
        # Of those that began in one second the later ones have a number behind.
        return sorted(
            self._folder.glob("*.jsonl"), key=lambda path: (path.stem[:15], len(path.stem), path.stem)
        )

    def _new(self, stem: str) -> tuple[Path, int]:
        for number in range(1, 100):
            name = stem if number == 1 else f"{stem}-{number}"
            if self._past(name):
                continue
            path = self._folder / f"{name}.jsonl"
            with suppress(FileExistsError):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                handle = os.open(path, flags, 0o644)
                fcntl.flock(handle, fcntl.LOCK_EX)
                return path, handle
        raise OSError(0, "too many rollouts began in this second")

    def _hold(self, path: Path) -> Journal | None:
        """Return a journal for this process alone; None where another has it, it is gone, or it was torn before its rollout began."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            standing = _read(path, handle) if os.fstat(handle).st_nlink else None
            if standing is None:
                path.unlink(missing_ok=True)  # nothing is done before the plan is on the disk
        except OSError:
            standing = None
        except ContentError:
            os.close(handle)
            raise
        if standing is None:
            os.close(handle)
            return None
        return Journal(path, handle, standing, self._expect)


def _wanted(record: Record, after: Standing) -> dict[str, str]:
    """Return what hosts should run from now on by what this record says."""
    if isinstance(record, Returning):
        return {way.host: way.release for way in record.ways}
    if isinstance(record, HostEnded | HostReturned):
        host = record.outcome.host
        end = after.rollout.end_of(host)
        # What nobody met is told at the end: a rollout that is undone leaves it what it was to run before.
        unmet = end.state is HostState.UNREACHABLE and not touched(end)
        return {} if after.rollout.waits(host) or unmet or not end.release else {host: end.release}
    return {}


def _line(record: Record) -> bytes:
    text = json.dumps({"step": _NAMES[type(record)], **to_plain(record)}, separators=(",", ":"))
    return json.dumps({"check": _check(text), "record": text}, separators=(",", ":")).encode() + b"\n"


def _check(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _read(path: Path, handle: int) -> Standing | None:
    """Return where the rollout stands, and cut off a torn end; None where not even its beginning is whole.

    Raises:
        ContentError: a record that is not the last is damaged, or cannot follow those before it.
    """
    content = os.pread(handle, _MOST_BYTES, 0)
    lines = content.splitlines(keepends=True)
    standing: Standing | None = None
    good = 0
    for number, line in enumerate(lines, 1):
        try:
            record = _record(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise _damaged(path, number, str(error)) from error
        try:
            standing = _first(record) if standing is None else standing.after(record)
        except ValueError as error:
            raise _damaged(path, number, str(error)) from error
        good += len(line)
    if good < len(content):
        os.ftruncate(handle, good)
        os.fsync(handle)
    return standing


def _first(record: Record) -> Standing:
    if not isinstance(record, Begun):
        raise ValueError("expected the beginning of a rollout")  # noqa: TRY004 - the journal's fault, not a type's
    return Standing.of(record)


def _record(line: bytes) -> Record:
    """Return the record of one line; ValueError for one that is torn or damaged."""
    if not line.endswith(b"\n"):
        raise ValueError("it is torn")
    try:
        outer = json.loads(line)
        if not isinstance(outer, dict) or not isinstance(outer.get("record"), str):
            raise ValueError("it is no record")  # noqa: TRY004 - the journal's fault, not a type's
        if outer.get("check") != _check(outer["record"]):
            raise ValueError("its check does not fit")
        plain = json.loads(outer["record"])
        kind = _STEPS[plain.pop("step")]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError("it is no record") from error
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("it is no record of a step that is known here") from error
    try:
        return from_plain(kind, plain)
    except RecordError as error:
        raise ValueError(str(error)) from error


def _write(handle: int, line: bytes) -> None:
    size = os.lseek(handle, 0, os.SEEK_END)
    written = os.write(handle, line)
    if written != len(line):
        os.ftruncate(handle, size)
        raise OSError(0, "written in part")


def _unwritable(place: Path, error: OSError) -> UsageError:
    return UsageError("a rollout's journal cannot be written", where=str(place), found=error.strerror or "")


def _damaged(path: Path, line: int, problem: str) -> ContentError:
    return ContentError(
        Fault(
            file=str(path),
            line=line,
            problem=f"the rollout's journal is damaged: {problem}",
            hint="remove the file and run ota deploy: what is done already is not done again",
        )
    )

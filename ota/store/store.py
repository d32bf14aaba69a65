"""The store: what was converted, measured, selected and rolled out, so that nothing is done twice and everything can be looked up.

Invariants: a record is written whole or not at all; a database that is damaged or newer than this `ota` is an error that says so, and is
never written to; what is read back has the types that it was written with.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

from ota.core.host_state import HostOutcome
from ota.core.release import Digest
from ota.core.selection import Selection
from ota.errors import ContentError, Fault, MissingFileError, UsageError
from ota.store.blobs import Blobs
from ota.store.codec import RecordError, from_plain, to_plain

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE conversions (key TEXT PRIMARY KEY, digest TEXT NOT NULL);
CREATE TABLE transfers (host TEXT, digest TEXT, seconds REAL NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (host, digest));
CREATE TABLE answers (digest TEXT, host TEXT, runtime TEXT NOT NULL, probe TEXT NOT NULL, outputs TEXT NOT NULL, PRIMARY KEY (digest, host, runtime));
CREATE TABLE selections (id TEXT PRIMARY KEY, created TEXT NOT NULL, play TEXT NOT NULL, model TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE rollouts (
    id INTEGER PRIMARY KEY, started TEXT NOT NULL, kind TEXT NOT NULL, play TEXT NOT NULL, model TEXT NOT NULL, selection TEXT, outcomes TEXT NOT NULL
);
CREATE TABLE expected (model TEXT, host TEXT, release TEXT NOT NULL, PRIMARY KEY (model, host));
CREATE TABLE runs (id INTEGER PRIMARY KEY, started TEXT NOT NULL, command TEXT NOT NULL, summary TEXT NOT NULL, exit_code INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished command; `started` is UTC, ISO 8601."""

    started: str
    command: str
    summary: str
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    """One rollout as it ended; `kind` is deploy or rollback, `selection` the id it came from, None for a file of one's own."""

    started: str
    kind: str
    play: str
    model: str
    selection: str | None
    outcomes: tuple[HostOutcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAnswer:
    """What a candidate answered to the probe samples on `host` under `runtime`, when it was measured; `outputs` are float32 bytes."""

    host: str
    runtime: str
    probe: Digest
    outputs: Digest


class Store:
    """A context manager; its methods may be called from any thread."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = Lock()
        self._blobs = Blobs(folder / "blobs")

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open the store in `folder`, and make it where there is none.

        Raises:
            UsageError: the folder cannot be written, or a newer `ota` made what is there.
            ContentError: the database is damaged.
        """
        path = folder / "ota.db"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
            connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute("PRAGMA journal_mode=WAL")
            if version == 0:
                with connection:
                    connection.executescript(
                        f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
                    )
        except OSError as error:
            raise UsageError(
                "the store cannot be written",
                where=str(folder),
                found=error.strerror or "",
                hint="run ota in a folder of yours",
            ) from error
        except sqlite3.OperationalError as error:
            if "already exists" in str(error):
                return cls.open(folder)
            raise UsageError(
                "the store cannot be opened",
                where=str(path),
                found=str(error),
                hint="run ota in a folder of yours",
            ) from error
        except sqlite3.DatabaseError as error:
            raise _damaged(path, str(error)) from error
        if version > SCHEMA_VERSION:
            connection.close()
            raise UsageError(
                "a newer ota made this store",
                where=str(path),
                expected=f"version {SCHEMA_VERSION}",
                found=f"version {version}",
                hint="use that ota, or another folder",
            )
        return cls(folder, connection)

    def __enter__(self) -> Store:  # noqa: PYI034 - Self is not in 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def blob(self, digest: Digest) -> Path:
        """Return the path of a blob; MissingFileError where it is gone."""
        path = self._blobs.path(digest)
        if not path.is_file():
            raise MissingFileError(
                "a file is gone from the store",
                where=str(path),
                hint="run ota select again: it makes the file anew",
            )
        return path

    def put_blob(self, content: bytes) -> Digest:
        """Keep `content` and return its digest."""
        return self._blobs.put(content)

    def get(self, key: str) -> Path | None:
        """Return the file that was kept under `key`, None where there is none: the cache of conversions."""
        row = self._one("SELECT digest FROM conversions WHERE key = ?", key)
        if row is None:
            return None
        digest = Digest(row[0])
        path = self._blobs.path(digest)
        return path if path.is_file() and Digest.of(path.read_bytes()) == digest else None

    def put(self, key: str, content: bytes) -> Path:
        """Keep `content` under `key` and return its file."""
        digest = self._blobs.put(content)
        self._write("INSERT OR REPLACE INTO conversions VALUES (?, ?)", key, digest.hex)
        return self._blobs.path(digest)

    def transfer(self, host: str, digest: Digest) -> tuple[float, int] | None:
        """Return (seconds, bytes) of the timed transfer of `digest` to `host`, None where it was not timed."""
        row = self._one(
            "SELECT seconds, bytes FROM transfers WHERE host = ? AND digest = ?", host, digest.hex
        )
        return None if row is None else (float(row[0]), int(row[1]))

    def put_transfer(self, host: str, digest: Digest, seconds: float, sent: int) -> None:
        """Remember a timed transfer."""
        self._write("INSERT OR REPLACE INTO transfers VALUES (?, ?, ?, ?)", host, digest.hex, seconds, sent)

    def answers(self, digest: Digest) -> tuple[KnownAnswer, ...]:
        """Return what the candidate `digest` answered to probe samples wherever it was measured."""
        rows = self._all(
            "SELECT host, runtime, probe, outputs FROM answers WHERE digest = ? ORDER BY host, runtime",
            digest.hex,
        )
        return tuple(
            KnownAnswer(host=host, runtime=runtime, probe=Digest(probe), outputs=Digest(outputs))
            for host, runtime, probe, outputs in rows
        )

    def put_answer(self, digest: Digest, answer: KnownAnswer) -> None:
        """Remember what a candidate answered to the probe samples."""
        self._write(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
            digest.hex,
            answer.host,
            answer.runtime,
            answer.probe.hex,
            answer.outputs.hex,
        )

    def save_selection(self, selection: Selection) -> None:
        """Keep a selection, whole."""
        record = json.dumps(to_plain(selection), separators=(",", ":"))
        self._write(
            "INSERT OR REPLACE INTO selections VALUES (?, ?, ?, ?, ?)",
            selection.id,
            selection.created,
            selection.play,
            selection.model,
            record,
        )

    def selection(self, id: str) -> Selection:  # noqa: A002 - the record's own word
        """Return the selection `id`, or the only one whose id begins with it; UsageError where there is none."""
        rows = self._all("SELECT record FROM selections WHERE substr(id, 1, length(?)) = ?", id, id)
        if len(rows) != 1:
            raise UsageError(
                f"{'no' if not rows else 'more than one'} selection has the id {id}",
                hint="ota history lists them",
            )
        return self._selection(rows[0][0])

    def latest_selection(self, play: str, model: str) -> Selection | None:
        """Return the newest selection of a play and its model, None where there is none."""
        row = self._one(
            "SELECT record FROM selections WHERE play = ? AND model = ? ORDER BY created DESC, id DESC LIMIT 1",
            play,
            model,
        )
        return None if row is None else self._selection(row[0])

    def selections(self, limit: int = 20) -> tuple[Selection, ...]:
        """Return the newest selections, newest first."""
        rows = self._all("SELECT record FROM selections ORDER BY created DESC, id DESC LIMIT ?", limit)
        return tuple(self._selection(row[0]) for row in rows)

    def save_rollout(self, rolled: Rolled) -> None:
        """Keep how a rollout ended, and what each host should run from now on."""
        outcomes = json.dumps(to_plain(rolled.outcomes), separators=(",", ":"))
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO rollouts (started, kind, play, model, selection, outcomes) VALUES (?, ?, ?, ?, ?, ?)",
                (rolled.started, rolled.kind, rolled.play, rolled.model, rolled.selection, outcomes),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO expected VALUES (?, ?, ?)",
                [
                    (rolled.model, outcome.host, outcome.release)
                    for outcome in rolled.outcomes
                    if outcome.release
                ],
            )

    def rollouts(self, limit: int = 20) -> tuple[Rolled, ...]:
        """Return the newest rollouts, newest first."""
        rows = self._all(
            "SELECT started, kind, play, model, selection, outcomes FROM rollouts ORDER BY id DESC LIMIT ?",
            limit,
        )
        return tuple(
            Rolled(
                started=started,
                kind=kind,
                play=play,
                model=model,
                selection=selection,
                outcomes=from_plain(tuple[HostOutcome, ...], json.loads(outcomes)),
            )
            for started, kind, play, model, selection, outcomes in rows
        )

    def expected(self, model: str) -> dict[str, str]:
        """Return the release id that each host should run of `model`, by host name."""
        return dict(self._all("SELECT host, release FROM expected WHERE model = ?", model))

    def save_run(self, run: Run) -> None:
        """Note a finished command."""
        self._write(
            "INSERT INTO runs (started, command, summary, exit_code) VALUES (?, ?, ?, ?)",
            run.started,
            run.command,
            run.summary,
            run.exit_code,
        )

    def runs(self, limit: int = 20) -> tuple[Run, ...]:
        """Return the newest runs, newest first."""
        rows = self._all(
            "SELECT started, command, summary, exit_code FROM runs ORDER BY id DESC LIMIT ?", limit
        )
        return tuple(Run(started=a, command=b, summary=c, exit_code=d) for a, b, c, d in rows)

    def _selection(self, record: str) -> Selection:
        try:
            return from_plain(Selection, json.loads(record))
        except (RecordError, ValueError) as error:
            raise _damaged(self._path(), f"a selection cannot be read: {error}") from error

    def _path(self) -> Path:
        return Path(self._connection.execute("PRAGMA database_list").fetchone()[2])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._connection:
                    yield self._connection
            except sqlite3.OperationalError as error:
                raise UsageError(
                    "the store cannot be written", where=str(self._path()), found=str(error)
                ) from error
            except sqlite3.DatabaseError as error:
                raise _damaged(self._path(), str(error)) from error

    def _write(self, statement: str, *values: object) -> None:
        with self._transaction() as connection:
            connection.execute(statement, values)

    def _all(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        with self._transaction() as connection:
            return connection.execute(statement, values).fetchall()

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        rows = self._all(statement, *values)
        return rows[0] if rows else None


def _damaged(path: Path, problem: str) -> ContentError:
    return ContentError(
        Fault(
            file=str(path),
            problem=f"the store is damaged: {problem}",
            hint="move .ota/ away and run again; the devices keep what they run",
        )
    )

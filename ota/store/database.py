"""The SQLite file of the store: opened, brought to today's form, written in transactions, damage told.

Invariants: a record is written whole or not at all; a database that is damaged or newer than this `ota` is an error that says so, and is
never written to; what an older `ota` wrote is kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from ota.errors import ContentError, Fault, UsageError

SCHEMA_VERSION = 7

FIRST = """
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
"""The tables of the first form; each later step brings them on."""
# Selections made before intervals existed have another form: they are kept beside the new ones, and no longer read.
_SECOND = """
ALTER TABLE selections RENAME TO selections_1;
CREATE TABLE selections (id TEXT PRIMARY KEY, created TEXT NOT NULL, play TEXT NOT NULL, model TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE blocks (host TEXT, context TEXT, number INTEGER, record TEXT NOT NULL, PRIMARY KEY (host, context, number));
CREATE TABLE examinations (host TEXT, context TEXT, contender TEXT, record TEXT NOT NULL, PRIMARY KEY (host, context, contender));
"""
# A rollout that was journalled is kept once, however often its journal is folded in.
_THIRD = """
ALTER TABLE rollouts ADD COLUMN journal TEXT;
CREATE UNIQUE INDEX rollouts_journal ON rollouts (journal);
"""
# What a release was issued with, by the id that it would have without: the same content keeps it.
_FOURTH = """
CREATE TABLE issued (model TEXT, content TEXT, counter INTEGER NOT NULL, selection TEXT NOT NULL, PRIMARY KEY (model, content));
"""
_FIFTH = """
CREATE TABLE selection_signatures (selection TEXT, name TEXT, armored TEXT NOT NULL, PRIMARY KEY (selection, name));
"""
_SIXTH = """
CREATE TABLE journal_heads (host TEXT, root TEXT, lines INTEGER NOT NULL, head TEXT NOT NULL, noted TEXT NOT NULL, PRIMARY KEY (host, root));
"""
# How many transfers shared the controller's way out, on average; of those that were timed before nobody knows.
_SEVENTH = """
ALTER TABLE transfers ADD COLUMN sharers REAL NOT NULL DEFAULT 1;
CREATE TABLE speeds (host TEXT PRIMARY KEY, bytes INTEGER NOT NULL, seconds REAL NOT NULL, sharers REAL NOT NULL);
"""
_STEPS = (FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH, _SIXTH, _SEVENTH)


class Database:
    """One connection; its methods may be called from any thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._lock = Lock()

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open the database at `path`, make it where there is none, and bring an older one to today's form.

        Raises:
            UsageError: the folder cannot be written, or a newer `ota` made what is there.
            ContentError: the database is damaged.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
            connection = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            version = _brought_up(connection)
        except OSError as error:
            raise _refused(path.parent, "the store cannot be written", error.strerror or "") from error
        except sqlite3.OperationalError as error:
            raise _refused(path, "the store cannot be opened", str(error)) from error
        except sqlite3.DatabaseError as error:
            raise damaged(path, str(error)) from error
        if version > SCHEMA_VERSION:
            connection.close()
            raise UsageError(
                "a newer ota made this store",
                where=str(path),
                expected=f"version {SCHEMA_VERSION}",
                found=f"version {version}",
                hint="use that ota, or another folder",
            )
        return cls(path, connection)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def damaged(self, problem: str) -> ContentError:
        """Return the error that says that a record cannot be read."""
        return damaged(self._path, problem)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection within a transaction: all of it is written, or nothing.

        Raises:
            UsageError: the database cannot be written.
            ContentError: it is damaged.
        """
        with self._held(), _within(self._connection):
            yield self._connection

    @contextmanager
    def soon(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection within a transaction that the next durable one makes durable; a power cut before may undo it. Raises as `transaction`."""
        with self._held():
            self._connection.execute("PRAGMA synchronous=NORMAL")
            try:
                with _within(self._connection):
                    yield self._connection
            finally:
                self._connection.execute("PRAGMA synchronous=FULL")

    def write(self, statement: str, *values: object) -> None:
        """Carry out one statement in a transaction of its own; raises as `transaction`."""
        with self.transaction() as connection:
            connection.execute(statement, values)

    def all(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Return every row of a query; raises as `transaction`."""
        with self._held():
            return self._connection.execute(statement, values).fetchall()

    def one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        """Return the first row of a query, None where there is none; raises as `transaction`."""
        rows = self.all(statement, *values)
        return rows[0] if rows else None

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as error:
                raise UsageError(
                    "the store cannot be written", where=str(self._path), found=str(error)
                ) from error
            except sqlite3.DatabaseError as error:
                raise damaged(self._path, str(error)) from error


def _brought_up(connection: sqlite3.Connection) -> int:
    """Take the steps that an older database lacks, in one transaction; return the version that is there then."""
    version = _version(connection)
    if version < SCHEMA_VERSION:
        with _within(connection):
            version = _version(connection)  # another process may have been first
            for step in _STEPS[version:]:
                for statement in filter(str.strip, step.split(";")):
                    connection.execute(statement)
            if version < SCHEMA_VERSION:
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                version = SCHEMA_VERSION
    return version


@contextmanager
def _within(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refused(place: Path, problem: str, found: str) -> UsageError:
    return UsageError(problem, where=str(place), found=found, hint="run ota in a folder of yours")


def damaged(path: Path, problem: str) -> ContentError:
    """Return the error that says that the store at `path` is damaged."""
    return ContentError(
        Fault(
            file=str(path),
            problem=f"the store is damaged: {problem}",
            hint="move .ota/ away, all but .ota/keyrings, and run again; the devices keep what they run",
        )
    )

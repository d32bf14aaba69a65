"""The store: what was converted, measured, selected and rolled out, so that nothing is done twice and everything can be looked up.

Invariant: what is read back has the types that it was written with, or is an error that says what is damaged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ota.core.host_state import HostOutcome, HostState
from ota.core.release import Digest
from ota.core.rollout_log import Standing
from ota.errors import MissingFileError, UsageError
from ota.store.blobs import Blobs
from ota.store.codec import RecordError, from_plain, to_plain
from ota.store.database import Database
from ota.store.heads import Heads
from ota.store.journals import Journals
from ota.store.known_answer import KnownAnswer
from ota.store.samples import Measured, put_log, read_log
from ota.store.signed import SignedRecords

if TYPE_CHECKING:
    from ota.core.samples import SampleLog
    from ota.core.selection import Selection
    from ota.store.shared import SharedStore
    from ota.store.sharing import Sharing


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


class Store:
    """A context manager; its methods may be called from any thread.

    `measured` holds what the devices measured, `journals` the rollouts that have not ended, `signed` the signatures of selections, `heads` how far
    each device's journal is known.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self._database = database
        self._blobs = Blobs(folder / "blobs")
        self.measured = Measured(database)
        self.signed = SignedRecords(database)
        self.heads = Heads(database)
        self.journals = Journals(folder / "rollouts", self._expect, self._fold, self._is_past)
        self._sharing: Sharing | None = None

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open the store in `folder`, and make it where there is none; raises what `Database.open` raises."""
        store = cls(folder, Database.open(folder / "ota.db"))
        store.journals.settle()
        return store

    def __enter__(self) -> Store:  # noqa: PYI034 - Self is not in 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def share(self, shared: SharedStore | None, *, play: str = "", model: str = "") -> None:
        """Stand before a store that others use too, for what is done for one play from now on; None: alone again."""
        if shared is None:
            self._sharing = None
            return
        from ota.store.sharing import Sharing

        self._sharing = Sharing(shared, play, model)

    def blob(self, digest: Digest) -> Path:
        """Return the path of a blob; MissingFileError where it is gone."""
        path = self._blobs.path(digest)
        if not path.is_file() and self._sharing is not None:
            content = self._sharing.shared.blob(digest)
            if content is not None:
                self._blobs.put(content)
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
        row = self._database.one("SELECT digest FROM conversions WHERE key = ?", key)
        if row is not None:
            digest = Digest(row[0])
            path = self._blobs.path(digest)
            if path.is_file() and Digest.of(path.read_bytes()) == digest:
                return path
        content = None if self._sharing is None else self._sharing.shared.conversion(key)
        return None if content is None else self._put(key, content)

    def put(self, key: str, content: bytes) -> Path:
        """Keep `content` under `key` and return its file."""
        if self._sharing is not None:
            self._sharing.shared.keep(key, content)
        return self._put(key, content)

    def _put(self, key: str, content: bytes) -> Path:
        digest = self._blobs.put(content)
        self._database.write("INSERT OR REPLACE INTO conversions VALUES (?, ?)", key, digest.hex)
        return self._blobs.path(digest)

    def answers(self, digest: Digest) -> tuple[KnownAnswer, ...]:
        """Return what the candidate `digest` answered to probe samples wherever it was measured."""
        rows = self._database.all(
            "SELECT host, runtime, probe, outputs FROM answers WHERE digest = ? ORDER BY host, runtime",
            digest.hex,
        )
        return tuple(
            KnownAnswer(host=host, runtime=runtime, probe=Digest(probe), outputs=Digest(outputs))
            for host, runtime, probe, outputs in rows
        )

    def put_answer(self, digest: Digest, answer: KnownAnswer) -> None:
        """Remember what a candidate answered to the probe samples."""
        self._database.write(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
            digest.hex,
            answer.host,
            answer.runtime,
            answer.probe.hex,
            answer.outputs.hex,
        )

    def save_selection(self, selection: Selection) -> None:
        """Keep a selection, whole."""
        self.keep_record(selection, json.dumps(to_plain(selection), separators=(",", ":")))

    def publish(self, selection: Selection) -> None:
        """Bring a selection that is here to the shared store, with all that it refers to; nothing without one."""
        if self._sharing is not None:
            self._sharing.publish(self, selection)

    def has_selection(self, identity: str) -> bool:
        """Say whether a selection is here, by its whole id."""
        return self._database.one("SELECT 1 FROM selections WHERE id = ?", identity) is not None

    def keep_record(self, selection: Selection, record: str) -> None:
        """Keep a selection by its record, to the byte."""
        self._database.write(
            "INSERT OR REPLACE INTO selections VALUES (?, ?, ?, ?, ?)",
            selection.id,
            selection.created,
            selection.play,
            selection.model,
            record,
        )

    def next_counter(self, model: str, at: int) -> int:
        """Return the counter for what is issued at `at`, in seconds since 1970: that time, though above all before it of the model, so that several controllers' follow one another."""
        rows = self._database.all("SELECT coalesce(max(counter), 0) FROM issued WHERE model = ?", model)
        return max(at, int(rows[0][0]) + 1)

    def issue(
        self,
        model: str,
        content: str,
        *,
        selection: str,
        counter: int,
        again: bool = False,
        keep: bool = True,
    ) -> tuple[int, str]:
        """Return the counter and the selection that a release's content was issued with, noted the first time, or `again`; only looked up without `keep`."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT counter, selection FROM issued WHERE model = ? AND content = ?", (model, content)
            ).fetchone()
            if row is not None and not again:
                return int(row[0]), str(row[1])
            if keep:
                connection.execute(
                    "INSERT OR REPLACE INTO issued VALUES (?, ?, ?, ?)", (model, content, counter, selection)
                )
        return counter, selection

    def selection(self, id: str) -> Selection:  # noqa: A002 - the record's own word
        """Return the selection `id`, or the only one whose id begins with it; UsageError where there is none."""
        wanted = "SELECT record FROM selections WHERE substr(id, 1, length(?)) = ?"
        rows = self._database.all(wanted, id, id)
        if not rows and self._sharing is not None:
            for identity in self._sharing.ids():
                if identity.startswith(id):
                    self._sharing.adopt(self, identity)
            rows = self._database.all(wanted, id, id)
        if len(rows) != 1:
            raise UsageError(
                f"{'no' if not rows else 'more than one'} selection has the id {id}",
                hint="ota history lists them",
            )
        return self._selection(rows[0][0])

    def latest_selection(self, play: str, model: str) -> Selection | None:
        """Return the newest selection of a play and its model, here or in the shared store, None where there is none."""
        if self._sharing is not None:
            self._sharing.adopt_newest(self)
        row = self._database.one(
            "SELECT record FROM selections WHERE play = ? AND model = ? ORDER BY created DESC, id DESC LIMIT 1",
            play,
            model,
        )
        return None if row is None else self._selection(row[0])

    def selections(self, limit: int = 20) -> tuple[Selection, ...]:
        """Return the newest selections, newest first."""
        rows = self._database.all(
            "SELECT record FROM selections ORDER BY created DESC, id DESC LIMIT ?", limit
        )
        return tuple(self._selection(row[0]) for row in rows)

    def save_rollout(self, rolled: Rolled, journal: str | None = None) -> None:
        """Keep how a rollout ended, and what each host should run from now on; one of the same `journal` takes the place of the one before."""
        outcomes = json.dumps(to_plain(rolled.outcomes), separators=(",", ":"))
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO rollouts (started, kind, play, model, selection, outcomes, journal) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (rolled.started, rolled.kind, rolled.play, rolled.model, rolled.selection, outcomes, journal),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO expected VALUES (?, ?, ?)",
                [
                    (rolled.model, outcome.host, outcome.release)
                    for outcome in rolled.outcomes
                    if outcome.release
                ],
            )

    def _is_past(self, journal: str) -> bool:
        """Say whether a rollout of that journal's name has ended: its name is not given again, for the record is kept under it."""
        return self._database.one("SELECT 1 FROM rollouts WHERE journal = ?", journal) is not None

    def owed(self, model: str) -> dict[str, str]:
        """Return the hosts that a rollout of `model` could not bring back, by name, and the release that each is to return to."""
        last: dict[str, HostOutcome] = {}
        for rolled in self.rollouts(limit=-1):
            for end in rolled.outcomes if rolled.model == model else ():
                if end.state is not HostState.SKIPPED:
                    last.setdefault(end.host, end)
        return {
            host: end.release
            for host, end in last.items()
            if end.state is HostState.UNKNOWN and end.release is not None
        }

    def rollouts(self, limit: int = 20) -> tuple[Rolled, ...]:
        """Return the newest rollouts, newest first."""
        rows = self._database.all(
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
        return dict(self._database.all("SELECT host, release FROM expected WHERE model = ?", model))

    def save_run(self, run: Run) -> None:
        """Note a finished command."""
        self._database.write(
            "INSERT INTO runs (started, command, summary, exit_code) VALUES (?, ?, ?, ?)",
            run.started,
            run.command,
            run.summary,
            run.exit_code,
        )

    def runs(self, limit: int = 20) -> tuple[Run, ...]:
        """Return the newest runs, newest first."""
        rows = self._database.all(
            "SELECT started, command, summary, exit_code FROM runs ORDER BY id DESC LIMIT ?", limit
        )
        return tuple(Run(started=a, command=b, summary=c, exit_code=d) for a, b, c, d in rows)

    def put_log(self, log: SampleLog) -> Digest:
        """Keep a sample log and return its digest."""
        return put_log(self._blobs, log)

    def sample_log(self, digest: Digest) -> SampleLog:
        """Return a sample log; MissingFileError where it is gone, ContentError where it was changed."""
        return read_log(self.blob(digest), digest)

    def _expect(self, model: str, releases: Mapping[str, str]) -> None:
        # Its journal is durable: what a power cut takes from here is there again when the rollout is taken up.
        if releases:
            with self._database.soon() as connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO expected VALUES (?, ?, ?)",
                    [(model, host, release) for host, release in releases.items()],
                )

    def _fold(self, journal: str, standing: Standing, outcomes: tuple[HostOutcome, ...]) -> None:
        begun = standing.begun
        rolled = Rolled(
            started=begun.started,
            kind="deploy",
            play=begun.play,
            model=begun.model,
            selection=begun.selection,
            outcomes=outcomes,
        )
        self.save_rollout(rolled, journal)

    def _selection(self, record: str) -> Selection:
        from ota.core.selection import Selection

        try:
            return from_plain(Selection, json.loads(record))
        except (RecordError, ValueError) as error:
            raise self._database.damaged(f"a selection cannot be read: {error}") from error

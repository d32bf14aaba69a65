"""What devices measured, kept as it arrives: a session that ends early goes on where it stopped.

Blocks and examinations are kept per host and context; a context is a digest of everything that makes measurements comparable, so that what was measured
under other circumstances is never mixed in.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ota.core.release import Digest
from ota.core.wire import TELLING_BYTES, Timed
from ota.errors import ContentError, Fault
from ota.store.blobs import Blobs
from ota.store.codec import RecordError, from_plain, to_plain
from ota.store.database import Database

if TYPE_CHECKING:
    from ota.core.measurement import Contender
    from ota.core.samples import Block, Examination, SampleLog

T = TypeVar("T")
_MOST_LOG_BYTES = 1 << 30


class Measured:
    """The blocks, examinations and transfers of all hosts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def blocks(self, host: str, context: str) -> tuple[Block, ...]:
        """Return the blocks of a host in a context, in their order; ContentError where one cannot be read."""
        from ota.core.samples import Block

        rows = self._database.all(
            "SELECT record FROM blocks WHERE host = ? AND context = ? ORDER BY number", host, context
        )
        return tuple(self._read(Block, row[0]) for row in rows)

    def put_block(self, host: str, context: str, block: Block) -> None:
        """Keep a block."""
        self._database.write(
            "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", host, context, block.number, _text(block)
        )

    def examinations(self, host: str, context: str) -> tuple[Examination, ...]:
        """Return the examinations of a host in a context; ContentError where one cannot be read."""
        from ota.core.samples import Examination

        rows = self._database.all(
            "SELECT record FROM examinations WHERE host = ? AND context = ? ORDER BY contender", host, context
        )
        return tuple(self._read(Examination, row[0]) for row in rows)

    def put_examination(self, host: str, context: str, examination: Examination) -> None:
        """Keep an examination."""
        self._database.write(
            "INSERT OR REPLACE INTO examinations VALUES (?, ?, ?, ?)",
            host,
            context,
            _text(examination.contender),
            _text(examination),
        )

    def forget(self, host: str, context: str) -> None:
        """Drop what was measured on a host in a context, so that it is measured anew."""
        with self._database.transaction() as connection:
            for table in ("blocks", "examinations"):
                connection.execute(f"DELETE FROM {table} WHERE host = ? AND context = ?", (host, context))  # noqa: S608

    def transfer(self, host: str, digest: Digest) -> tuple[float, int] | None:
        """Return (seconds, bytes) of the timed transfer of `digest` to `host`, None where it was not timed."""
        row = self._database.one(
            "SELECT seconds, bytes FROM transfers WHERE host = ? AND digest = ?", host, digest.hex
        )
        return None if row is None else (float(row[0]), int(row[1]))

    def speed(self, host: str) -> Timed | None:
        """Return the newest deployment's transfer to `host` that tells of its link, else the longest of a selection; None where there is none."""
        row = self._database.one("SELECT bytes, seconds, sharers FROM speeds WHERE host = ?", host)
        row = row or self._database.one(
            "SELECT bytes, seconds, sharers FROM transfers WHERE host = ? AND bytes >= ? AND seconds > 0 ORDER BY bytes DESC LIMIT 1",
            host,
            TELLING_BYTES,
        )
        return None if row is None else Timed(size_bytes=row[0], seconds=row[1], sharers=row[2])

    def put_speeds(self, timed: Mapping[str, Timed]) -> None:
        """Remember transfers that tell how fast hosts are reached, by host."""
        rows = [(host, one.size_bytes, one.seconds, one.sharers) for host, one in timed.items()]
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO speeds VALUES (?, ?, ?, ?)", rows)

    def put_transfer(self, host: str, digest: Digest, timed: Timed) -> None:
        """Remember a timed transfer."""
        self._database.write(
            "INSERT OR REPLACE INTO transfers VALUES (?, ?, ?, ?, ?)",
            host,
            digest.hex,
            timed.seconds,
            timed.size_bytes,
            timed.sharers,
        )

    def _read(self, kind: type[T], text: str) -> T:
        try:
            return from_plain(kind, json.loads(text))
        except (RecordError, ValueError) as error:
            raise self._database.damaged(f"a measurement cannot be read: {error}") from error


def put_log(blobs: Blobs, log: SampleLog) -> Digest:
    """Keep a sample log, compressed, and return its digest: equal logs have equal bytes."""
    return blobs.put(zlib.compress(_text(log).encode(), 6))


def read_log(path: Path, digest: Digest) -> SampleLog:
    """Return the sample log in a file, whose bytes must have the digest; ContentError otherwise."""
    from ota.core.samples import SampleLog

    content = path.read_bytes()
    problem = ""
    if Digest.of(content) != digest:
        problem = f"the sample log was changed: expected {digest.short}, found {Digest.of(content).short}"
    else:
        try:
            unpacked = zlib.decompressobj().decompress(content, _MOST_LOG_BYTES)
            return from_plain(SampleLog, json.loads(unpacked))
        except (RecordError, ValueError, zlib.error) as error:
            problem = f"the sample log cannot be read: {error}"
    raise ContentError(Fault(file=str(path), problem=problem, hint="run ota select again"))


def _text(value: Block | Examination | Contender | SampleLog) -> str:
    plain: Any = to_plain(value)
    return json.dumps(plain, separators=(",", ":"))

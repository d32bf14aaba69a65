"""The heads of the devices' journals as they were at the last contact, by host and ota_root."""

from __future__ import annotations

from ota.core.journal_head import NotedHead
from ota.store.database import Database


class Heads:
    """What is noted of each journal; a head that was noted is replaced only by whoever has compared."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, host: str, root: str) -> NotedHead | None:
        """Return what was noted last, None where nothing was."""
        row = self._database.one(
            "SELECT lines, head, noted FROM journal_heads WHERE host = ? AND root = ?", host, root
        )
        return None if row is None else NotedHead(lines=int(row[0]), head=str(row[1]), at=str(row[2]))

    def put(self, host: str, root: str, noted: NotedHead) -> None:
        """Note a head."""
        self._database.write(
            "INSERT OR REPLACE INTO journal_heads VALUES (?, ?, ?, ?, ?)",
            host,
            root,
            noted.lines,
            noted.head,
            noted.at,
        )

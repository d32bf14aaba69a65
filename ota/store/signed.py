"""The signatures of selections, over each selection's record as it is kept, to the byte.

Invariant: nothing here judges a signature; whoever reads one holds it against the keyrings.
"""

from __future__ import annotations

from ota.store.database import Database


class SignedRecords:
    """The records of selections and their signatures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, selection: str) -> bytes:
        """Return what is signed of a selection, by its whole id: the record as it is kept; KeyError where there is none."""
        row = self._database.one("SELECT record FROM selections WHERE id = ?", selection)
        if row is None:
            raise KeyError(selection)
        return str(row[0]).encode()

    def signatures(self, selection: str) -> tuple[tuple[str, str], ...]:
        """Return the signatures of a selection, (name, armored)."""
        rows = self._database.all(
            "SELECT name, armored FROM selection_signatures WHERE selection = ? ORDER BY name", selection
        )
        return tuple((str(name), str(armored)) for name, armored in rows)

    def put(self, selection: str, name: str, armored: str) -> None:
        """Keep a signature of a selection."""
        self._database.write(
            "INSERT OR REPLACE INTO selection_signatures VALUES (?, ?, ?)", selection, name, armored
        )

    def of_model(self, model: str) -> tuple[str, ...]:
        """Return the ids of the selections of a model that have signatures, the oldest first."""
        rows = self._database.all(
            "SELECT DISTINCT id FROM selections JOIN selection_signatures ON selection = id WHERE model = ? ORDER BY id",
            model,
        )
        return tuple(str(row[0]) for row in rows)

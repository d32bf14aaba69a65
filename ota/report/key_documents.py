"""The document that `ota key --json` prints, and the table that people see instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from ota.core.keyring import Keyring
from ota.report.document_types import FORMAT
from ota.report.tables import plain_table


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDocument:
    """A release key; `private` says where its private half is on this machine: file, agent, or null where it is not here."""

    name: str
    public: str
    fingerprint: str
    private: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastKeyringDocument:
    """A version of the keyring; `signed_by` are the keys of the version before whose signatures are good, none for the first."""

    version: int
    threshold: int
    keys: list[str]
    signed_by: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetDocument:
    """A release that several people sign, in its file: `counter` is the seconds since 1970 when it was issued, `signed_by` the keys of the newest keyring whose signatures are good."""

    path: str
    model: str
    counter: int
    signed_by: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyringDocument:
    """`ota key --json`: the newest keyring, every version in order, and the sheets that lie here."""

    format: int
    version: int
    threshold: int
    keys: list[KeyDocument]
    history: list[PastKeyringDocument]
    sheets: list[SheetDocument]


KEY_DOCUMENTS: dict[str, type] = {"key": KeyringDocument}
"""By the name of its schema in docs/schemas/."""


def keyring_document(
    history: Sequence[tuple[Keyring, Sequence[str]]],
    private: Mapping[str, str],
    sheets: Sequence[SheetDocument] = (),
) -> KeyringDocument:
    """Return the document of keyrings, oldest first, each with who signed it; `private` says where the newest one's private halves are, by name."""
    newest, _ = history[-1]
    return KeyringDocument(
        format=FORMAT,
        version=newest.version,
        threshold=newest.threshold,
        keys=[
            KeyDocument(
                name=key.name,
                public=key.public,
                fingerprint=key.fingerprint,
                private=private.get(key.name) or None,
            )
            for key in newest.keys
        ],
        history=[
            PastKeyringDocument(
                version=ring.version,
                threshold=ring.threshold,
                keys=[key.name for key in ring.keys],
                signed_by=list(signed_by),
            )
            for ring, signed_by in history
        ],
        sheets=list(sheets),
    )


def keyring_view(document: KeyringDocument) -> RenderableType:
    """Return the newest keyring's keys, its history and the sheets where there are any."""
    title = f"Keyring {document.version}: {document.threshold} of {len(document.keys)} must sign"
    keys = plain_table(title, "key", "fingerprint", "private half here")
    for key in document.keys:
        keys.add_row(escape(key.name), escape(key.fingerprint), key.private or "[yellow]no[/yellow]")
    parts = [keys]
    if len(document.history) > 1:
        parts.append(_past(document))
    if document.sheets:
        parts.append(_sheets(document))
    return Group(*parts)


def _past(document: KeyringDocument) -> Table:
    past = plain_table("History", "version", "threshold", "keys", "signed by")
    for ring in document.history:
        past.add_row(
            str(ring.version),
            str(ring.threshold),
            escape(", ".join(ring.keys)),
            escape(", ".join(ring.signed_by) or "the first"),
        )
    return past


def _sheets(document: KeyringDocument) -> Table:
    sheets = plain_table("Sheets: releases that several people sign", "sheet", "model", "issued", "signed by")
    for one in document.sheets:
        issued = datetime.fromtimestamp(one.counter, tz=timezone.utc).strftime("%Y-%m-%d %H:%M")
        signed = f"{', '.join(one.signed_by) or 'nobody'}: {len(one.signed_by)} of {document.threshold}"
        sheets.add_row(escape(one.path), escape(one.model), issued, escape(signed))
    return sheets

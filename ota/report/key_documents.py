"""The document that `ota key --json` prints, and the table that people see instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.markup import escape

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
class KeyringDocument:
    """`ota key --json`: the newest keyring, and every version in order."""

    format: int
    version: int
    threshold: int
    keys: list[KeyDocument]
    history: list[PastKeyringDocument]


KEY_DOCUMENTS: dict[str, type] = {"key": KeyringDocument}
"""By the name of its schema in docs/schemas/."""


def keyring_document(
    history: Sequence[tuple[Keyring, Sequence[str]]], private: Mapping[str, str]
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
    )


def keyring_view(document: KeyringDocument) -> RenderableType:
    """Return the newest keyring's keys, and its history where there is one."""
    title = f"Keyring {document.version}: {document.threshold} of {len(document.keys)} must sign"
    keys = plain_table(title, "key", "fingerprint", "private half here")
    for key in document.keys:
        keys.add_row(escape(key.name), escape(key.fingerprint), key.private or "[yellow]no[/yellow]")
    if len(document.history) == 1:
        return keys
    past = plain_table("History", "version", "threshold", "keys", "signed by")
    for ring in document.history:
        past.add_row(
            str(ring.version),
            str(ring.threshold),
            escape(", ".join(ring.keys)),
            escape(", ".join(ring.signed_by) or "the first"),
        )
    return Group(keys, past)

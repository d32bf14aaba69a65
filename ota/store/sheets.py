"""Signature sheets: a manifest that several people have to sign, and who has, one small file a release; it may travel to another person's machine and back.

Invariant: a sheet is trusted for nothing: whoever reads it checks every signature against the keyring, and a device does again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ota import durable
from ota.errors import ContentError, Fault, MissingFileError, UsageError

_MOST_CHARS = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A manifest's text and its signatures, (name, armored)."""

    manifest: str
    signatures: tuple[tuple[str, str], ...]


def read_sheet(path: Path) -> Sheet:
    """Return the sheet in a file.

    Raises:
        MissingFileError: it cannot be read.
        ContentError: it is no sheet.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_CHARS + 1)
        plain = json.loads(text) if len(text) <= _MOST_CHARS else None
    except OSError as error:
        raise MissingFileError(
            "the sheet cannot be read",
            where=str(path),
            found=error.strerror or "",
            hint="ota deploy writes one where keys are missing",
        ) from error
    except (ValueError, RecursionError):
        plain = None
    match plain:
        case {"format": 1, "manifest": str(manifest), "signatures": dict(signatures)} if all(
            isinstance(value, str) for value in signatures.values()
        ):
            return Sheet(manifest=manifest, signatures=tuple(sorted(signatures.items())))
    raise ContentError(
        Fault(
            file=str(path),
            problem="not a sheet for signatures: expected format 1, manifest and signatures",
            hint="ota deploy writes it anew",
        )
    )


def write_sheet(path: Path, sheet: Sheet) -> None:
    """Write a sheet, durably; UsageError where it cannot be written."""
    content = {"format": 1, "manifest": sheet.manifest, "signatures": dict(sheet.signatures)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write(path, json.dumps(content, sort_keys=True, indent=1).encode() + b"\n", replace=True)
    except OSError as error:
        raise UsageError(
            "the sheet cannot be written", where=str(path), found=error.strerror or ""
        ) from error

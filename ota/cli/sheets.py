"""What `ota key` does with sheets and records: sign them, and list the sheets that lie here.

A sheet stays when its release is deployed: a host that comes back late needs the same signatures.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ota.cli.keys import SHEETS, ask_passphrase
from ota.errors import MissingFileError, OtaError

if TYPE_CHECKING:
    from ota.core.keyring import Keyring
    from ota.report.key_documents import SheetDocument


def sign_sheet(path: Path, ring: Keyring, folder: Path) -> str:
    """Print a sheet's manifest, add the signatures of the keys in `folder` or in the ssh-agent, and return who has signed.

    Raises:
        MissingFileError: no key is here that has not signed, or there is no such sheet.
        ContentError: it is no sheet.
    """
    from ota.core.keyring import RELEASE_NAMESPACE
    from ota.signing import sshsig
    from ota.signing.keys import signed_by, signer, whereabouts
    from ota.store.sheets import Sheet, read_sheet, write_sheet

    sheet = read_sheet(path)
    content, given = sheet.manifest.encode(), dict(sheet.signatures)
    good = {name: given[name] for name in signed_by(ring, RELEASE_NAMESPACE, content, sheet.signatures)}
    click.echo(sheet.manifest)
    fresh = [one for one in ring.keys if one.name not in good and whereabouts(one, folder)]
    if not fresh:
        raise MissingFileError(
            "no key is here that has not signed",
            where=str(folder),
            expected="another key of the keyring",
            found=f"signed by {', '.join(good) or 'nobody'}",
            hint="name the keys' folder with --keys, or ssh-add it",
        )
    for one in fresh:
        good[one.name] = sshsig.sign(signer(one, folder, ask_passphrase), RELEASE_NAMESPACE, content)
    write_sheet(path, Sheet(manifest=sheet.manifest, signatures=tuple(sorted(good.items()))))
    return f"signed by {', '.join(sorted(good))}: {len(good)} of {ring.threshold} that are needed"


def sign_recorded(identity: str, ring: Keyring, folder: Path) -> str:
    """Print what the selection `identity` chose, sign its record by the first key that is here, and return whose signatures it has.

    Raises:
        UsageError: there is no such selection.
        MissingFileError: no key is here.
    """
    from ota.cli.ends import open_store
    from ota.cli.keys import sign_selection, vouched_of
    from ota.signing.keys import first_signer

    with open_store() as store:
        selection = store.selection(identity)
        winners = ", ".join(
            f"{one.scope}: {one.winner.scheme if one.winner else 'no winner'}" for one in selection.verdicts
        )
        click.echo(f"{selection.id}, play {selection.play}, {selection.created}; {winners}")
        sign_selection(store, selection.id, first_signer(ring, folder, ask_passphrase))
        found = vouched_of(store, selection.id)
    return found.sentence if found else ""


def listed(ring: Keyring, warn: Callable[[str], None]) -> list[SheetDocument]:
    """Return the sheets of this project with who has signed, by name; `warn` is told of a file that is none."""
    from ota.core.keyring import RELEASE_NAMESPACE
    from ota.report.key_documents import SheetDocument
    from ota.signing.keys import signed_by
    from ota.store.sheets import read_sheet

    found: list[SheetDocument] = []
    for path in sorted(SHEETS.glob("*.json")):
        try:
            sheet = read_sheet(path)
            manifest = json.loads(sheet.manifest)
            model, counter = str(manifest["model"]), int(manifest.get("counter", 0))
            datetime.fromtimestamp(counter, tz=timezone.utc)
        except OtaError as error:
            warn(f"{path}: {error.reason}")
            continue
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError):
            warn(f"{path} holds no manifest")
            continue
        names = signed_by(ring, RELEASE_NAMESPACE, sheet.manifest.encode(), sheet.signatures)
        found.append(SheetDocument(path=str(path), model=model, counter=counter, signed_by=list(names)))
    return found

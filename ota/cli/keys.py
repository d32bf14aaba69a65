"""The project's keyrings and the private keys at work, for the commands that sign."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

import click

from ota.cli.ends import STORE_FOLDER
from ota.errors import ContentError, Fault, OtaError, UsageError

if TYPE_CHECKING:
    from ota.core.keyring import Keyring, SignedKeyring
    from ota.core.order_text import Authority
    from ota.core.release import Release
    from ota.core.vouched import Vouched
    from ota.signing.sshsig import Signer
    from ota.store import Store

Ask: TypeAlias = "Callable[[str], str]"
FOLDER = STORE_FOLDER / "keyrings"
SHEETS = STORE_FOLDER / "sheets"
PASSPHRASE_VARIABLE = "OTA_KEY_PASSPHRASE"  # noqa: S105 - the variable's name


def project_keyrings() -> tuple[SignedKeyring, ...]:
    """Return every keyring of the project, the oldest first, none where releases go unsigned; ContentError where one cannot be read."""
    from ota.store.keyrings import Keyrings

    return Keyrings(FOLDER).after(0)


def signatures_of(
    releases: Iterable[Release], keyrings: Sequence[SignedKeyring], folder: Path, ask: Ask
) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """Return the signatures, (name, armored), of each release by its id, by the newest keyring's threshold of keys; none without a keyring.

    Raises:
        MissingFileError: too few of the private keys are in `folder` or in the ssh-agent.
        ContentError, UsageError: one cannot be used.
    """
    if not keyrings:
        return {}
    ring = keyrings[-1].keyring
    return {release.id: _signatures(release, ring, folder.expanduser(), ask) for release in releases}


def _signatures(release: Release, ring: Keyring, folder: Path, ask: Ask) -> tuple[tuple[str, str], ...]:
    """Return a release's signatures, those of its sheet first; where they are too few, keep a sheet that others can sign, and say so."""
    from ota.core.keyring import RELEASE_NAMESPACE
    from ota.signing.keys import sign_here, too_few
    from ota.store.sheets import Sheet, read_sheet, write_sheet

    text, path = release.manifest.to_json(), SHEETS / f"{release.id}.json"
    have = read_sheet(path).signatures if path.exists() else ()
    signatures = sign_here(ring, folder, ask, RELEASE_NAMESPACE, text.encode(), have)
    if len(signatures) < ring.threshold:
        write_sheet(path, Sheet(manifest=text, signatures=signatures))
        raise too_few(
            ring,
            folder,
            signatures,
            f"name the keys' folder with --keys, or let their holders run: ota key sign {path}; then run this again",
        )
    return signatures


def asking_once() -> Ask:
    """Return what asks for the passphrase of each key once, however often it is needed and in however many threads."""
    one_at_a_time, asked = Lock(), cache(ask_passphrase)

    def ask(name: str) -> str:
        with one_at_a_time:
            return asked(name)

    return ask


def authority_of(keyrings: Sequence[SignedKeyring], folder: Path, ask: Ask) -> Authority | None:
    """Return what signs the orders of this run, by the first key of the newest keyring that is here; None without a keyring.

    Raises:
        MissingFileError: none of the private keys is in `folder` or in the ssh-agent.
        ContentError, UsageError: one cannot be used.
    """
    if not keyrings:
        return None
    from ota.core.keyring import ORDER_NAMESPACE
    from ota.signing import sshsig
    from ota.signing.keys import first_signer

    found = first_signer(keyrings[-1].keyring, folder.expanduser(), ask)
    return lambda content: ((found.key.name, sshsig.sign(found, ORDER_NAMESPACE, content)),)


def authority_on_demand(keyrings: Sequence[SignedKeyring], folder: Path, ask: Ask) -> Authority | None:
    """Return as `authority_of`, looking for a key only once something is to be signed; what that raises, signing raises."""
    if not keyrings:
        return None

    def authority(content: bytes) -> tuple[tuple[str, str], ...]:
        found = authority_of(keyrings, folder, ask)
        return () if found is None else found(content)

    return authority


def record_signer(folder: Path, warn: Callable[[str], None]) -> Signer | None:
    """Return what signs the records of this run, by the first key of the newest keyring that is here, and ask for its passphrase now.

    None without a keyring, and where no key can be used: then `warn` is told why.
    """
    keyrings = project_keyrings()
    if not keyrings:
        return None
    from ota.signing.keys import first_signer

    try:
        return first_signer(keyrings[-1].keyring, folder.expanduser(), ask_passphrase)
    except OtaError as error:
        warn(f"the selection will not be signed: {error.reason}")
        return None


def sign_selection(store: Store, selection: str, signer: Signer) -> None:
    """Sign a selection's record, by its whole id, and keep the signature; UsageError where an ssh-agent refuses."""
    from ota.core.keyring import SELECTION_NAMESPACE
    from ota.signing import sshsig

    armored = sshsig.sign(signer, SELECTION_NAMESPACE, store.signed.record(selection))
    store.signed.put(selection, signer.key.name, armored)


def refuse_changed(store: Store, selection: str, warn: Callable[[str], None]) -> None:
    """See that the record of a selection, by its whole id, is what was signed; `warn` is told where no key in force vouches for it.

    Raises:
        ContentError: it was changed since.
    """
    from ota.core.vouched import Worth

    found = vouched_of(store, selection)
    if found is None or found.worth is Worth.SIGNED:
        return
    if found.worth is not Worth.CHANGED:
        warn(
            f"the selection {selection} is {found.sentence}; ota key sign --selection {selection} signs it once you have seen it"
        )
        return
    raise ContentError(
        Fault(
            file=str(STORE_FOLDER / "ota.db"),
            problem=f"the selection {selection} was {found.sentence}",
            hint="restore .ota from a copy, or run ota select again",
        )
    )


def changed_selections(store: Store, model: str) -> tuple[str, ...]:
    """Return, a sentence each, the selections of a model whose records were changed after they were signed."""
    from ota.core.vouched import Worth

    found = ((one, vouched_of(store, one)) for one in store.signed.of_model(model))
    return tuple(
        f"the selection {one} was {vouched.sentence}"
        for one, vouched in found
        if vouched is not None and vouched.worth is Worth.CHANGED
    )


def vouched_of(store: Store, selection: str) -> Vouched | None:
    """Return what the signatures of a selection, by its whole id, are worth; None where the project has no keyring."""
    keyrings = project_keyrings()
    if not keyrings:
        return None
    from ota.signing.records import vouched

    return vouched(
        store.signed.record(selection),
        store.signed.signatures(selection),
        [one.keyring for one in keyrings],
    )


def ask_passphrase(name: str) -> str:
    """Return the passphrase of a private key: from the environment, else asked for; UsageError where nobody can be asked."""
    known = os.environ.get(PASSPHRASE_VARIABLE)
    if known is not None:
        return known
    if not sys.stdin.isatty():
        raise UsageError(
            f"the key {name} has a passphrase", hint=f"run on a terminal, or set {PASSPHRASE_VARIABLE}"
        )
    return str(click.prompt(f"Passphrase of the key {name}", hide_input=True, err=True))

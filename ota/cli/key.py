"""`ota key`: the release keys of a project: made, replaced, removed, shown."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ota.cli.keys import FOLDER, PASSPHRASE_VARIABLE, ask_passphrase
from ota.cli.options import json_option, keys_option
from ota.cli.sheets import listed, sign_recorded, sign_sheet
from ota.errors import ContentError, Fault, MissingFileError, UsageError

if TYPE_CHECKING:
    from ota.core.keyring import Keyring, ReleaseKey
    from ota.signing.keys import NewKey
    from ota.store.keyrings import Keyrings

T = TypeVar("T")


passphrase_option = click.option(
    "--passphrase",
    is_flag=True,
    help=f"Encrypt the new private key; asks twice, unless {PASSPHRASE_VARIABLE} is set.",
)


@click.group(epilog="Examples: ota key init;  ota key rotate release;  ota key show --json")
def key() -> None:
    """Make, replace, remove and show the release keys: with a keyring, devices take only what its keys signed."""


@key.command(
    epilog="Examples: ota key init --passphrase;  ota key init --name ann --add bob.pub --add eve.pub --threshold 2"
)
@click.option("--name", default="release", show_default=True, help="Name of the new key.")
@keys_option
@click.option(
    "--threshold", type=click.IntRange(min=1), default=1, show_default=True, help="How many keys must sign."
)
@click.option(
    "--add",
    "added",
    multiple=True,
    metavar="PUBLIC_KEY_FILE",
    type=click.Path(path_type=Path),
    help="Another person's public Ed25519 key, named by its file; may be repeated.",
)
@passphrase_option
@json_option
def init(
    *, name: str, folder: Path, threshold: int, added: tuple[Path, ...], passphrase: bool, as_json: bool
) -> None:
    """Make a key and the project's first keyring; nothing that exists is overwritten."""
    from ota.core.keyring import Keyring, SignedKeyring
    from ota.signing.keys import generate, read_public, refuse_existing

    keyrings, folder = _keyrings(), folder.expanduser()
    there = keyrings.newest()
    if there is not None:
        raise UsageError(
            "this project has a keyring already",
            where=str(FOLDER),
            found=f"version {there.keyring.version}",
            hint="ota key rotate replaces a key, ota key revoke removes one",
        )
    refuse_existing(folder, name)
    others = tuple(read_public(path.expanduser()) for path in added)
    secret = _new_passphrase() if passphrase else ""
    fresh = _sound(lambda: generate(name, secret))
    ring = _sound(lambda: Keyring(version=1, threshold=threshold, keys=(fresh.key, *others)))
    keyrings.prepare()
    _write(fresh, folder)
    keyrings.put(SignedKeyring(keyring=ring, signatures=()))
    _said(f"wrote {FOLDER / '1.json'}")
    _show(keyrings, folder, as_json=as_json)


@key.command(epilog="Examples: ota key rotate release;  ota key rotate bob --with bob-2.pub")
@click.argument("old", metavar="NAME")
@click.option("--name", help="Name of the new key.  [default: the old one's, numbered]")
@click.option(
    "--with",
    "given",
    metavar="PUBLIC_KEY_FILE",
    type=click.Path(path_type=Path),
    help="Take this public key, instead of making one.",
)
@keys_option
@passphrase_option
@json_option
def rotate(
    *, old: str, name: str | None, given: Path | None, folder: Path, passphrase: bool, as_json: bool
) -> None:
    """Replace the key NAME by a new one, in a keyring that the threshold of the newest one signs."""
    from ota.signing.keys import generate, read_public, refuse_existing

    if given is not None and (name or passphrase):
        raise UsageError("--with takes a key as it is: leave --name and --passphrase out")
    keyrings, folder = _keyrings(), folder.expanduser()
    ring = _newest(keyrings)
    _sound(lambda: ring.key(old))
    if given is not None:
        new = read_public(given.expanduser())
        _follow(keyrings, ring, _sound(lambda: ring.replaced(old, new)), folder)
    else:
        chosen = name or _numbered(old, ring, folder)
        refuse_existing(folder, chosen)
        secret = _new_passphrase() if passphrase else ""
        fresh = _sound(lambda: generate(chosen, secret))
        _follow(keyrings, ring, _sound(lambda: ring.replaced(old, fresh.key)), folder, fresh)
    _show(keyrings, folder, as_json=as_json)


@key.command(epilog="Example: ota key revoke bob")
@click.argument("name", metavar="NAME")
@keys_option
@json_option
def revoke(*, name: str, folder: Path, as_json: bool) -> None:
    """Remove the key NAME, in a keyring that the threshold of the newest one signs; refused where too few would be left."""
    keyrings, folder = _keyrings(), folder.expanduser()
    ring = _newest(keyrings)
    _sound(lambda: ring.key(name))
    if len(ring.keys) <= ring.threshold:
        raise UsageError(
            f"without the key {name} too few would be left to sign",
            expected=f"at least {ring.threshold}",
            found=str(len(ring.keys) - 1),
            hint=f"ota key rotate {name} replaces it",
        )
    _follow(keyrings, ring, ring.without(name), folder)
    _show(keyrings, folder, as_json=as_json)


@key.command(
    epilog="Examples: ota key sign .ota/sheets/3f2a9c0d1e4b5a67.json;  ota key sign --selection 20260131"
)
@click.argument("path", metavar="[SHEET]", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--selection",
    "selection_id",
    metavar="ID",
    help="Sign the record of this selection, in place of a release.",
)
@keys_option
def sign(*, path: Path | None, selection_id: str | None, folder: Path) -> None:
    """Add your signature to a release of which `ota deploy` wrote a SHEET, where several people have to sign; or sign what was selected."""
    if (path is None) == (selection_id is None):
        raise UsageError("what is to be signed is named once", expected="a sheet, or --selection ID")
    ring = _newest(_keyrings())
    if path is None:
        _said(sign_recorded(selection_id or "", ring, folder.expanduser()))
    else:
        _said(sign_sheet(path, ring, folder.expanduser()))


@key.command(epilog="Example: ota key add eve.pub --threshold 2")
@click.argument("public", metavar="PUBLIC_KEY_FILE", type=click.Path(path_type=Path))
@click.option(
    "--threshold", type=click.IntRange(min=1), help="How many keys must sign from then on.  [default: as now]"
)
@keys_option
@json_option
def add(*, public: Path, threshold: int | None, folder: Path, as_json: bool) -> None:
    """Add another person's public key, in a keyring that the threshold of the newest one signs."""
    from ota.signing.keys import read_public

    keyrings, folder = _keyrings(), folder.expanduser()
    ring, new = _newest(keyrings), read_public(public.expanduser())
    _follow(keyrings, ring, _sound(lambda: ring.extended(new, threshold)), folder)
    _show(keyrings, folder, as_json=as_json)


@key.command(epilog="Examples: ota key show;  ota key show --json")
@keys_option
@json_option
def show(*, folder: Path, as_json: bool) -> None:
    """Show the newest keyring, which private halves are here, and who signed each version."""
    _show(_keyrings(), folder.expanduser(), as_json=as_json)


def _new_passphrase() -> str:
    known = os.environ.get(PASSPHRASE_VARIABLE)
    if known is None and not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked for a passphrase", hint=f"run on a terminal, or set {PASSPHRASE_VARIABLE}"
        )
    if known is None:
        known = str(
            click.prompt("Passphrase of the new key", hide_input=True, confirmation_prompt=True, err=True)
        )
    if not known:
        raise UsageError("a passphrase is not empty", hint="leave --passphrase out for a key without one")
    return known


def _keyrings() -> Keyrings:
    from ota.store.keyrings import Keyrings

    return Keyrings(FOLDER)


def _newest(keyrings: Keyrings) -> Keyring:
    newest = keyrings.newest()
    if newest is None:
        raise MissingFileError(
            "this project has no keyring", where=str(FOLDER), hint="ota key init makes one"
        )
    return newest.keyring


def _follow(
    keyrings: Keyrings, old: Keyring, new: Keyring, folder: Path, fresh: NewKey | None = None
) -> None:
    """Sign `new` by the threshold of `old`, and only then write the fresh key, then the keyring."""
    from ota.core.keyring import KEYRING_NAMESPACE, SignedKeyring
    from ota.signing.keys import sign_all

    signatures = sign_all(old, folder, ask_passphrase, KEYRING_NAMESPACE, new.to_json().encode())
    keyrings.prepare()
    if fresh is not None:
        _write(fresh, folder)
    keyrings.put(SignedKeyring(keyring=new, signatures=signatures))
    _said(f"wrote {FOLDER / f'{new.version}.json'}, signed by {', '.join(name for name, _ in signatures)}")


def _write(fresh: NewKey, folder: Path) -> None:
    fresh.write(folder)
    _said(f"wrote {folder / fresh.key.name}: keep a copy in a safe place; nobody can make it again")


def _said(text: str) -> None:
    click.echo(text, err=True)


def _sound(make: Callable[[], T]) -> T:
    """Return what `make` makes of what was typed; a ValueError of it is a fault of that."""
    try:
        return make()
    except ValueError as error:
        raise UsageError(str(error), hint="ota key show") from error


def _numbered(old: str, ring: Keyring, folder: Path) -> str:
    """Return a name for the key that follows `old`: its own with the next number that is free."""
    stem, _, end = old.rpartition("-")
    base, number = (stem, int(end) + 1) if stem and end.isdecimal() and len(end) < 7 else (old, 2)
    taken = {key.name for key in ring.keys}
    while f"{base}-{number}" in taken or os.path.lexists(folder / f"{base}-{number}"):
        number += 1
    return f"{base}-{number}"


def _show(keyrings: Keyrings, folder: Path, *, as_json: bool) -> None:
    from ota.report.documents import plain
    from ota.report.key_documents import keyring_document, keyring_view
    from ota.report.tables import show as render
    from ota.signing.keys import whereabouts

    history = _verified(keyrings)
    newest: tuple[ReleaseKey, ...] = history[-1][0].keys
    document = keyring_document(
        history,
        {one.name: whereabouts(one, folder) for one in newest},
        listed(history[-1][0], lambda message: _said(click.style("warning: ", fg="yellow") + message)),
    )
    if as_json:
        click.echo(json.dumps(plain(document), indent=2))
    else:
        render(keyring_view(document))


def _verified(keyrings: Keyrings) -> list[tuple[Keyring, tuple[str, ...]]]:
    """Return every keyring with who signed it; ContentError where one was not signed by the threshold of the one before."""
    from ota.core.keyring import KEYRING_NAMESPACE
    from ota.signing.keys import signed_by

    _newest(keyrings)
    history: list[tuple[Keyring, tuple[str, ...]]] = []
    for signed in keyrings.after(0):
        names: tuple[str, ...] = ()
        if history:
            before, _ = history[-1]
            text = signed.keyring.to_json().encode()
            names = signed_by(before, KEYRING_NAMESPACE, text, signed.signatures)
            if len(names) < before.threshold:
                raise ContentError(
                    Fault(
                        file=str(FOLDER / f"{signed.keyring.version}.json"),
                        problem=f"signed by {len(names)} keys of the keyring before, not by {before.threshold}",
                        hint="devices refuse it; restore the folder from a copy",
                    )
                )
        history.append((signed.keyring, names))
    return history

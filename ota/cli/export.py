"""`ota export`: a release as a folder that OpenSSF's model_signing verifies."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ota.cli.ends import chosen_hosts, open_store, read_inventory, read_playbook
from ota.cli.options import Target, playbook_argument, target_options
from ota.cli.planning import Choice, choice_options
from ota.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ota.core.release import Release
    from ota.store import Store


@click.command(
    epilog="Examples: ota export --key openssf.pem;  ota export --key openssf.pem --model my.tflite --output exports"
)
@playbook_argument
@click.option(
    "--key",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A private key on the curve P-256, P-384 or P-521 in PEM: this form knows no Ed25519.",
)
@click.option(
    "--output",
    default=".",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to.",
)
@choice_options
@target_options
def export(
    *,
    playbook: str,
    key: Path,
    output: Path,
    selection_id: str | None,
    scheme: str | None,
    model_file: Path | None,
    any_board: bool,
    **options: object,
) -> int:
    """Write what `ota deploy` would roll out as a folder, signed in OpenSSF's model signing form and checked, for those who verify by model_signing."""
    from ota.signing.openssf import public_half

    choice = Choice(selection_id=selection_id, scheme=scheme, model_file=model_file, any_board=any_board)
    target = Target(**options)  # type: ignore[arg-type]
    book = read_playbook(playbook, files=False)
    known = read_inventory(target, playbook)
    public = public_half(key)
    with open_store() as store:
        found: dict[str, Release] = {}
        for play in book.plays:
            plan = choice.plan(play, chosen_hosts(known, play.hosts, target), store, _warn)
            found |= {release.id: release for release in plan.releases.values()}
        for release in found.values():
            _write(release, store, output, key, public)
    return ExitCode.DONE


def _write(release: Release, store: Store, output: Path, key: Path, public: bytes) -> None:
    """Write one release, its signature and the public half of its key, check it as others will, and say how; nothing is left of what cannot be signed."""
    from ota.signing.openssf import sign_folder, verify_folder
    from ota.workflows.export import lay_out

    folder = output / f"release-{release.id}"
    signature, public_file = output / f"{folder.name}.sig", output / f"{folder.name}.pub"
    lay_out(release, store.blob, folder)
    try:
        sign_folder(folder, signature, key)
        public_file.write_bytes(public)
        verify_folder(folder, signature, public_file)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        for path in (signature, public_file):
            with suppress(OSError):
                path.unlink()
        if isinstance(error, OSError):
            raise UsageError(
                "the signature cannot be written", where=str(signature), found=error.strerror or ""
            ) from error
        raise
    click.echo(str(folder))
    click.echo(
        f"verified; others do it by: model_signing verify key {folder} --signature {signature} --public_key {public_file}",
        err=True,
    )


def _warn(message: str) -> None:
    click.echo(click.style("warning: ", fg="yellow") + message, err=True)

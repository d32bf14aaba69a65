"""`ota init` and `ota completion`: text for a new user's folder and shell."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import get_completion_class

from ota.errors import UsageError


@click.command(epilog="Example: mkdir fleet && cd fleet && ota init")
@click.argument("folder", default=".", metavar="[FOLDER]", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Write a commented inventory and playbook into an empty folder; nothing that exists is touched."""
    from ota.formats.templates import templates

    files = {folder / name: text for name, text in templates().items()}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise UsageError(
            "ota init does not overwrite what is there", found=", ".join(there), hint="choose an empty folder"
        )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {path}")
    click.echo(
        "\nPut your boards into inventory.yaml and your model into playbooks/site.yaml, then: ota ping"
    )


@click.command(epilog="Example: echo 'eval \"$(ota completion bash)\"' >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that switches shell completion on, for `eval` in a start-up file."""
    from ota.cli.main import ota

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choice above holds only shells that click knows
    click.echo(kind(ota, {}, "ota", "_OTA_COMPLETE").source())

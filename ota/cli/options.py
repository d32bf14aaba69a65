"""Options that several commands share, each written once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])

DEFAULT_INVENTORY = "inventory.yaml"
DEFAULT_PLAYBOOK = "playbooks/site.yaml"
DEFAULT_FORKS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which hosts a command is about, as it was typed; `limit` None: no limit was given."""

    inventory: tuple[str, ...]
    limit: str | None
    allow_unmatched: bool
    extra_vars: tuple[str, ...]
    forks: int
    ask_pass: bool
    verbose: int


def target_options(function: F) -> F:
    """Add the options that choose hosts and say how they are reached."""
    for option in reversed(
        (
            click.option(
                "-i",
                "--inventory",
                multiple=True,
                metavar="PATH",
                help=f"Inventory file, folder or 'host,host,'; may be repeated. [default: {DEFAULT_INVENTORY}]",
            ),
            click.option(
                "-l", "--limit", metavar="PATTERN", help="Only the hosts that match, as in Ansible."
            ),
            click.option("--allow-unmatched", is_flag=True, help="Let a term of a pattern match nothing."),
            click.option(
                "-e",
                "--extra-vars",
                multiple=True,
                metavar="KEY=VALUE",
                help="A variable that wins over all others.",
            ),
            click.option(
                "-f",
                "--forks",
                type=click.IntRange(min=1),
                default=DEFAULT_FORKS,
                show_default=True,
                help="How many hosts at once.",
            ),
            click.option(
                "-k",
                "--ask-pass",
                is_flag=True,
                help="Ask for the SSH password (else OTA_SSH_PASSWORD, else keys).",
            ),
            click.option("-v", "--verbose", count=True, help="Show the dialogue with the devices."),
        )
    ):
        function = option(function)
    return function


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)

check_option = click.option(
    "-C", "--check", "--dry-run", is_flag=True, help="Check mode: say what would change, change nothing."
)

playbook_argument = click.argument("playbook", default=DEFAULT_PLAYBOOK, metavar="[PLAYBOOK]")

DEFAULT_KEYS = "~/.config/ota/keys"
keys_option = click.option(
    "--keys",
    "folder",
    default=DEFAULT_KEYS,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the private keys.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Where the jobs of a rollout are carried out, as it was typed; an empty `scheduler`: none was named."""

    executor: str
    scheduler: str
    tls_ca: Path | None
    tls_cert: Path | None
    tls_key: Path | None

    @classmethod
    def of(cls, options: dict[str, object]) -> Remote:
        """Take these options out of all that were typed."""
        names = ("executor", "scheduler", "tls_ca", "tls_cert", "tls_key")
        return cls(**{name: options.pop(name) for name in names})  # type: ignore[arg-type]

    @property
    def dask_options(self) -> tuple[tuple[str, object], ...]:
        """The options that mean something with Dask alone, with what was typed."""
        return (
            ("--scheduler", self.scheduler),
            ("--tls-ca", self.tls_ca),
            ("--tls-cert", self.tls_cert),
            ("--tls-key", self.tls_key),
        )


def executor_options(function: F) -> F:
    """Add the options that say where the jobs of a rollout are carried out."""
    file = click.Path(dir_okay=False, path_type=Path)
    for option in reversed(
        (
            click.option(
                "--executor",
                type=click.Choice(["threads", "dask"]),
                default="threads",
                show_default=True,
                help="Who carries the hosts' jobs out: this process, or the workers of a Dask scheduler, each at its site.",
            ),
            click.option(
                "--scheduler", default="", metavar="ADDRESS", help="The Dask scheduler, tls://HOST:PORT."
            ),
            click.option("--tls-ca", type=file, help="The certificate authority of scheduler and workers."),
            click.option("--tls-cert", type=file, help="This controller's certificate for the scheduler."),
            click.option("--tls-key", type=file, help="The certificate's private key."),
        )
    ):
        function = option(function)
    return function

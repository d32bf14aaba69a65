"""`ota` itself: the table of commands, each imported only when it runs, and the one place where errors become exit codes."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from ota import __version__
from ota.errors import ExitCode, OtaError

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("ota.cli.files:init", "Write a commented inventory and playbook into this folder."),
    "inventory": (
        "ota.cli.inventory:inventory",
        "Show hosts, groups and variables as ansible-inventory does.",
    ),
    "trust": ("ota.cli.devices:trust", "Fetch hosts' SSH keys, show them and record them after a yes."),
    "ping": ("ota.cli.devices:ping", "Reach every host and print its facts."),
    "provision": ("ota.cli.devices:provision", "Install every runtime that really runs on each device."),
    "select": (
        "ota.cli.select:select",
        "Quantize, measure on the devices and choose the candidate with the least L.",
    ),
    "report": ("ota.cli.report:report", "Write a selection as one HTML page, JSON, CSV or Markdown."),
    "replay": ("ota.cli.replay:replay", "Recompute a selection's verdict from its raw samples."),
    "deploy": ("ota.cli.deploy:deploy", "Roll the selected model out in batches, verified on each device."),
    "rollback": ("ota.cli.deploy:rollback", "Put every host back to its previous release."),
    "export": ("ota.cli.export:export", "Write a release as a folder that OpenSSF's model_signing verifies."),
    "status": (
        "ota.cli.status:status",
        "Show what each device runs, and where it drifts from what it should.",
    ),
    "verify": (
        "ota.cli.status:verify",
        "Read everything on the devices back, with signatures and journals; fail where it is not as it should be.",
    ),
    "history": ("ota.cli.status:history", "Show past runs, selections and rollouts."),
    "key": ("ota.cli.key:key", "Make, replace, remove and show the keys that sign releases."),
    "score": ("ota.cli.score:score", "Compute the terms of L from a table of your own."),
    "inspect": (
        "ota.cli.inspect:inspect",
        "Show a .tflite file's graph, where it loads and what a scheme changed.",
    ),
    "schemes": ("ota.cli.score:schemes", "List the quantization schemes and metrics."),
    "lab": ("ota.cli.lab:lab", "Start and stop virtual microcomputers on this machine."),
    "completion": ("ota.cli.files:completion", "Print the line that switches shell completion on."),
}
"""Command name -> (module:function, one line of help); `ota --help` needs no module but this one."""

_GARBAGE_EVERY = 20_000
"""So many objects more than before, and cycles among the young ones are looked for; 700 by itself."""


class LazyGroup(click.Group):
    """A group that knows its commands' names and one-line helps, and imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        """Return the names in the order in which a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click calls it so
        """Import and return one command; None for a name that there is not."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click calls it so
        """Write the table of commands from the literal table, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or guess at a misspelt one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            guess = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{guess[0]}'?" if guess else " 'ota --help' lists them."
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try 'ota lab up', 'ota provision', 'ota select', 'ota deploy', 'ota rollback'; 'ota COMMAND --help' has examples.",
)
@click.version_option(__version__, "-V", "--version", prog_name="ota")
def ota() -> None:
    """Over-the-air model updates for neural networks on microcomputers.

    Quantizes a trained network under every scheme, measures each candidate over SSH on the devices of an Ansible inventory, selects the one
    with the least objective L, and rolls it out with checksum verification and rollback.
    """


def run(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; every error becomes one message on stderr."""
    try:
        result = ota.main(args=None if args is None else list(args), prog_name="ota", standalone_mode=False)
    except OtaError as error:
        _complain(error.render())
        return error.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        usage = f"\n  {context.command_path} --help shows what it takes" if context else ""
        _complain(error.format_message() + usage)
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted; devices are as they were or finished")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`ota status | head`): nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:  # noqa: BLE001 - the outermost frame: a fault of ours must still end in one message
        where = traceback.extract_tb(error.__traceback__)[-1]
        _complain(
            f"a fault of ota itself: {type(error).__name__}: {error}"
            f" ({os.path.basename(where.filename)}:{where.lineno}, ota {__version__})"  # noqa: PTH119
            "\n  please report this line; OTA_TRACEBACK=1 shows how it came about"
        )
        if os.environ.get("OTA_TRACEBACK"):
            traceback.print_exc()
        return ExitCode.INTERNAL
    return result if isinstance(result, int) else ExitCode.DONE


def _complain(message: str) -> None:
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Be the console script.

    Modules make many objects that live to the end: Python looks through them for garbage less often than by itself, and at the exit not once more.
    """
    gc.set_threshold(_GARBAGE_EVERY)
    code = run(args)
    gc.freeze()
    sys.exit(code)

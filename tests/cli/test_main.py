"""The command line as a person meets it: help, guesses, exit codes; the real binary in a real folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ota.cli.main import COMMANDS


def ota(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the real command line in `cwd`."""
    return subprocess.run(
        [sys.executable, "-m", "ota", *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, tmp_path: Path) -> None:
    """Every command's --help names an example that begins with `ota`, and exits with 0."""
    done = ota(command, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout
    assert f"ota {command}" in done.stdout
    assert done.stderr == ""


def test_help_lists_every_command(tmp_path: Path) -> None:
    """`ota --help` names each command once with its line of help."""
    done = ota("--help", cwd=tmp_path)
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


USAGE_CASES = {
    "a misspelt command is guessed": (
        ["selct"],
        64,
        "error: No such command 'selct'. Did you mean 'select'?",
    ),
    "an unknown option": (["status", "--colour"], 64, "error: No such option '--colour'"),
    "no inventory": (["inventory", "--graph"], 66, "error: inventory.yaml: there is no inventory here"),
    "no playbook": (["deploy"], 66, "error: "),
    "nothing asked of inventory": (["inventory"], 64, "one of --list, --host NAME, --graph, --list-hosts"),
    "a variable without a value": (
        ["inventory", "--graph", "-i", "a,", "-e", "novalue"],
        64,
        "sets nothing: expected name=value",
    ),
    "an inventory that is not there": (["inventory", "--graph", "-i", "nowhere.yaml"], 66, "nowhere.yaml"),
}


@pytest.mark.parametrize(("args", "code", "message"), USAGE_CASES.values(), ids=USAGE_CASES.keys())
def test_wrong_input_gets_one_message_and_its_exit_code(
    args: list[str], code: int, message: str, tmp_path: Path
) -> None:
    """What is typed wrong ends in one message on stderr, nothing on stdout, and a documented exit code."""
    done = ota(*args, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_init_writes_files_that_parse_and_never_overwrites(tmp_path: Path) -> None:
    """`ota init` writes an inventory that loads; a second run refuses and leaves the first one's files alone."""
    first = ota("init", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    shown = ota("inventory", "--graph", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("@all:")
    before = (tmp_path / "inventory.yaml").read_text()
    again = ota("init", cwd=tmp_path)
    assert again.returncode == 64
    assert "does not overwrite" in again.stderr
    assert (tmp_path / "inventory.yaml").read_text() == before


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, tmp_path: Path) -> None:
    """The completion script names the program and the variable that switches completion on."""
    done = ota("completion", shell, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "_OTA_COMPLETE" in done.stdout

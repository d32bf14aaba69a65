from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ota.errors import UsageError
from ota.lab.fleet import LabState
from ota.lab.interpreters import device_python
from ota.lab.sshd import Daemon, find_programs, is_locked, make_key, prepare, start

SHADOW = "root:*:19000:0:99999:7:::\nlocked:!:19000::::::\nno_password_yet:!*:19000::::::\nhashed:$y$x:19000::::::\nshort\n"


@pytest.mark.parametrize(
    ("name", "locked"),
    [
        ("root", False),
        ("hashed", False),
        ("locked", True),
        ("no_password_yet", True),
        ("short", False),
        ("nobody", False),
    ],
)
def test_which_accounts_are_locked(name: str, *, locked: bool) -> None:
    """An exclamation mark locks an account; a star only means that it has no password."""
    assert is_locked(SHADOW, name) is locked


def test_sshd_refuses_in_its_own_words(start_lab: Callable[..., LabState], tmp_path: Path) -> None:
    """A config that this sshd does not take is told with what sshd said about it."""
    programs = find_programs()
    if programs.version >= (9, 8):
        pytest.skip("this sshd knows every option that a lab uses")
    daemon = Daemon(folder=tmp_path / "device")
    newer = replace(programs, version=(9, 8))
    prepare(daemon, newer, name="device", public_key="", python=Path(sys.executable))
    with pytest.raises(UsageError, match=r"sshd refuses its config: found .*PerSourcePenalties"):
        start(daemon, newer)
    assert daemon.pid() is None


def test_a_key_that_cannot_be_made_is_told(start_lab: Callable[..., LabState], tmp_path: Path) -> None:
    """Where ssh-keygen cannot write, its words arrive."""
    with pytest.raises(UsageError, match=r"ssh-keygen makes no key: found .*No such file or directory"):
        make_key(find_programs(), tmp_path / "missing" / "key", "a key")


def version_and_prefixes(python: Path) -> tuple[tuple[int, int], bool]:
    """Return an interpreter's version, and whether it is outside every virtual environment."""
    code = "import sys, venv; print(*sys.version_info[:2], sys.prefix == sys.base_prefix)"
    said = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    return (int(said[0]), int(said[1])), said[2] == "True"


def test_a_device_runs_the_controllers_base_interpreter() -> None:
    """Without a preference a device has the controller's Python, and not that of its virtual environment."""
    assert version_and_prefixes(device_python(())) == (sys.version_info[:2], True)
    assert device_python(("ai-edge-litert", "tflite-runtime")) == device_python(())


def test_a_device_for_the_older_runtime_has_a_python_that_it_was_built_for() -> None:
    """A device that prefers tflite-runtime gets a Python 3.8 to 3.11 where there is one, else the controller's."""
    python = device_python(("tflite-runtime", "ai-edge-litert"))
    version, outside = version_and_prefixes(python)
    assert outside
    assert (3, 8) <= version <= (3, 11) or python == device_python(())

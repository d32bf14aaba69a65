"""What every room's tests may use: labs of real OpenSSH daemons in temporary folders, on free ports."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ota.errors import UsageError
from ota.lab.fleet import LabState, default_fleet
from ota.lab.lab import down, up
from ota.lab.sshd import account, find_programs, free_port

# Who starts us in the background may have SIGINT ignored, and every program under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

StartLab = Callable[..., LabState]
"""start_lab(count=1, *, rate_kbit=1_000_000, delay_ms=0, folder=None); the state has the inventory, key, known_hosts and each device's home."""


@pytest.fixture(scope="session")
def start_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartLab]:
    """Return a starter of labs whose lines are fast unless asked otherwise; they are brought down when the tests end."""
    try:
        find_programs()
        account()
    except UsageError as error:
        pytest.skip(error.render())
    folders: list[Path] = []

    def start(
        count: int = 1, *, rate_kbit: int = 1_000_000, delay_ms: int = 0, folder: Path | None = None
    ) -> LabState:
        folders.append(folder or tmp_path_factory.mktemp("lab"))
        fleet = [
            replace(spec, port=free_port(), rate_kbit=rate_kbit, delay_ms=delay_ms)
            for spec in default_fleet(count)
        ]
        return up(folders[-1], fleet=fleet)

    yield start
    for folder in folders:
        down(folder)


@pytest.fixture(scope="session")
def lab(start_lab: StartLab) -> LabState:
    """Return the lab that tests share: sorter-1 to sorter-3, the third prefers tflite-runtime. Leave it running as it was."""
    return start_lab(3)

"""What a device says of its board, parsed: each fact in its type and within its bounds, or a HostError with the host's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ota.errors import HostError
from tests.remote.test_device import answering, open_device

TOLD = {
    "boot_id": "b", "architecture": "aarch64", "python": [3, 11, 2], "python_executable": "/p", "python_bits": 64, "libc": "musl",
    "system_numpy": "", "memory_total_bytes": 1, "memory_available_bytes": 1, "disk_free_bytes": 1, "cpu_model": "m", "cpu_count": 4,
    "os": "o", "kernel": "k", "hostname": "h", "root": "/r", "runtimes": [{"id": "i", "package": "p", "version": "1", "python": "/p"}],
    "board_revision": "c03111", "serial_sha256": "a" * 64, "firmware": "f", "cpu_features": ["crc32", "fp"], "affinity": [0, 3],
    "clock_limits_khz": [600_000, 1_500_000, 700_000, 700_000], "clock_source": "c",
}  # fmt: skip
WRONG_FACTS = {
    "a serial number in clear": {"serial_sha256": "10000000abcdef01"},
    "a wheel by no digest": {"runtimes": [{**TOLD["runtimes"][0], "wheel_sha256": "zz"}]},  # type: ignore[index,dict-item]
    "features without end": {"cpu_features": ["x"] * 2000},
    "a feature without end": {"cpu_features": ["x" * 100]},
    "a feature that is no text": {"cpu_features": [1]},
    "processors without end": {"affinity": list(range(4097))},
    "a processor that cannot be": {"affinity": [1 << 40]},
    "half a policy": {"clock_limits_khz": [600_000]},
    "a least clock above the highest": {"clock_limits_khz": [2, 1]},
    "a clock that cannot be": {"clock_limits_khz": [1, 1 << 40]},
    "a firmware that tells a story": {"firmware": "x" * 1000},
    "a revision that is no text": {"board_revision": 7},
    "no clock source": {"clock_source": None},
}


@pytest.mark.parametrize("change", WRONG_FACTS.values(), ids=WRONG_FACTS.keys())
def test_what_a_board_is_made_of_is_not_trusted(change: dict[str, object], tmp_path: Path) -> None:
    """Each fact of the board has its type and its bounds; what breaks them is a HostError that names it."""
    answer = json.dumps({"ok": True, **TOLD, **change}).encode() + b"\n"
    (name,) = change
    with (
        open_device(tmp_path / "root", answering(tmp_path, answer)) as device,
        pytest.raises(HostError, match="wheel_sha256" if name == "runtimes" else name) as caught,
    ):
        device.facts()
    assert caught.value.where == "here"


def test_what_a_board_is_made_of_is_taken_in_its_types(tmp_path: Path) -> None:
    """What the table above breaks in one place each is facts where nothing is broken; a wheel that nobody noted is empty."""
    answer = json.dumps({"ok": True, **TOLD}).encode() + b"\n"
    with open_device(tmp_path / "root", answering(tmp_path, answer)) as device:
        facts = device.facts()
    assert facts.clock_limits_khz == ((600_000, 1_500_000), (700_000, 700_000))
    assert (facts.affinity, facts.cpu_features) == ((0, 3), ("crc32", "fp"))
    assert facts.runtimes[0].wheel_sha256 == ""

"""Which of a device's runtimes a command uses: the one that was measured, else the preferred one, else a way out in words."""

from __future__ import annotations

import pytest

from ota.cli.session import runtime_for, runtimes_for
from ota.core.facts import Facts, Runtime
from ota.core.inventory import Host
from ota.errors import HostError

HOST = Host(name="a")
OLD_TFLITE = Runtime(
    id="tflite-runtime-2.14.0-cp310", package="tflite-runtime", version="2.14.0", python="/0"
)
TFLITE = Runtime(id="tflite-runtime-2.14.0-cp311", package="tflite-runtime", version="2.14.0", python="/1")
LITERT = Runtime(id="ai-edge-litert-2.3.0-cp311", package="ai-edge-litert", version="2.3.0", python="/2")


def board(*runtimes: Runtime) -> Facts:
    """Return the facts of a board with Python 3.11 and those runtimes."""
    return Facts(
        boot_id="b", architecture="aarch64", python=(3, 11, 2), python_executable="/usr/bin/python3", python_bits=64,
        libc="glibc 2.36", system_numpy="", memory_total_bytes=1, memory_available_bytes=1, disk_free_bytes=1,
        cpu_model="Raspberry Pi 4", cpu_count=4, os="Debian", kernel="6", hostname="pi", root="/r", runtimes=runtimes,
    )  # fmt: skip


CASES = {
    "the preferred one": ((TFLITE, LITERT), None, LITERT),
    "the measured one": ((TFLITE, LITERT), "tflite-runtime 2.14.0", TFLITE),
    "of two the one for the device's Python": ((OLD_TFLITE, TFLITE), "tflite-runtime 2.14.0", TFLITE),
    "one that an earlier Python made, where there is no other": ((OLD_TFLITE,), "tflite-runtime 2.14.0", OLD_TFLITE),
}  # fmt: skip


@pytest.mark.parametrize(("runtimes", "label", "expected"), CASES.values(), ids=CASES.keys())
def test_a_runtime_is_found(runtimes: tuple[Runtime, ...], label: str | None, expected: Runtime) -> None:
    """By its label, or without one the first in order of preference."""
    assert runtime_for(HOST, board(*runtimes), label) == expected


def test_a_measured_runtime_that_is_not_there_is_told() -> None:
    """What is wanted, what is there, and the command that helps."""
    with pytest.raises(HostError) as caught:
        runtime_for(HOST, board(LITERT), "tflite-runtime 2.14.0")
    assert caught.value.reason == (
        "the release was measured under tflite-runtime 2.14.0, which is not installed here: "
        "found ai-edge-litert 2.3.0; ota provision --limit a"
    )


def test_a_board_without_any_is_told_to_be_provisioned() -> None:
    """No runtime is a HostError with the command that installs them."""
    with pytest.raises(HostError, match="no runtime is installed for this board") as caught:
        runtimes_for(HOST, board())
    assert caught.value.hint == "ota provision --limit a"

"""Which runtime a board gets: one case for each kind of board, the inventory's preference, and every refusal in words."""

from __future__ import annotations

from typing import Any

import pytest

from ota.core.facts import Facts, Runtime
from ota.core.runtime import RUNTIMES, Unsupported, choose_runtimes, installed_runtimes


def board(**fields: Any) -> Facts:
    """Return the facts of a 64-bit Raspberry Pi with Bookworm, but for what is given."""
    known: dict[str, Any] = {
        "boot_id": "b", "architecture": "aarch64", "python": (3, 11, 2), "python_executable": "/usr/bin/python3", "python_bits": 64,
        "libc": "glibc 2.36", "system_numpy": "", "memory_total_bytes": 1, "memory_available_bytes": 1, "disk_free_bytes": 1,
        "cpu_model": "Raspberry Pi 4", "cpu_count": 4, "os": "Debian", "kernel": "6", "hostname": "pi", "root": "/r", "runtimes": (),
    }  # fmt: skip
    return Facts(**{**known, **fields})


CHOICES = {
    "64-bit Bookworm": (board(), ["ai-edge-litert 2.3.0", "tflite-runtime 2.14.0"], False),
    "64-bit Trixie": (board(python=(3, 13, 0), libc="glibc 2.41"), ["ai-edge-litert 2.3.0"], False),
    "x86": (board(architecture="x86_64"), ["ai-edge-litert 2.3.0", "tflite-runtime 2.14.0"], False),
    "64-bit Bullseye, whose libstdc++ is too old for the newest": (
        board(python=(3, 9, 2), libc="glibc 2.31"), ["ai-edge-litert 2.1.0", "tflite-runtime 2.13.0"], False,
    ),
    "32-bit Bookworm with its own NumPy": (
        board(architecture="armv7l", python_bits=32, system_numpy="1.24.2"), ["tflite-runtime 2.14.0"], True,
    ),
    "32-bit Bullseye with its own NumPy": (
        board(architecture="armv7l", python_bits=32, python=(3, 9, 2), libc="glibc 2.31", system_numpy="1.19.5"), ["tflite-runtime 2.11.0"], True,
    ),
    "a 32-bit system under a 64-bit kernel is a 32-bit board": (
        board(architecture="aarch64", python_bits=32, system_numpy="1.24.2"), ["tflite-runtime 2.14.0"], True,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "labels", "system_numpy"), CHOICES.values(), ids=CHOICES.keys())
def test_a_board_gets_what_really_runs_there(facts: Facts, labels: list[str], system_numpy: bool) -> None:
    """Of each package the newest build whose Python, glibc and NumPy the board has; 32-bit ARM uses the system's NumPy, for no wheel exists."""
    choices = choose_runtimes(facts)
    assert not isinstance(choices, Unsupported)
    assert [choice.label for choice in choices] == labels
    for choice in choices:
        assert choice.system_site_packages == system_numpy
        assert choice.id.endswith(f"-cp3{facts.python[1]}")


REFUSALS = {
    "ARMv6": (board(architecture="armv6l", python_bits=32), "ARMv6"),
    "32-bit Python 3.13": (
        board(architecture="armv7l", python_bits=32, python=(3, 13, 0), system_numpy="2.2.4"),
        "3.13",
    ),
    "32-bit without NumPy": (board(architecture="armv7l", python_bits=32), "numpy"),
    "musl": (board(libc="musl"), "musl"),
    "a Python that nothing was built for": (board(python=(3, 6, 9), libc="glibc 2.27"), "3.6"),
    "an architecture that nothing was built for": (board(architecture="riscv64"), "riscv64"),
}


@pytest.mark.parametrize(("facts", "word"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_board_for_which_nothing_exists_is_refused_with_the_reason(facts: Facts, word: str) -> None:
    """The refusal names what stands against it and what the owner can do."""
    refused = choose_runtimes(facts)
    assert isinstance(refused, Unsupported)
    assert word.lower() in refused.reason.lower()
    assert refused.hint


PREFERENCES = {
    "another order": (
        ("tflite-runtime", "ai-edge-litert"),
        ["tflite-runtime 2.14.0", "ai-edge-litert 2.3.0"],
    ),
    "one alone": (("tflite-runtime",), ["tflite-runtime 2.14.0"]),
    "a version": (("tflite-runtime==2.13.0",), ["tflite-runtime 2.13.0"]),
    "a version beside the newest": (
        ("ai-edge-litert", "ai-edge-litert==2.1.0"),
        ["ai-edge-litert 2.3.0", "ai-edge-litert 2.1.0"],
    ),
    "the same twice": (("tflite-runtime", "tflite-runtime==2.14.0"), ["tflite-runtime 2.14.0"]),
}


@pytest.mark.parametrize(("preference", "labels"), PREFERENCES.values(), ids=PREFERENCES.keys())
def test_the_inventorys_preference_decides(preference: tuple[str, ...], labels: list[str]) -> None:
    """`ota_runtime` gives the order, and what it does not name is not considered."""
    choices = choose_runtimes(board(python=(3, 10, 0)), preference)
    assert not isinstance(choices, Unsupported)
    assert [choice.label for choice in choices] == labels


def test_a_preference_that_cannot_be_met_is_skipped_or_refused() -> None:
    """What does not run there is left out while another is named; where it is the only one, that is refused."""
    trixie = board(python=(3, 13, 0), libc="glibc 2.41")
    fallback = choose_runtimes(trixie, ("tflite-runtime", "ai-edge-litert"))
    assert not isinstance(fallback, Unsupported)
    assert [choice.package for choice in fallback] == ["ai-edge-litert"]
    assert isinstance(choose_runtimes(trixie, ("tflite-runtime",)), Unsupported)


def test_a_misspelt_preference_is_guessed() -> None:
    """A package that there is not is refused with a guess."""
    refused = choose_runtimes(board(), ("tflite-runtimes",))
    assert isinstance(refused, Unsupported)
    assert "tflite-runtime" in refused.reason + refused.hint


def test_only_chosen_runtimes_count_as_installed() -> None:
    """Of the runtimes on a board those count that are chosen for it, in the order of preference."""
    choices = choose_runtimes(board())
    assert not isinstance(choices, Unsupported)
    litert, tflite = (
        Runtime(id=choice.id, package=choice.package, version=choice.version, python="/p")
        for choice in choices
    )
    other = Runtime(id="other", package="tflite-runtime", version="1", python="/p")
    assert installed_runtimes(board(runtimes=(other, tflite, litert))) == (litert, tflite)
    assert installed_runtimes(board(runtimes=(litert, tflite)), ("tflite-runtime",)) == (tflite,)
    assert installed_runtimes(board(runtimes=(other,))) == ()


@pytest.mark.parametrize(
    "row", RUNTIMES, ids=lambda row: f"{row.label} {'/'.join(sorted(row.architectures))}"
)
def test_every_row_of_the_table_is_chosen_by_some_board(row: Any) -> None:
    """For each build there is a board that gets it when the inventory asks for that version."""
    architecture = min(row.architectures)
    facts = board(
        architecture=architecture,
        python_bits=32 if architecture == "armv7l" else 64,
        python=(*row.python[0], 0),
        libc=f"glibc {row.glibc[0]}.{row.glibc[1]}",
        system_numpy=".".join(map(str, row.numpy[0])),
    )
    choices = choose_runtimes(facts, (f"{row.package}=={row.version}",))
    assert not isinstance(choices, Unsupported), choices
    assert [choice.label for choice in choices] == [row.label]

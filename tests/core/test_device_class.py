"""Hosts with equal facts form a class: what decides how a network runs tells them apart, the state of a moment does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ota.core.device_class import device_classes
from ota.core.facts import Facts

PI = Facts(
    boot_id="1", architecture="aarch64", python=(3, 11, 2), python_executable="/usr/bin/python3", python_bits=64, libc="glibc 2.36",
    system_numpy="", memory_total_bytes=4_000_000_000, memory_available_bytes=3_000_000_000, disk_free_bytes=9, cpu_model="Raspberry Pi 4 Model B Rev 1.4",
    cpu_count=4, os="Debian GNU/Linux 12", kernel="6.1.0", hostname="a", root="/home/pi/ota", runtimes=(),
)  # fmt: skip
LITERT = ("ai-edge-litert 2.3.0",)

SAME = {
    "another boot": {"boot_id": "2"},
    "another name": {"hostname": "b"},
    "less free memory": {"memory_available_bytes": 1},
    "less free disk": {"disk_free_bytes": 1},
    "another folder": {"root": "/srv/ota"},
    "a patch release of Python": {"python": (3, 11, 9)},
    "a kernel that keeps 1 % more memory": {"memory_total_bytes": 3_960_000_000},
    "another board of its kind": {"serial_sha256": "b" * 64, "board_revision": "c03112"},
    "another firmware": {"firmware": "b"},
    "fewer processors allowed": {"affinity": (0,)},
    "other clock limits": {"clock_limits_khz": ((1, 2),)},
}
OTHER = {
    "another board": {"cpu_model": "Raspberry Pi 5 Model B Rev 1.0"},
    "half the memory": {"memory_total_bytes": 2_000_000_000},
    "another kernel": {"kernel": "6.6.0"},
    "fewer processors": {"cpu_count": 2},
    "another Python": {"python": (3, 12, 0)},
    "another C library": {"libc": "glibc 2.41"},
    "32 bits": {"python_bits": 32},
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_what_passes_does_not_part(change: dict[str, object]) -> None:
    """Two boards that differ only in their name, their place or the state of a moment are one class."""
    other = replace(PI, **change)  # type: ignore[arg-type]
    (group,) = device_classes([("a", PI, LITERT), ("b", other, LITERT)], measure=("a", "b"), per_class=2)
    assert group.hosts == group.measured == ("a", "b")
    assert group.name == PI.cpu_model


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
def test_what_decides_how_a_network_runs_parts(change: dict[str, object]) -> None:
    """Two boards that run networks differently are two classes with different names."""
    other = replace(PI, **change)  # type: ignore[arg-type]
    groups = device_classes([("a", PI, LITERT), ("b", other, LITERT)], measure=("a", "b"), per_class=2)
    assert [group.hosts for group in groups] == [("a",), ("b",)]
    assert len({group.name for group in groups}) == 2


def test_the_runtimes_part() -> None:
    """Equal boards with different runtimes are two classes, named by what tells them apart."""
    groups = device_classes(
        [("a", PI, LITERT), ("b", PI, ("tflite-runtime 2.14.0",))], measure=("a", "b"), per_class=2
    )
    assert [group.name.rpartition(", ")[2] for group in groups] == [LITERT[0], "tflite-runtime 2.14.0"]


def test_so_many_of_each_class_are_measured_of_those_that_may_be() -> None:
    """Of a class the first hosts that the play lets measure are chosen, no more than asked for; a class without one is still a class."""
    hosts = [(name, PI, LITERT) for name in "abcde"]
    lone = ("z", replace(PI, cpu_count=1), LITERT)
    groups = device_classes([*hosts, lone], measure=("b", "d", "e"), per_class=2)
    assert [(group.hosts, group.measured) for group in groups] == [
        (("a", "b", "c", "d", "e"), ("b", "d")),
        (("z",), ()),
    ]

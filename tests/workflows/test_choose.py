"""Scopes: one winner for all, for each device class, or for each inventory group that the play names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

import pytest

from ota.core.device_class import DeviceClass
from ota.core.inventory import Host
from ota.core.objective import Objective
from ota.core.playbook import DataSpec, SelectSpec
from ota.core.verdict import Answer
from ota.errors import UsageError
from ota.workflows.choose import scopes_of, verdicts_of
from tests.analysis.sessions import answers, contender, host_log, sample_log

HOSTS = (
    Host(name="a", groups=("old", "line1")),
    Host(name="b", groups=("new",)),
    Host(name="c", groups=("old",)),
)


CLASSES = (
    DeviceClass(name="Pi 4", hosts=("a", "b"), measured=("a", "b")),
    DeviceClass(name="Pi 5", hosts=("c",), measured=()),
)


def scopes(*scope: str, measured: tuple[str, ...] = ("a", "b")) -> dict[str, tuple[str, ...]]:
    """Return the scopes of the hosts, of which two were measured."""
    spec = SelectSpec(evaluation=DataSpec(path=PurePath("x")), scope=scope)
    return dict(scopes_of(HOSTS, CLASSES, spec, measured))


def test_unless_said_there_is_one_scope() -> None:
    """All hosts get one winner."""
    assert scopes("all") == {"all": ("a", "b", "c")}


def test_each_measured_class_is_a_scope() -> None:
    """A class gets its own winner, where a host of it was measured."""
    assert scopes("class") == {"Pi 4": ("a", "b")}


def test_each_named_group_is_a_scope() -> None:
    """A group's winner is decided by its own hosts alone; hosts that were not measured are part of it."""
    assert scopes("old", "new") == {"old": ("a", "c"), "new": ("b",)}


def test_a_group_without_measured_hosts_is_refused() -> None:
    """A group that no measured host is in is named."""
    with pytest.raises(UsageError, match="the group 'older', and no measured host is in it"):
        scopes("older")
    with pytest.raises(UsageError, match="the group 'new', and no measured host is in it"):
        scopes("new", measured=("a",))


def test_the_verdict_looks_as_often_as_the_race_did() -> None:
    """Three blocks are enough where the playbook asked for three, and too few where it asked for five."""
    ms = {contender("float32"): 10.0, contender("int8"): 4.0}
    log = sample_log({"float32": 1000, "int8": 280}, host_log(ms, blocks=3))
    scores = {"a": [answers(one, 0) for one in ms]}
    (three,) = verdicts_of(replace(log, min_blocks=3), scores, Objective())
    (five,) = verdicts_of(log, scores, Objective())
    assert (three.answer, three.winner and three.winner.scheme) == (Answer.WINNER, "int8")
    assert (five.answer, five.winner) == (Answer.UNRELIABLE, None)
    assert "3 valid blocks, at least 5 are needed" in five.cause

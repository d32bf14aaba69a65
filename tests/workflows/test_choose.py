"""Scopes: one winner for all, or one for each inventory group that the play names."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from ota.core.inventory import Host
from ota.core.playbook import DataSpec, SelectSpec
from ota.errors import UsageError
from ota.workflows.choose import scopes_of

HOSTS = (
    Host(name="a", groups=("old", "line1")),
    Host(name="b", groups=("new",)),
    Host(name="c", groups=("old",)),
)


def spec(*groups: str) -> SelectSpec:
    """Return a selection with winners per `groups`."""
    return SelectSpec(evaluation=DataSpec(path=PurePath("x")), winner_per=groups)


def test_without_groups_there_is_one_scope() -> None:
    """All measured hosts decide together."""
    assert scopes_of(HOSTS, spec()) == {"all": ("a", "b", "c")}


def test_each_named_group_is_a_scope() -> None:
    """A group's winner is decided by its own hosts alone."""
    assert scopes_of(HOSTS, spec("old", "new")) == {"old": ("a", "c"), "new": ("b",)}


def test_a_group_without_hosts_is_refused() -> None:
    """A group that no measured host is in is named."""
    with pytest.raises(UsageError, match="the group 'older', and no measured host is in it"):
        scopes_of(HOSTS, spec("older"))

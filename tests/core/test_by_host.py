"""Values by host: what one holder sees never changes, whoever adds to it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota.core.by_host import ByHost


@dataclass(frozen=True)
class One:
    """A value of a host."""

    host: str
    number: int


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 30)), max_size=60))
def test_any_version_may_be_added_to_and_none_changes(steps: list[tuple[int, int]]) -> None:
    """Against plain tuples: each step adds a host's value to some version of before."""
    versions: list[tuple[ByHost[One], tuple[One, ...]]] = [(ByHost(), ())]
    for place, host in steps:
        found, plain = versions[place % len(versions)]
        value = One(f"h{host}", len(versions))
        if any(one.host == value.host for one in plain):
            with pytest.raises(ValueError, match="has a value"):
                found.adding(value)
            continue
        versions.append((found.adding(value), (*plain, value)))
    for found, plain in versions:
        assert tuple(found) == plain
        assert len(found) == len(plain)
        assert found == ByHost(plain)
        assert hash(found) == hash(ByHost(plain))
        for number in range(31):
            wanted = next((one for one in plain if one.host == f"h{number}"), None)
            assert found.get(f"h{number}") == wanted
            assert (f"h{number}" in found) == (wanted is not None)


def test_two_values_of_one_host_are_none() -> None:
    """They cannot be told apart."""
    with pytest.raises(ValueError, match="two values of one host"):
        ByHost([One("a", 1), One("a", 2)])

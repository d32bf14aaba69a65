"""OpenSSH's programs that the tests of signatures talk to; without them a test is skipped in words."""

from __future__ import annotations

import shutil
from functools import cache

import pytest


def ssh_keygen() -> str:
    """Return the path of an ssh-keygen; skips where there is none."""
    return _program("ssh-keygen")


def ssh_agent() -> tuple[str, str]:
    """Return the paths of ssh-agent and ssh-add; skips where one is not there."""
    return _program("ssh-agent"), _program("ssh-add")


@cache
def _found(name: str) -> str | None:
    return shutil.which(name)


def _program(name: str) -> str:
    found = _found(name)
    if found is None:
        pytest.skip(f"{name} is not here")
    return found

"""What a restricted key may ask: every operation is thought about, and the words of the door are those that the controller knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ota.agent import door, main, policy
from ota.agent.dialogue import RefusedError
from ota.remote.bootstrap import MARK

MAY = policy.Policy({"/r": ["test -s x"]}, "0" * 64, None)


def test_every_operation_was_thought_about() -> None:
    """An operation that is added has to get an entry in the table of limits: without one it is refused."""
    assert set(policy.limits()) == set(main.OPERATIONS)
    with pytest.raises(RefusedError, match="the operation 'new'"):
        policy.check(MAY, "/r", {"op": "new"})


def test_the_gate_speaks_as_the_bootstrap() -> None:
    """Both begin their words with the same mark."""
    assert door.MARK.encode() == MARK


def test_a_policy_is_what_its_name_says(tmp_path: Path) -> None:
    """A file that was changed, renamed or lost is no policy."""
    path = Path(policy.path_of(str(tmp_path), MAY))
    assert policy.read(str(path)) is None
    path.parent.mkdir()
    path.write_text(policy.text_of(MAY))
    assert policy.read(str(path)) == MAY
    other = path.with_name("0" * 64 + ".json")
    other.write_text(policy.text_of(MAY))
    assert policy.read(str(other)) is None
    path.write_text(json.dumps({"commands": {"/": ["sh"]}, "start": "", "become": None}))
    assert policy.read(str(path)) is None


@pytest.mark.parametrize("root", ["/r", "/elsewhere"])
@pytest.mark.parametrize("command", ["test -s x", "test -s x ", "test -s x;", "", "sh"])
def test_a_command_is_the_very_one(command: str, root: str) -> None:
    """Only the same text in the same root is allowed, before, after and around an activation."""
    requests = ({"op": "run", "command": command}, {"op": "activate", "after": [{"command": command}]})
    for request in requests:
        if (command, root) == ("test -s x", "/r"):
            policy.check(MAY, root, request)
        else:
            with pytest.raises(RefusedError, match="was not in the playbook"):
                policy.check(MAY, root, request)

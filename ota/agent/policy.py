"""What a restricted key may ask of this agent: which roots, which commands, and of each request how much.

Invariants: a policy is a file named by its digest, which the key's line in `authorized_keys` names; no request writes there. An operation that has no
entry in the table below is refused, and so is what would run or open anything that the key's holder brought: commands, packages, programs, a first keyring.
"""

from __future__ import annotations

import hashlib
import json
import os
import pkgutil
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from . import files, releases, trust
from .dialogue import RefusedError, Request

PROGRAM = "open_model.py"
"""The one file of a release that is a program of ours, which applications run."""

_SHOWN = 200


class Policy(NamedTuple):
    """What one key is limited to.

    `commands` are by root, `start` is the digest of the bootstrap that the controller sends, `become` the user that the agent works as, where that is another.
    """

    commands: Dict[str, List[str]]
    start: str
    become: Optional[str]


def text_of(policy: Policy) -> str:
    """Return a policy as its file has it."""
    return json.dumps({"format": 1, **policy._asdict()}, sort_keys=True)


def path_of(root: str, policy: Policy) -> str:
    """Return where a policy lies."""
    digest = hashlib.sha256(text_of(policy).encode("utf-8")).hexdigest()
    return os.path.join(root, "agent", digest + ".json")


def read(path: str) -> Optional[Policy]:
    """Return the policy in a file, None where it is missing or not what its name says."""
    if files.digest_of(path) != os.path.basename(path).partition(".")[0]:
        return None
    content = json.loads(files.read_kept(path) or "{}")
    return Policy(content["commands"], content["start"], content["become"])


def check(policy: Policy, root: str, request: Request) -> None:
    """See that a restricted key may ask for this; RefusedError `restricted` where it may not."""
    asked = request["op"]
    if asked not in _ALLOWED:
        raise refusal("the operation %.40r" % (asked,))
    limit = _ALLOWED[asked]
    if limit is not None:
        limit(policy, root, request)


def refusal(what: str) -> RefusedError:
    """Return the refusal of something, with the way out."""
    return RefusedError(
        "restricted",
        "this key may not ask for %s here: `ota provision --restrict`, signed in with another key of this account, says what it may"
        % what,
    )


def _listed(policy: Policy, root: str, *commands: str) -> None:
    for command in commands:
        if command not in policy.commands.get(root, []):
            shown = command if len(command) <= _SHOWN else command[:_SHOWN] + "..."
            raise refusal("the command %r, which was not in the playbook" % shown)


def _run(policy: Policy, root: str, request: Request) -> None:
    _listed(policy, root, request["command"])


def _activate(policy: Policy, root: str, request: Request) -> None:
    _listed(policy, root, *(one["command"] for one in request.get("after") or []))


def _put(policy: Policy, root: str, request: Request) -> None:
    if request["kind"] == "wheels":
        raise refusal("wheels, whose code would run")


def _install(policy: Policy, root: str, request: Request) -> None:
    """A runtime that is here may prove itself; `runtime.install` sees that it does no more."""
    if request["wheels"]:
        raise refusal("the installation of a runtime")


def _program(policy: Policy, root: str, request: Request) -> None:
    """Without a keyring nobody vouches for the program in a release: then it must be the one that this agent brings."""
    if trust.load(root) is not None:
        return
    own = hashlib.sha256(pkgutil.get_data(__package__ or "agent", PROGRAM) or b"").hexdigest()
    for artifact in releases.read_manifest(request["manifest"])["artifacts"]:
        if artifact["name"] == PROGRAM and artifact["sha256"] != own:
            raise refusal("a release whose %s is not this agent's own" % PROGRAM)


def _adopt(policy: Policy, root: str, request: Request) -> None:
    if trust.load(root) is None:
        raise refusal("a first keyring")


_ALLOWED: Dict[str, Optional[Callable[[Policy, str, Request], None]]] = {
    "facts": None,
    "slot": None,
    "verify": None,
    "journal": None,
    "held": None,
    "put": _put,
    "install": _install,
    "bench": None,
    "examine": None,
    "ready": None,
    "admit": _program,
    "stage": _program,
    "adopt": _adopt,
    "activate": _activate,
    "confirm": None,
    "revert": None,
    "rollback": None,
    "prune": None,
    "boot_hook": None,
    "run": _run,
    # What it would change it refuses by itself.
    "restrict": None,
}


def limits() -> Any:
    """Return the names of the operations that were thought about."""
    return _ALLOWED.keys()

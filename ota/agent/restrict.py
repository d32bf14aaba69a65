"""Limit a key of this account to the agent: the policy first, durably, then the key's line, by one rename.

Invariants: a restricted key changes neither; where all is as it should be nothing is written. What was there before is kept for the length of the dialogue, so
that a controller that the new line does not let in can put it back over the connection that it still has.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
from typing import Any, Dict, NamedTuple, Optional, Tuple

from . import authorized_keys, files, policy
from .dialogue import RefusedError, Request

_OTHER_FILE = "authorized_keys2"


class _Before(NamedTuple):
    """A file of keys: what it holds, None where it is not there, and its permissions, owner and group."""

    path: str
    content: Optional[bytes]
    permitted: Tuple[int, int, int]


class Restriction:
    """Restricts keys for one dialogue; `may` is what this dialogue's own key is limited to, None where it is not."""

    def __init__(self, root: str, agent_path: str, may: Optional[policy.Policy]) -> None:
        self._root = root
        self._agent_path = agent_path
        self._may = may
        self._before: Optional[_Before] = None

    def look(self, request: Request) -> Dict[str, Any]:
        """Return what `apply` would do, and whether it would change anything."""
        return self._plan(request)[0]

    def apply(self, request: Request) -> Dict[str, Any]:
        """Restrict a key; return its line, the file, the line of sudoers where one is of use, and what a person ought to know."""
        answer, before, content, (path, text) = self._plan(request)
        if not answer["changed"]:
            return answer
        if self._may is not None:
            raise policy.refusal("another restriction than its own")
        files.make_folder(os.path.dirname(path))
        files.write_file(path, text.encode("utf-8"))
        _put(before, content)
        self._before = before
        return answer

    def undo(self) -> None:
        """Put back what the last `apply` of this dialogue found."""
        if self._before is None:
            raise RefusedError("bad_request", "this dialogue has restricted nothing")
        if self._before.content is None:
            files.remove(self._before.path)
        else:
            _put(self._before, self._before.content)
        self._before = None

    def _plan(self, request: Request) -> Tuple[Dict[str, Any], _Before, bytes, Tuple[str, str]]:
        become = request["become"]
        user, before = _keys_of(become)
        roots = {
            os.path.expanduser(one["root"]): sorted({str(command) for command in one["commands"]})
            for one in request["roots"]
        }
        limit = policy.Policy(roots, str(request["start"]), become)
        path = policy.path_of(self._root, limit)
        program = os.path.join(self._root, "agent", "%s.pyz" % files.digest_of(self._agent_path))
        python = sys.executable
        command = authorized_keys.command_of(python, program, path, become)
        planned = authorized_keys.plan(before.content or b"", request["key"], command)
        _check_where(before.path, request, planned)
        changed = planned.content != before.content or policy.read(path) != limit
        sudoers = loose = ""
        if become is not None:
            sudoers = authorized_keys.sudoers_line(user, python, program, path, become)
            loose = authorized_keys.loose(_nearest(program)) or ""
        answer = {
            "changed": changed,
            "file": before.path,
            "line": planned.line,
            "sudoers": sudoers,
            "loose": loose,
            "others": planned.others,
            "replaced": planned.replaced,
        }
        return answer, before, planned.content, (path, policy.text_of(limit))


def _keys_of(become: Optional[str]) -> Tuple[str, _Before]:
    """Return whom the controller signs in as, and the file of the keys that let it in."""
    if become is None:
        user, home = pwd.getpwuid(os.geteuid()).pw_name, os.path.expanduser("~")
    else:
        user = os.environ.get("SUDO_USER", "")
        if not user:
            raise RefusedError("bad_request", "sudo does not say who signed in (SUDO_USER)")
        home = pwd.getpwnam(user).pw_dir
    path = os.path.realpath(os.path.join(home, ".ssh", "authorized_keys"))
    try:
        with open(path, "rb") as file:
            there, content = os.fstat(file.fileno()), file.read()
        return user, _Before(path, content, (stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid))
    except FileNotFoundError:
        owner = pwd.getpwnam(user)
        return user, _Before(path, None, (0o600, owner.pw_uid, owner.pw_gid))


def _check_where(path: str, request: Request, planned: authorized_keys.Planned) -> None:
    """See that this file is what lets the key in; RefusedError where sshd would take it from another place, without limits."""
    other = os.path.join(os.path.dirname(path), _OTHER_FILE)
    key = request["key"].encode("ascii")
    lines = (files.read_text(other) or "").encode("utf-8").split(b"\n")
    if any(entry is not None and entry.key == key for entry in map(authorized_keys.entry_of, lines)):
        raise RefusedError("elsewhere", "the key is in %s too, without limits; remove it there" % other)
    if request["in_use"] and not planned.found:
        raise RefusedError(
            "elsewhere",
            "this connection's key is not in %s: sshd takes it from elsewhere (AuthorizedKeysFile, a certificate); put this line there by hand: %s"
            % (path, planned.line),
        )


def _put(where: _Before, content: bytes) -> None:
    folder = os.path.dirname(where.path)
    if not os.path.isdir(folder):
        raise RefusedError(
            "no_folder", "expected a folder at %s, found none; make it: mkdir -m 700 %s" % (folder, folder)
        )
    files.write_file(where.path, content, where.permitted)


def _nearest(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path

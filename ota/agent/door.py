"""The door: what sshd starts, as a forced command, for a key that is limited to the agent.

Invariants: what the key's holder wished to run is taken apart and compared, never evaluated and never shown; the only thing that follows is the dialogue of
the agent in this very file, on a root that its policy names. All else ends in one line and the exit code REFUSED.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from hashlib import sha256
from typing import List, NoReturn, Optional, Tuple

from . import files, main, policy

MARK = "ota-agent"
REFUSED = 77
_MOST = 64 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_WAY_OUT = "this key reaches the ota agent alone; sign in with another key of this account, or at the console"
_REASONS = {
    "shell": "it opens no shell",
    "command": "it runs no command",
    "user": "the agent works as another user here: see ansible_become in the inventory",
    "root": "the folder is not among those of the playbook",
    "agent": "the agent is of another version of ota: `ota provision --restrict`, signed in with another key, replaces it",
    "damaged": "the agent or its policy is damaged or gone: `ota provision --restrict`, signed in with another key, brings it",
}


def run(policy_path: str = "", wish: Optional[str] = None) -> None:
    """Serve the dialogue where `wish`, what the key's holder asks sshd to run, is the start of this agent; else refuse."""
    if wish is None:
        wish = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    program = sys.argv[0]
    digest = os.path.basename(program).partition(".")[0]
    may = policy.read(policy_path)
    if may is None or files.digest_of(program) != digest:
        _refuse("damaged")
    asked = _asked(wish)
    if asked is None:
        _refuse("command" if wish else "shell")
    become, start, root, wanted = asked
    if become != may.become:
        _refuse("user", "-")
    if (wanted, start) != (digest, may.start):
        _refuse("agent", digest)
    root = os.path.expanduser(root)
    if root not in may.commands:
        _refuse("root", "-")
    _tell("have")
    main.main(root, program, may)


def _asked(wish: str) -> Optional[Tuple[Optional[str], str, str, str]]:
    """Return (become, digest of the bootstrap, root, digest of the agent) of a start of the agent, None where it is none."""
    words = _words(wish)
    become = None
    if words[:4] == ["sudo", "-n", "-H", "-u"] and words[5:6] == ["--"]:
        become, words = words[4], words[6:]
    if len(words) != 8 or words[1:3] != ["-IS", "-c"] or words[7] not in ("keep", "drop"):
        return None
    if not _DIGEST.match(words[5]) or not re.match(r"[0-9]{1,12}\Z", words[6]):
        return None
    return become, sha256(words[3].encode("utf-8", "surrogateescape")).hexdigest(), words[4], words[5]


def _words(wish: str) -> List[str]:
    if len(wish) > _MOST:
        return []
    try:
        return shlex.split(wish)
    except ValueError:
        return []


def _refuse(why: str, told: str = "") -> NoReturn:
    """End with one line for a person; where an `ota` asked, with one for it too."""
    if told:
        _tell("restricted %s %s" % (why, told))
    sys.stderr.write("ota: refused: %s; %s\n" % (_REASONS[why], _WAY_OUT))
    sys.exit(REFUSED)


def _tell(word: str) -> None:
    sys.stdout.write("\n%s %s\n" % (MARK, word))
    sys.stdout.flush()

"""The boot hook: after a restart, a release that nobody had confirmed is left before the application opens it.

A systemd unit where the machine has systemd and the user may install one (the system's for root, the user's own where it lingers): before `basic.target`, behind which
every ordinary service starts, whatever it says. Else a line of `cron` that runs at boot, which is in no order with the application and therefore runs the commands after an activation again.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import files, watchdog
from .dialogue import RefusedError

KINDS = ("auto", "systemd", "systemd-user", "cron", "none")
_SYSTEM = "/etc/systemd/system"
_LIMIT_S = 30.0
_START_S = 60
"""A start that the hook holds up goes on after so long."""
_PIPE = 32 * 1024


def run(root: str, kind: str) -> None:
    """Do what the hook is for."""
    watchdog.lapse(root, run_commands=kind == "cron")


def install(root: str, agent_path: str, choice: str) -> Dict[str, Any]:
    """Install the hook of that kind, `auto` the best that this device has; return its kind, its name and whether anything was done.

    Raises:
        RefusedError: the kind is not to be had here.
    """
    if choice not in KINDS:
        raise RefusedError("bad_request", "no such boot hook: %s" % choice)
    kind = _best() if choice == "auto" else choice
    if kind == "none":
        return {"kind": "none", "name": "", "changed": False}
    program = os.path.join(root, "agent", "boot.pyz")
    with open(agent_path, "rb") as file:
        changed = _put(program, file.read())
    command = [sys.executable, "-I", program, "boot", root, kind]
    if kind == "cron":
        name, added = _install_cron(root, command)
    else:
        name, added = _install_unit(root, command, kind)
    if changed or added:
        # Neither crontab nor systemctl makes durable what it writes.
        os.sync()
    return {"kind": kind, "name": name, "changed": changed or added}


def unit_text(root: str, command: Sequence[str], kind: str) -> str:
    """Return the systemd unit; `%`, quotes and backslashes of its words are escaped as systemd.service(5) and systemd.syntax(7) say.

    A service has `After=basic.target` by default, and none of it with a target of its own: to be wanted by `multi-user.target` orders nothing among services.
    """
    return "\n".join(
        (
            "[Unit]",
            "Description=ota: leave a model release that nobody confirmed before the restart",
            "RequiresMountsFor=%s" % _word(root),
            "DefaultDependencies=no",
            *(["After=sysinit.target"] if kind == "systemd" else []),
            "Before=basic.target shutdown.target",
            "Conflicts=shutdown.target",
            "",
            "[Service]",
            "Type=oneshot",
            "TimeoutStartSec=%d" % _START_S,
            "ExecStart=%s" % " ".join(_word(word).replace("$", "$$") for word in command),
            "",
            "[Install]",
            "WantedBy=basic.target",
            "",
        )
    )


def _word(text: str) -> str:
    if any(ord(letter) < 32 for letter in text):
        raise RefusedError("bad_request", "a control character in %r" % text)
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _best() -> str:
    if os.path.isdir("/run/systemd/system") and shutil.which("systemctl"):
        if os.geteuid() == 0:
            return "systemd"
        if _lingers():
            return "systemd-user"
    return "cron" if shutil.which("crontab") and _cron_runs() else "none"


def _lingers() -> bool:
    """Say whether this user's units start with the machine."""
    told = _told(["loginctl", "show-user", str(os.geteuid()), "--property=Linger"])
    return told is not None and told.strip() == "Linger=yes"


def _cron_runs() -> bool:
    """Say whether a cron daemon is there: a table that nobody reads is no hook."""
    return any(
        (files.read_text("/proc/%s/comm" % pid) or "").strip() in ("cron", "crond", "fcron")
        for pid in os.listdir("/proc")
        if pid.isdigit()
    )


def _install_unit(root: str, command: Sequence[str], kind: str) -> Tuple[str, bool]:
    name = "ota-boot-%s.service" % hashlib.sha256(root.encode("utf-8")).hexdigest()[:8]
    mine = kind == "systemd-user"
    folder = os.path.expanduser("~/.config/systemd/user") if mine else _SYSTEM
    control = ["systemctl", "--user"] if mine else ["systemctl"]
    changed = _put(os.path.join(folder, name), unit_text(root, command, kind).encode("utf-8"))
    if changed or _told([*control, "is-enabled", name]) is None:
        _must([*control, "daemon-reload"])
        # One of an older form is wanted by another target.
        _must([*control, "reenable", name])
        changed = True
    return name, changed


def _install_cron(root: str, command: Sequence[str]) -> Tuple[str, bool]:
    mark = "# ota %s" % root
    # cron takes a percent sign for the end of the line.
    line = "@reboot %s %s" % (" ".join(shlex.quote(word) for word in command).replace("%", "\\%"), mark)
    lines = (_told(["crontab", "-l"]) or "").splitlines()
    if line in lines:
        return "crontab", False
    kept = [one for one in lines if not one.endswith(mark)]
    _must(["crontab", "-"], "\n".join([*kept, line, ""]))
    return "crontab", True


def _put(path: str, content: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            if file.read() == content:
                return False
    except OSError:
        pass
    files.make_folder(os.path.dirname(path))
    files.write_file(path, content)
    return True


def _told(argv: List[str], said: str = "") -> Optional[str]:
    """Return what a program says, None where it fails; `said` is what it reads, so short that a pipe holds it."""
    ours, theirs = os.pipe()
    try:
        # Written before there is a reader to go away: this process may end by a broken pipe.
        os.write(theirs, said.encode("utf-8")[:_PIPE])
        os.close(theirs)
        done = subprocess.run(
            argv, stdin=ours, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    finally:
        os.close(ours)
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _must(argv: List[str], said: str = "") -> None:
    if len(said.encode("utf-8")) > _PIPE or _told(argv, said) is None:
        raise RefusedError("no_hook", "%s failed: no boot hook was installed" % " ".join(argv))

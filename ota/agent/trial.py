"""The trial of a release: what `pending.json` says while nobody has confirmed an activation, and until when somebody may.

Invariant: the record is durable before the switch, so that whatever dies finds out where to go back to. Until its lease has passed the controller may confirm;
each word of the controller renews it. The lease is counted by the clock that runs from the start of the machine, in suspension too, for many boards do not know the
time; after a restart it has ended, whatever it says.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

from . import files

Record = Dict[str, Any]


def read(root: str) -> Optional[Record]:
    """Return the record, None where no release is on trial; OSError where it cannot be read, for that is not the same."""
    return read_record(_path(root)) or None


def read_record(path: str) -> Record:
    """Return a small file of ours, empty where it is not there or no JSON object."""
    try:
        content = json.loads(files.read_kept(path) or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def write_record(path: str, content: Record) -> None:
    """Put a small file of ours in its place, durably."""
    files.write_file(path, json.dumps(content, sort_keys=True).encode("utf-8"))


def begin(
    root: str,
    release: str,
    back_to: Optional[str],
    previous: Optional[str],
    lease_s: Optional[float] = None,
    after: Optional[List[Record]] = None,
) -> Record:
    """Note, durably, that `release` is about to be tried; `after` are the commands ({command, timeout_s}) that have to run after a return.

    Without a lease nothing ends the trial but a confirmation or a return.
    """
    record: Record = {"release": release, "from": back_to, "previous": previous, "time": time.time()}
    if lease_s is not None:
        record.update(
            boot_id=boot_id(),
            lease_s=float(lease_s),
            until=now() + float(lease_s),
            trial=os.urandom(8).hex(),
            after=[
                {"command": str(one["command"]), "timeout_s": float(one["timeout_s"])} for one in after or []
            ],
        )
    write_record(_path(root), record)
    return record


def renew(root: str) -> None:
    """Let the lease of the trial, where there is one, begin anew; on a full disk it goes on as it was."""
    with switching(root):
        record = read(root)
        if record is not None and "lease_s" in record and not ended(record):
            record["until"] = now() + float(record["lease_s"])
            with files.unless_full():
                write_record(_path(root), record)


def end(root: str) -> None:
    """Forget the trial."""
    files.remove(_path(root))


def restore(root: str, record: Optional[Record]) -> None:
    """Make the record what it was before `begin`, None: none."""
    if record is None:
        end(root)
    else:
        write_record(_path(root), record)


def ended(record: Record) -> str:
    """Return why a trial has ended without confirmation, empty while it has not."""
    if "lease_s" not in record:
        return ""
    if record.get("boot_id") != boot_id():
        return "the device was restarted before %s was confirmed" % record["release"]
    if now() >= float(record["until"]):
        return "nobody confirmed %s within %g s" % (record["release"], record["lease_s"])
    return ""


def boot_id() -> str:
    """Return what tells this start of the machine from others."""
    return (files.read_text("/proc/sys/kernel/random/boot_id") or "").strip()


def now() -> float:
    """Return the seconds since the machine was started."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@contextmanager
def switching(root: str) -> Iterator[None]:
    """Be the only one who moves `current` or ends a trial: a dialogue or the watchdog; the other waits."""
    files.make_folder(root)
    lock = files.open_kept(os.path.join(root, "switch.lock"))
    try:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
        yield
    finally:
        lock.close()


def _path(root: str) -> str:
    return os.path.join(root, "pending.json")

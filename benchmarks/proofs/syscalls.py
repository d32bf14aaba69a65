"""The real agent at each of its system calls on the device's files: killed there, out of space there, an I/O error there.

A dialogue over stdin and stdout, the controller's own end of it, deploys, confirms, rolls back and confirms, under strace; each call that opens, changes or syncs
something below the root is replaced in turn (between two of them nothing changes, so that a kill elsewhere leaves what one of these leaves). After each: what an application opens
is the old release or the new one, whole; a failure was told in words; the same dialogue again ends as undisturbed; nothing is left over.

Run it by `make proof-syscalls`, or `python -m benchmarks.proofs.syscalls`; a number after it takes only every so-many-th call.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ota.core.connection import Connection
from ota.core.facts import SlotState
from ota.core.inventory import Host
from ota.core.protocol import BlobKind
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Manifest, Release
from ota.errors import HostError
from ota.remote import local
from ota.remote.device import Device

from .figures import Figures

CALLS = (
    *("openat", "write", "pwrite64", "ftruncate", "fsync", "rename", "link", "symlink", "unlink", "unlinkat", "mkdir"),
    *("rmdir", "flock"),
)  # fmt: skip
WAYS = {
    "kill": "signal=KILL",
    "ENOSPC": "error=ENOSPC",
    "EIO": "error=EIO",
    "ENOSPC from then on": "error=ENOSPC",
}
# By `write` it also speaks to the controller, by `openat` it also reads: these fail once.
LASTING = {"pwrite64", "fsync", "rename", "link", "symlink", "mkdir"}
NEEDS_ROOM = LASTING | {"write"}
# Python itself reads the agent, and its words for an I/O error there are that there is no such module.
WORDS = {
    "ENOSPC": r"disk is full|No space left",
    "EIO": r"Input/output error|not whole|damaged|read back|No module named 'agent'",
}
_HOST = Host(name="here")
_LINE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<rest>.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One call that is replaced: the number of its name, how, and what it was."""

    call: str
    number: int
    way: str
    text: str

    @property
    def inject(self) -> str:
        """Return strace's words for it."""
        lasting = "+" if self.way.endswith("from then on") else ""
        return f"{self.call}:{WAYS[self.way]}:when={self.number}{lasting}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A dialogue that can be led again from any state; `before` leads another one first, in peace."""

    name: str
    before: Callable[[Device, Path], None] | None
    run: Callable[[Device, Path], None]
    may_be: tuple[str | None, ...]
    ends: str


def release(name: str) -> tuple[Release, dict[str, bytes]]:
    """Return a release of three files and their bytes."""
    contents = {
        MODEL_ARTIFACT: name.encode() * 9000,
        "labels.txt": name.encode() * 70,
        "open_model.py": b"shared",
    }
    artifacts = tuple(
        Artifact(name=file, digest=Digest.of(content), size_bytes=len(content))
        for file, content in contents.items()
    )
    return Release(manifest=Manifest(model="m", artifacts=artifacts)), contents


OLD, NEW = release("old"), release("new")


def _deploy(what: tuple[Release, dict[str, bytes]], device: Device, folder: Path) -> None:
    made, contents = what
    for name, content in contents.items():
        path = folder / Digest.of(content).hex
        kind = BlobKind.CANDIDATE if name == MODEL_ARTIFACT else BlobKind.ARTIFACT
        device.put(kind, Digest.of(content), path)
    device.stage(made)
    device.activate(made.id, expected_current=device.slot().current)
    device.confirm(made.id)


def _first(device: Device, folder: Path) -> None:
    _deploy(OLD, device, folder)


def _to_and_back(device: Device, folder: Path) -> None:
    """Deploy the new release and roll it back, unless that happened before."""
    if device.slot().rolled_back_from is None:
        _deploy(NEW, device, folder)
        device.rollback()
    device.confirm(OLD[0].id)


ACTIONS = (
    Action(name="first deployment", before=None, run=_first, may_be=(None, OLD[0].id), ends=OLD[0].id),
    Action(
        name="deploy, confirm, rollback, confirm",
        before=_first,
        run=_to_and_back,
        may_be=(OLD[0].id, NEW[0].id),
        ends=OLD[0].id,
    ),
)


def _ways(call: str, text: str) -> list[str]:
    """Return the ways in which a call can fail: what needs no room finds none missing, and only what is called anew finds it missing each time."""
    needs_room = call in NEEDS_ROOM or (call == "openat" and "O_CREAT" in text)
    return [
        way
        for way in WAYS
        if way in {"kill", "EIO"} or (needs_room and (call in LASTING or not way.endswith("from then on")))
    ]


def _device(root: Path, python: str = sys.executable) -> Device:
    transport = local.connect(_HOST, Connection(kind="local", address="x"))
    return Device.open(_HOST, transport, model="m", root=str(root), python=python, keep_agent=True)


class Sweep:
    """One action, its undisturbed run, and each fault in turn."""

    def __init__(self, action: Action, folder: Path) -> None:
        """Run what comes before, and the action under strace to see its calls."""
        self.action = action
        self._folder = folder
        self._blobs = folder / "blobs"
        self._start = folder / "start"
        for one in (self._blobs, self._start):
            one.mkdir(parents=True)
        for content in (*OLD[1].values(), *NEW[1].values()):
            (self._blobs / Digest.of(content).hex).write_bytes(content)
        if action.before is not None:
            with _device(self._start / "root") as device:
                action.before(device, self._blobs)

    def faults(self) -> Iterator[Fault]:
        """Return every fault: each call below the root, in each way that says something."""
        home = self._fresh("seen")
        trace = home / "trace"
        with _device(
            home / "root", self._python(home, f"-y -o {trace} -e trace={','.join(CALLS)}")
        ) as device:
            self.action.run(device, self._blobs)
        counts: Counter[str] = Counter()
        first = ""
        for line in trace.read_text(errors="replace").splitlines():
            match = _LINE.match(line)
            first = first or (match["pid"] if match else "")
            if match is None or match["pid"] != first:
                continue
            counts[match["call"]] += 1
            if str(home / "root") in match["rest"]:
                text = match["rest"].replace(str(home / "root"), "")[:70]
                for way in _ways(match["call"], match["rest"]):
                    yield Fault(call=match["call"], number=counts[match["call"]], way=way, text=text)
        shutil.rmtree(home)

    def bad(self, fault: Fault) -> tuple[str, str]:
        """Run the action with a fault, then again without; return how it went and what was wrong, empty where nothing was."""
        home = self._fresh(f"{fault.call}-{fault.number}-{fault.way.replace(' ', '-')}")
        try:
            went = self._disturbed(home, fault)
            return went.split(":", 1)[0], self._wrong(home, fault, went)
        finally:
            shutil.rmtree(home)

    def _disturbed(self, home: Path, fault: Fault) -> str:
        python = self._python(home, f"-o /dev/null -e trace={fault.call} -e inject={fault.inject}")
        try:
            with _device(home / "root", python) as device:
                self.action.run(device, self._blobs)
        except HostError as error:
            return f"failed: {error}"
        return "went on"

    def _wrong(self, home: Path, fault: Fault, went: str) -> str:
        if went.startswith("failed") and fault.way != "kill":
            words = WORDS[fault.way.split(" ", 1)[0]]
            if not re.search(words, went):
                return f"the message does not say what it was: {went}"
        with _device(home / "root") as device:
            done = went == "went on"
            may_be = (self.action.ends,) if done else self.action.may_be
            found = self._unfit(device.slot(), may_be, done=done)
        if found:
            return f"after it {went.split(':', 1)[0]}: {found}"
        for attempt in (1, 2):
            try:
                with _device(home / "root") as device:
                    self.action.run(device, self._blobs)
                    found = self._unfit(device.slot(), (self.action.ends,), done=True)
            except HostError as error:
                # A file that did not read back is removed by the run that finds it, and sent by the next.
                if attempt == 2 or "run the command again" not in str(error):
                    return f"the next run fails: {error}"
            else:
                break
        return found or self._left(home / "root")

    def _unfit(self, slot: SlotState, may_be: tuple[str | None, ...], *, done: bool = False) -> str:
        digests = {one.id: one.model.digest for one in (OLD[0], NEW[0])}
        if slot.current not in may_be:
            return f"current is {slot.current}"
        if slot.current is not None and slot.current_digest != digests[slot.current]:
            return "the model behind current has another digest"
        if done and (slot.pending is not None or not all(held.intact for held in slot.releases)):
            return f"the next run ends otherwise: on trial {slot.pending}, releases {slot.releases}"
        return ""

    def _left(self, root: Path) -> str:
        left = [
            path.name
            for path in root.rglob("*")
            if path.name.startswith(".") or path.name.endswith((".tmp", ".again", ".partial"))
        ]
        return f"left over: {left}" if left else ""

    def _fresh(self, name: str) -> Path:
        home = self._folder / name
        shutil.copytree(self._start, home, symlinks=True)
        return home

    def _python(self, home: Path, options: str) -> str:
        """Write an executable that runs Python under strace."""
        path = home / "python"
        path.write_text(f'#!/bin/sh\nexec strace -f -qq {options} {sys.executable} "$@"\n')
        path.chmod(0o755)
        return str(path)


def main() -> None:
    """Sweep over both actions."""
    if shutil.which("strace") is None:
        print("skipped: strace, which replaces system calls, is not here (apt-get install strace)")
        return
    stride = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    figures = Figures()
    for action in ACTIONS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="ota-syscalls-") as folder, ThreadPoolExecutor(2) as pool:
            sweep = Sweep(action, Path(folder))
            faults = list(sweep.faults())[::stride]
            results = list(zip(faults, pool.map(sweep.bad, faults), strict=True))
        print(f"\n{action.name}: {len(faults)} faults in {time.monotonic() - began:.0f} s")
        for way in WAYS:
            these = [(fault, result) for fault, result in results if fault.way == way]
            went = Counter(result[0] for _, result in these)
            bad = [(fault, result[1]) for fault, result in these if result[1]]
            print(f"    {way}: {len(these)} calls, {dict(went)}, {len(bad)} bad")
            for fault, wrong in bad:
                print(f"        {fault.call} #{fault.number} ({fault.text}): {wrong[:300]}")
            figures.add(f"{action.name}, {way}: bad", len(bad), "<=", 0)
        killed = sum(result[0] == "failed" for fault, result in results if fault.way == "kill")
        figures.add(f"{action.name}: killed", killed, ">=", 30 // stride)
    figures.finish()


if __name__ == "__main__":
    main()

"""A whole 64-bit ARM machine in qemu-system-aarch64, made by scripts/emulated-machine.sh: its power is switched on, and cut at any instant.

OTA_EMULATED_MACHINE names the folder of what it is made from; without it that is .ota/machines/arm64.

What a cut loses: all that the guest holds in memory, its page cache included, for qemu is killed. And of what the guest has written to its disk, but not flushed, the
blocks that are new since power came on: each time the disk is a fresh qcow2 layer of 4 KiB clusters, whose table qemu writes out at a flush of the guest and no
earlier, and in whose place older content appears. Blocks written once more stay as they are on the disk. So a cut leaves a mix, as a disk's own volatile cache does.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from ota.core.connection import Connection
from ota.core.inventory import Host
from ota.remote import ssh
from ota.remote.transport import Limits, Transport

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("OTA_EMULATED_MACHINE") or ROOT / ".ota" / "machines" / "arm64").absolute()
_BOOT_S = 120.0
_LOOK_S = 0.05
_READY = "Server listening on 0.0.0.0 port 22"
_MEMORY_MB = 384


def missing() -> str:
    """Return why there is no emulated machine, empty where there is one."""
    if shutil.which("qemu-system-aarch64") and (FOLDER / "complete").is_file():
        return ""
    return "no emulated machine: `sh scripts/emulated-machine.sh` makes it (OTA_EMULATED_MACHINE names another folder)"


class Machine:
    """A machine with a disk of its own in `folder`; a context manager that leaves it without power. `systemd` starts it with that, else busybox's init does."""

    def __init__(self, folder: Path, name: str = "emulated", *, systemd: bool = False) -> None:
        self._init = " ota.init=/lib/systemd/systemd" if systemd else ""
        folder.mkdir(parents=True, exist_ok=True)
        self.host = Host(name=name)
        self._folder = folder
        self._disk, self._layer = folder / "disk.img", folder / "layer.qcow2"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        _run("cp", "--sparse=always", FOLDER / "disk.img", self._disk)

    def __enter__(self) -> Machine:  # noqa: PYI034 - Self is not in 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def power_on(self) -> Transport:
        """Switch it on, wait until it lets us in, and return the way to it.

        Raises:
            RuntimeError: it does not come up; the last words of its console are in the message.
            UnreachableError: it came up and does not let us in.
        """
        for file in (self._layer, self._folder / "console"):
            file.unlink(missing_ok=True)
        layered = ("-b", self._disk, "-F", "raw", "-o", "cluster_size=4096")
        _run("qemu-img", "create", "-q", "-f", "qcow2", *layered, self._layer)
        self._port = _free_port()
        kind, key = (FOLDER / "host_key.pub").read_text().split()[:2]
        (self._folder / "known_hosts").write_text(f"[127.0.0.1]:{self._port} {kind} {key}\n")
        self._process = subprocess.Popen(
            self._command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ends = time.monotonic() + _BOOT_S
        while time.monotonic() < ends and self._process.poll() is None:
            # Not asked by calls: qemu takes each at once, and they pile up before a slow guest.
            if _READY in self._console():
                return self._connect()
            time.sleep(_LOOK_S)
        raise RuntimeError(f"the machine does not come up: {self._console()[-2000:]}")

    def cut(self) -> None:
        """Cut the power, from whatever thread; what the disk has kept is what the next start finds."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _run("qemu-img", "commit", "-q", self._layer)

    def _command(self) -> tuple[str | Path, ...]:
        return (
            *("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "1", "-m", str(_MEMORY_MB)),
            *("-kernel", FOLDER / "vmlinuz", "-initrd", FOLDER / "initrd.gz"),
            *("-append", f"console=ttyAMA0 loglevel=4 panic=-1{self._init}"),
            *("-display", "none", "-monitor", "none", "-no-reboot", "-serial", f"file:{self._folder / 'console'}"),
            # writeback: what the guest flushes is flushed here, to the disk of this machine.
            *("-drive", f"if=none,id=disk,file={self._layer},format=qcow2,cache=writeback,discard=ignore"),
            *("-device", "virtio-blk-device,drive=disk"),
            *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"),
            *("-device", "virtio-net-device,netdev=net"),
            *("-object", "rng-random,filename=/dev/urandom,id=random"),
            *("-device", "virtio-rng-device,rng=random"),
        )  # fmt: skip

    def _connect(self) -> Transport:
        connection = Connection(
            kind="ssh",
            address="127.0.0.1",
            port=self._port,
            user="root",
            private_key_files=(str(FOLDER / "key"),),
            identities_only=True,
            known_hosts_files=(str(self._folder / "known_hosts"),),
            ssh_config_file="none",
            connect_timeout_s=20.0,
        )
        return ssh.connect(self.host, connection, limits=Limits(connect_s=20.0, silent_s=20.0))

    def _console(self) -> str:
        try:
            return (self._folder / "console").read_text(errors="replace")
        except OSError:
            return ""


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def _run(*argv: str | Path) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed: {done.stderr[-2000:]}")

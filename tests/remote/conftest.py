"""Real OpenSSH daemons on loopback, each with its own keys and configuration, and links to them that can be cut or silenced."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ota.core.connection import Connection
from ota.core.inventory import Host

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
HOST = Host(name="pi")
KINDS = ("ed25519", "ecdsa", "rsa")


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair and return the path of its private half."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True)
    return path


def known_line(name: str, public: Path) -> str:
    """Return the known_hosts line that records a public key for `name`."""
    return f"{name} {' '.join(public.read_text().split()[:2])}\n"


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Sshd:
    """One daemon; `connection` reaches it with its key and its own known_hosts file, in which all its keys are recorded."""

    def __init__(self, folder: Path, keys_from: Path, extra: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self.known = folder / "known_hosts"
        self.host_keys = {kind: folder / f"host_{kind}" for kind in KINDS}
        for file in keys_from.iterdir():
            shutil.copy(file, folder)
        self.key = make_key(folder / "id_ed25519")
        shutil.copy(folder / "id_ed25519.pub", folder / "authorized_keys")
        self.record(*self.host_keys)
        keys = "".join(f"HostKey {path}\n" for path in self.host_keys.values())
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\n{keys}PidFile {folder}/pid\nAuthorizedKeysFile {folder}/authorized_keys\n"
            f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n{extra}"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        subprocess.run([str(SSHD), "-f", folder / "sshd_config", "-E", folder / "log"], check=True)
        until = time.monotonic() + 10
        while not (folder / "pid").exists():
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.02)

    @property
    def name(self) -> str:
        """What known_hosts files call it."""
        return f"[127.0.0.1]:{self.port}"

    def record(self, *kinds: str, name: str = "") -> None:
        """Let the known_hosts file hold exactly these kinds of its keys."""
        self.known.write_text(
            "".join(known_line(name or self.name, self.host_keys[kind].with_suffix(".pub")) for kind in kinds)
        )

    def connection(self, **changes: object) -> Connection:
        """Return the settings that reach it, some of them changed."""
        settings: dict[str, object] = {
            "kind": "ssh",
            "address": "127.0.0.1",
            "port": self.port,
            "private_key_files": (str(self.key),),
            "known_hosts_files": (str(self.known),),
            "ssh_config_file": "none",
        }
        return Connection(**{**settings, **changes})  # type: ignore[arg-type]

    def stop(self) -> None:
        """End the daemon; sessions under way go on."""
        subprocess.run(["kill", (self.folder / "pid").read_text().strip()], check=False)


class Link:
    """A port that leads to a daemon, and can be cut or silenced at any moment, or after so many bytes towards it."""

    def __init__(self, target: int, cut_after: int | None = None, port: int = 0) -> None:
        self._target, self._cut_after = target, cut_after
        self._silent = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Carry nothing any more, and keep the connections open."""
        self._silent.set()

    def cut(self) -> None:
        """Close everything."""
        for end in (self._listener, *self._sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._sockets += [near, far]
            threading.Thread(target=self._carry, args=(near, far, self._cut_after), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, None), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, left: int | None) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                while self._silent.is_set():
                    time.sleep(0.05)
                if left is not None:
                    left -= len(piece)
                    if left < 0:
                        self.cut()
                        return
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="session")
def host_keys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Return a source of folders, each with host keys of every kind; they are made once, for an RSA key takes a second."""
    made: dict[int, Path] = {}

    def folder(number: int) -> Path:
        if number not in made:
            made[number] = tmp_path_factory.mktemp("host_keys")
            for kind in KINDS:
                make_key(made[number] / f"host_{kind}", kind)
        return made[number]

    return folder


@pytest.fixture
def start_sshd(tmp_path: Path, host_keys: Callable[[int], Path]) -> Iterator[Callable[..., Sshd]]:
    """Return a starter of daemons, which are ended after the test."""
    if SSHD is None:
        pytest.skip("needs OpenSSH's server")
    started: list[Sshd] = []

    def start(extra: str = "") -> Sshd:
        folder = tmp_path / f"sshd{len(started)}"
        folder.mkdir()
        started.append(Sshd(folder, host_keys(len(started)), extra))
        return started[-1]

    yield start
    for daemon in started:
        daemon.stop()


@pytest.fixture
def sshd(start_sshd: Callable[..., Sshd]) -> Sshd:
    """Return one daemon."""
    return start_sshd()


@pytest.fixture
def link() -> Iterator[Callable[..., Link]]:
    """Return a maker of links, which are cut after the test."""
    made: list[Link] = []

    def make(target: int, cut_after: int | None = None) -> Link:
        made.append(Link(target, cut_after))
        return made[-1]

    yield make
    for each in made:
        each.cut()

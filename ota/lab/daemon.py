"""One virtual device: its folder, its OpenSSH daemon and the text that configures it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ota.errors import UsageError
from ota.lab.processes import end, listens, note, noted, wait_until

_START_S = 10.0
_INSTALL = {
    "apt-get": "apt-get install openssh-server",
    "dnf": "dnf install openssh-server",
    "apk": "apk add openssh-server",
    "pacman": "pacman -S openssh",
    "zypper": "zypper install openssh-server",
    "brew": "brew install openssh",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """Where a device lives and on which loopback port its daemon listens."""

    folder: Path
    port: int
    python: str

    @property
    def home(self) -> Path:
        """The device's HOME."""
        return self.folder / "home"

    @property
    def pid(self) -> int | None:
        """The daemon's pid, None where it does not run."""
        return noted(self.folder / "process")

    def start(self, public_key: str) -> None:
        """Start the daemon where it does not run.

        Raises:
            UsageError: there is no sshd, the account is locked, the port is taken, or sshd says why it does not start.
        """
        if self.pid is not None:
            return
        sshd = find_sshd()
        if listens(self.port):
            raise UsageError(
                f"port {self.port} on 127.0.0.1 is taken by another program",
                hint="stop that program, or run the lab in another folder with other ports: ota lab up --port N",
            )
        self._lay_out(public_key)
        log = self.folder / "sshd.log"
        pid_file = self.folder / "sshd.pid"
        pid_file.unlink(missing_ok=True)
        command = [sshd, "-f", str(self.folder / "sshd_config"), "-E", str(log)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        # sshd goes to the background before it binds: its pid file, not its exit code, says that it serves.
        if done.returncode or not wait_until(lambda: pid_file.is_file() and listens(self.port), _START_S):
            said = (
                (done.stderr or log.read_text(errors="replace") if log.is_file() else "").strip().splitlines()
            )
            raise UsageError(
                "sshd does not start",
                where=str(self.folder),
                found=said[-1] if said else "no message",
                hint=f"see {log}",
            )
        note(self.folder / "process", int(pid_file.read_text(encoding="ascii")))

    def stop(self) -> None:
        """End the daemon; the device's disk stays as it is."""
        end(self.folder / "process")

    def _lay_out(self, public_key: str) -> None:
        for folder in (self.home, self.folder / "bin"):
            folder.mkdir(parents=True, exist_ok=True)
        # A script and no link: what is installed on the device must find the interpreter's own library.
        launcher = self.folder / "bin" / "python3"
        launcher.write_text(f'#!/bin/sh\nexec "{self.python}" "$@"\n', encoding="utf-8")
        launcher.chmod(0o755)
        (self.folder / "authorized_keys").write_text(public_key, encoding="utf-8")
        make_key(self.folder / "host_key", "host key of the lab")
        (self.folder / "sshd_config").write_text(self._config(), encoding="utf-8")
        if os.geteuid() == 0:
            _prepare_root()

    def _config(self) -> str:
        folder = self.folder
        return "\n".join(
            (
                f"Port {self.port}",
                "ListenAddress 127.0.0.1",
                f'HostKey "{folder / "host_key"}"',
                f'PidFile "{folder / "sshd.pid"}"',
                f'AuthorizedKeysFile "{folder / "authorized_keys"}"',
                "StrictModes no",
                "UsePAM no",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin prohibit-password",
                "PrintMotd no",
                "UseDNS no",
                f'SetEnv "HOME={self.home}" "PATH={folder / "bin"}:/usr/local/bin:/usr/bin:/bin" "OTA_LAB_DEVICE={folder.name}"',
                "Subsystem sftp internal-sftp",
                "",
            )
        )


def find_sshd() -> str:
    """Return the absolute path of sshd; UsageError says how to install it."""
    found = shutil.which(
        "sshd",
        path=os.pathsep.join((os.defpath, "/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/sbin")),
    )
    if found:
        return found
    commands = [command for tool, command in _INSTALL.items() if shutil.which(tool)]
    raise UsageError(
        "the lab needs OpenSSH's server, and there is no sshd here",
        hint=f"install it: {commands[0] if commands else 'the package openssh-server'}",
    )


def make_key(path: Path, comment: str) -> None:
    """Make an Ed25519 key pair where there is none."""
    if not path.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def user_name() -> str:
    """Return the account under which the devices run."""
    return pwd.getpwuid(os.geteuid()).pw_name


def _prepare_root() -> None:
    """As root, sshd wants its separation folder, and refuses an account whose password field is locked."""
    Path("/run/sshd").mkdir(mode=0o755, parents=True, exist_ok=True)
    shadow = Path("/etc/shadow").read_text(encoding="utf-8", errors="replace").splitlines()
    for line in shadow:
        name, _, rest = line.partition(":")
        if name == user_name() and rest.startswith("!"):
            raise UsageError(
                f"the account {name} is locked, and sshd lets no locked account in",
                hint=f"run the lab as another user, or unlock it for keys alone: usermod -p '*' {name}",
            )

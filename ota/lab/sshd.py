"""One OpenSSH daemon per virtual device, as the current user: its keys, its config, its start and its end.

Invariants: a daemon listens on loopback alone, takes the lab's key alone, and gives every command the device's own HOME, PATH and working folder. A device
counts as running only where the process behind its pid file was started with its config: another server on the same port proves nothing.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ota.errors import UsageError
from ota.lab.processes import end, running_pid, wait_until

_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_PLACES = f"{os.defpath}:{_PATH}:/opt/homebrew/bin:/opt/homebrew/sbin"
_ATTEMPTS = 3
_START_S = 10.0
_SFTP_SERVERS = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/ssh/sftp-server",
)
_MISSING_FOLDER = re.compile(r"Missing privilege separation directory: (\S+)")
_INSTALL = (
    "install it: 'apt-get install openssh-server' (Debian, Ubuntu, Raspberry Pi OS), 'dnf install openssh-server' (Fedora),"
    " 'apk add openssh' (Alpine), 'pacman -S openssh' (Arch); macOS has it"
)
_SESSION = """\
#!/bin/sh
# What sshd runs for every login here: in the device's own home, not the account's.
cd "$HOME" || exit 1
[ -n "$SSH_ORIGINAL_COMMAND" ] || exec /bin/sh -i
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """OpenSSH's programs on this machine; `version` of the daemon, (0, 0) where it does not say."""

    sshd: str
    ssh: str
    ssh_keygen: str
    version: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """The files of one device's daemon, all in `folder`."""

    folder: Path

    @property
    def config(self) -> Path:
        """What the daemon is started with, and known by."""
        return self.folder / "sshd_config"

    @property
    def home(self) -> Path:
        """The device's home folder."""
        return self.folder / "home"

    @property
    def keys(self) -> Path:
        """The keys that are let in, where every machine has them; `up` writes them anew."""
        return self.home / ".ssh" / "authorized_keys"

    @property
    def host_key(self) -> Path:
        """The private host key."""
        return self.folder / "host_key"

    @property
    def port_file(self) -> Path:
        """Says on which port the daemon listens, behind its line."""
        return self.folder / "port"

    @property
    def log(self) -> Path:
        """What the daemon writes."""
        return self.folder / "log"

    @property
    def pid_file(self) -> Path:
        """Written by the daemon once it listens."""
        return self.folder / "sshd.pid"

    def pid(self) -> int | None:
        """Return the daemon's pid, None where it does not run."""
        return running_pid(self.pid_file, self.config)

    def stop(self) -> bool:
        """End the daemon; return whether it ran."""
        return end(self.pid_file, self.config)


def find_programs() -> Programs:
    """Return OpenSSH's programs; UsageError says which is missing and how to install it."""
    found = {
        name: shutil.which(name) or shutil.which(name, path=_PLACES) for name in ("sshd", "ssh", "ssh-keygen")
    }
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise UsageError(
            f"the lab needs OpenSSH, and {' and '.join(missing)} cannot be found here", hint=_INSTALL
        )
    sshd = str(found["sshd"])
    said = _run(sshd, "-V").stderr  # older ones take it for a mistake, and say their version all the same
    version = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    return Programs(
        sshd=sshd,
        ssh=str(found["ssh"]),
        ssh_keygen=str(found["ssh-keygen"]),
        version=(int(version[1]), int(version[2])) if version else (0, 0),
    )


def account() -> str:
    """Return the name of the account that devices are logged in to, the current user's.

    Raises:
        UsageError: there is none, or sshd would refuse it.
    """
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise UsageError(
            f"this runs as uid {os.getuid()}, which has no account, and sshd logs in accounts only",
            hint="run as a user that /etc/passwd knows",
        ) from None
    try:
        shadow = Path("/etc/shadow").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return name  # not root: sshd cannot read it either
    if is_locked(shadow, name):
        raise UsageError(
            f"the account {name} is locked, and sshd refuses even a key there",
            where="/etc/shadow",
            hint=f"run the lab as another user, or unlock the account without giving it a password: usermod -p '*' {name}",
        )
    return name


def is_locked(shadow: str, name: str) -> bool:
    """Say whether a shadow file locks an account; `*` is no password, `!` is a lock."""
    fields = (line.split(":") for line in shadow.splitlines())
    return any(entry[0] == name and entry[1:2] and entry[1].startswith("!") for entry in fields)


def make_key(programs: Programs, path: Path, comment: str) -> None:
    """Make an ed25519 key where there is none; UsageError in ssh-keygen's words where it cannot."""
    if path.exists():
        return
    made = _run(programs.ssh_keygen, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
    if made.returncode:
        raise UsageError("ssh-keygen makes no key", where=str(path), found=made.stderr.strip()[-500:])


def prepare(daemon: Daemon, programs: Programs, *, name: str, public_key: str, python: Path) -> None:
    """Lay out a device's folder: host key, home, authorized key, programs; what is there stays."""
    programs_folder = daemon.folder / "bin"
    for folder in (daemon.folder, daemon.home, daemon.keys.parent, programs_folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    make_key(programs, daemon.host_key, name)
    session = shlex.quote(str(daemon.folder / "session")).replace('"', '\\"')
    # The key's own forced command and not the daemon's, so that `ota provision --restrict` can put another in its place.
    daemon.keys.write_text(f'command="{session}" {public_key}', encoding="utf-8")
    # Not a link: an interpreter that can be moved looks for its library beside the name that it was called by.
    _write_program(programs_folder / "python3", f'#!/bin/sh\nexec {shlex.quote(str(python))} "$@"\n')
    _write_program(daemon.folder / "session", _SESSION)


def start(daemon: Daemon, programs: Programs) -> None:
    """Start a daemon on a free port and wait until it listens; UsageError in sshd's own words where it does not."""
    for _ in range(_ATTEMPTS):
        port = free_port()
        _write_config(daemon, programs, port)
        _check_config(daemon, programs)
        daemon.pid_file.unlink(missing_ok=True)
        daemon.log.write_bytes(b"")
        _run(programs.sshd, "-f", str(daemon.config), "-E", str(daemon.log))
        wait_until(lambda: daemon.pid() is not None or "Cannot bind" in _tail(daemon.log), _START_S)
        if daemon.pid() is not None:
            daemon.port_file.write_text(f"{port}\n", encoding="ascii")
            return
    raise UsageError("sshd does not start", where=daemon.folder.name, found=_tail(daemon.log) or "silence")


def _check_config(daemon: Daemon, programs: Programs) -> None:
    """Have sshd check its config; make the folder that it wants to find as root and that a bare machine lacks."""
    checked = _run(programs.sshd, "-t", "-f", str(daemon.config))
    missing = _MISSING_FOLDER.search(checked.stderr)
    if missing:
        Path(missing[1]).mkdir(mode=0o755, parents=True, exist_ok=True)
        checked = _run(programs.sshd, "-t", "-f", str(daemon.config))
    if checked.returncode:
        raise UsageError(
            "sshd refuses its config", where=str(daemon.config), found=checked.stderr.strip()[-500:]
        )


def _write_config(daemon: Daemon, programs: Programs, port: int) -> None:
    folder = daemon.folder
    environment = {"HOME": daemon.home, "PATH": f"{folder / 'bin'}:{_PATH}"}
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {_word(daemon.host_key)}",
        f"PidFile {_word(daemon.pid_file)}",
        f"AuthorizedKeysFile {_word(_literal(daemon.keys))}",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "StrictModes no",
        "UsePAM no",
        "UseDNS no",
        "PrintMotd no",
        "PrintLastLog no",
        "X11Forwarding no",
        "AllowAgentForwarding no",
        "PermitUserEnvironment no",
        # sshd honours the first SetEnv alone.
        "SetEnv " + " ".join(_word(f"{name}={value}") for name, value in environment.items()),
    ]
    lines += [f"Subsystem sftp {path}" for path in _SFTP_SERVERS if Path(path).exists()][:1]
    if programs.version >= (9, 8):
        # All devices share one address: a refused key on one must not close the others.
        lines.append("PerSourcePenalties no")
    daemon.config.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _word(value: object) -> str:
    return f'"{value}"'


def _literal(path: Path) -> str:
    """Return a path in which sshd expands nothing."""
    return str(path).replace("%", "%%")


def _write_program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o700)


def free_port() -> int:
    """Return a port on loopback that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Say whether nobody listens on a port on loopback at this moment."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _tail(log: Path) -> str:
    return " / ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:])


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )

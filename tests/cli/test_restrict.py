"""`ota provision --restrict` through the real command line and real OpenSSH: what the key can do then, and what it cannot."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ota.core.connection import connection_of
from ota.core.inventory import Host
from ota.core.keyring import SignedKeyring
from ota.core.protocol import BlobKind
from ota.core.release import Artifact, Digest, Manifest, Release
from ota.core.restriction import Scope
from ota.core.runtime import Unsupported, choose_runtimes
from ota.errors import UnreachableError
from ota.formats.inventory import load_inventory
from ota.lab.fleet import LabState
from ota.lab.sshd import free_port
from ota.remote import ssh
from ota.remote.answers import Lease
from ota.remote.bootstrap import bootstrap_argv
from ota.remote.device import Device
from ota.remote.dialogue import RefusedError
from ota.remote.executor import ThreadExecutor
from ota.remote.restriction import Limit
from ota.workflows.restrict import RestrictEnds, restrict
from tests.conftest import StartLab
from tests.signing.rings import a_ring

ROOT = Path(__file__).parent.parent.parent
PROOF = ROOT / "ota" / "agent" / "proof.tflite"
SECRET = "the secret of this device"

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(200)]


class Project:
    """A lab of one device with a key of an administrator's beside the controller's, and a folder in which `ota` is run."""

    def __init__(self, folder: Path, lab: LabState) -> None:
        self.folder, self.lab = folder, lab
        self.home = Path(lab.devices[0].home)
        self.root = self.home / "ota"
        self.keys = self.home / ".ssh" / "authorized_keys"
        self.admin = folder / "admin"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.admin)], check=True)
        line = self.admin.with_suffix(".pub").read_text()
        self.others = f"# keys\r\n\n{line}ssh-rsa AAAAB3 old one\r\n".encode()
        self.keys.write_bytes(self.others + self.keys.read_bytes())
        (self.home / "secret").write_text(SECRET)
        (folder / "inventory.yaml").write_text(Path(lab.inventory).read_text())
        for number in (1, 2):
            (folder / f"v{number}.tflite").write_bytes(PROOF.read_bytes() + bytes(4 * number))
        self.play(after="date >> restarted", health_check={"command": "test -s current/model.tflite"})
        self._provision()

    def play(self, **deploy: object) -> None:
        """Write a playbook that deploys as `deploy` says."""
        (self.folder / "playbooks").mkdir(exist_ok=True)
        play = {"name": "p", "hosts": "all", "model": {"name": "m", "source": "m.keras"}, "deploy": deploy}
        (self.folder / "playbooks" / "site.yaml").write_text(json.dumps([play]))

    def device(self) -> Device:
        """Open the device with the controller's key."""
        host = load_inventory([self.folder / "inventory.yaml"]).host(self.lab.devices[0].name)
        return Device.open(host, ssh.connect(host, connection_of(host)), model="m", root=str(self.root))

    def _provision(self) -> None:
        """Give the device the runtime of this environment, under the names that the resolver gives."""
        with self.device() as device:
            choices = choose_runtimes(device.facts(), ())
        assert not isinstance(choices, Unsupported), choices.reason
        for choice in choices:
            python = self.root / "runtime" / choice.id / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
            python.chmod(0o755)
            record = {
                "id": choice.id,
                "package": choice.package,
                "version": choice.version,
                "python": str(python),
            }
            (python.parent.parent / "proven.json").write_text(json.dumps(record))

    def ota(self, *args: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run a command line; `path` is where the package lies."""
        return subprocess.run(
            [sys.executable, "-m", "ota", *args],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def as_admin(self, *args: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run a command line with the administrator's key."""
        return self.ota(*args, "-e", f"ansible_ssh_private_key_file={self.admin}", path=path)

    def json(self, schema: str, *args: str) -> Any:
        """Return the document of a command that ends well, validated."""
        done = self.ota(*args, "--json")
        assert done.returncode == 0, done.stderr + done.stdout[-2000:]
        document = json.loads(done.stdout)
        jsonschema.validate(document, json.loads((ROOT / "docs" / "schemas" / f"{schema}.json").read_text()))
        return document

    def login(
        self, program: str, *args: str, key: str = "", said: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one of OpenSSH's own programs with the controller's key."""
        options = [
            "-F",
            "none",
            "-i",
            key or self.lab.key,
            "-o",
            f"UserKnownHostsFile={self.lab.known_hosts}",
        ]
        options += [
            word
            for one in ("BatchMode=yes", "IdentitiesOnly=yes", "ExitOnForwardFailure=yes")
            for word in ("-o", one)
        ]
        port = "-p" if program == "ssh" else "-P"
        return subprocess.run(
            [program, *options, port, str(self.lab.devices[0].port), *args],
            cwd=self.folder,
            input=said,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            errors="replace",
        )

    def asks(self, command: str) -> subprocess.CompletedProcess[str]:
        """Have sshd asked for a command with the controller's key."""
        return self.login("ssh", "127.0.0.1", command)


@pytest.fixture(scope="module")
def project(start_lab: StartLab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A device that runs v1 and whose controller's key was limited to the agent."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError)
    project = Project(tmp_path_factory.mktemp("project"), start_lab(1))
    before = project.keys.read_bytes()
    check = project.json("provision", "provision", "--restrict", "--check")["restrictions"]
    assert [one["changed"] for one in check] == [True]
    assert project.keys.read_bytes() == before
    assert SECRET in project.asks("cat secret || cat ~/secret").stdout
    (done,) = project.json("provision", "provision", "--restrict")["restrictions"]
    assert (done["line"], done["state"], done["changed"]) == (check[0]["line"], "ok", True)
    assert "it opens no shell any more" in done["warnings"][0]
    assert "2 other keys there have no forced command" in done["warnings"][0]
    deployed = project.ota("deploy", "--model", "v1.tflite")
    assert deployed.returncode == 0, deployed.stderr + deployed.stdout
    return project


def test_the_line_is_the_only_thing_that_changed(project: Project) -> None:
    """Every other line is there byte for byte, comments and odd ends of lines too; the file's permissions stay."""
    content = project.keys.read_bytes()
    assert content.startswith(project.others)
    (line,) = content[len(project.others) :].splitlines()
    assert line.startswith(b'restrict,command="')
    assert line.endswith(Path(project.lab.key).with_suffix(".pub").read_bytes().strip())


REACHES = "this key reaches the ota agent alone; sign in with another key of this account, or at the console"
WISHES: dict[str, tuple[str, list[str], str]] = {
    "a shell": ("ssh", ["127.0.0.1"], "it opens no shell"),
    "a shell with a terminal": ("ssh", ["-tt", "127.0.0.1"], "PTY allocation request failed"),
    "a file": ("ssh", ["127.0.0.1", "cat /etc/passwd"], "it runs no command"),
    "Python": ("ssh", ["127.0.0.1", "python3 -c 'print(1)'"], "it runs no command"),
    "scp from": ("scp", ["127.0.0.1:secret", "stolen"], ""),
    "scp from, the old way": ("scp", ["-O", "127.0.0.1:secret", "stolen"], "it runs no command"),
    "scp to": ("scp", ["v1.tflite", "127.0.0.1:planted"], ""),
    "scp to, the old way": ("scp", ["-O", "v1.tflite", "127.0.0.1:planted"], "it runs no command"),
    "sftp": ("sftp", ["127.0.0.1:secret", "stolen"], ""),
    "a subsystem": ("ssh", ["-s", "127.0.0.1", "sftp"], ""),
    "a port of the device": ("ssh", ["-W", "127.0.0.1:{port}", "127.0.0.1"], "administratively prohibited"),
    "a port on the device": (
        "ssh",
        ["-N", "-R", "0:127.0.0.1:9", "127.0.0.1"],
        "remote port forwarding failed",
    ),
    "a socket of the device": (
        "ssh",
        ["-N", "-R", "/tmp/ota-no-socket:127.0.0.1:9", "127.0.0.1"],
        "remote port forwarding failed",
    ),
}


@pytest.mark.parametrize(("program", "args", "why"), WISHES.values(), ids=WISHES.keys())
def test_openssh_gets_nothing(program: str, args: list[str], why: str, project: Project) -> None:
    """Shells, commands, copies, subsystems and forwardings end with an error that says why, and nothing is read or written."""
    port = str(project.lab.devices[0].port)
    done = project.login(program, *(word.replace("{port}", port) for word in args), said="cat secret\n")
    assert done.returncode != 0, done
    assert SECRET not in done.stdout
    assert "SSH-2" not in done.stdout
    assert why in done.stderr
    assert not (project.folder / "stolen").exists()
    assert not (project.home / "planted").exists()


def test_a_port_of_the_device_is_not_reached_through_a_local_one(project: Project) -> None:
    """`-L` listens on the controller, and what connects there hears nothing from the device."""
    port = free_port()
    options = [
        "-F",
        "none",
        "-i",
        project.lab.key,
        "-o",
        f"UserKnownHostsFile={project.lab.known_hosts}",
        "-o",
        "BatchMode=yes",
    ]
    where = [
        "-p",
        str(project.lab.devices[0].port),
        "-N",
        "-L",
        f"{port}:127.0.0.1:{project.lab.devices[0].port}",
        "127.0.0.1",
    ]
    tunnel = subprocess.Popen(["ssh", *options, *where], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 15
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as end:
                    assert end.recv(100) == b""
                break
            except ConnectionRefusedError:
                assert time.monotonic() < until
                time.sleep(0.05)
    finally:
        tunnel.terminate()
        tunnel.wait()


def start(**changes: str) -> str:
    """Return the controller's own start of the agent, some of its words changed."""
    words = list(bootstrap_argv("python3", "~/ota", keep=True))
    places = {"python": 0, "flag": 1, "source": 3, "root": 4, "digest": 5, "size": 6, "keep": 7}
    for name, value in changes.items():
        words[places[name]] = value
    return shlex.join(words)


def hostile(home: Path) -> dict[str, str]:
    """Return what somebody with the key may try, each of which would leave the file `planted`."""
    touch = f"touch {home}/planted"
    own = start()
    return {
        "a quote": "'",
        "a backslash": "\\",
        "quotes in quotes": f'"$({touch})"',
        "a substitution": f"$({touch})",
        "backticks": f"`{touch}`",
        "lines": f"\n{touch}\n",
        "a start and more": f"{own}; {touch}",
        "a start and a line": f"{own}\n{touch}",
        "a start and a pipe": f"{own} | {touch}",
        "a start and a word": f"{own} {touch}",
        "a start without a word": own.rpartition(" ")[0],
        "a start behind a variable": f"X=1 {own}",
        "another program": start(source=f"import os; os.system({touch!r})"),
        "another interpreter's flag": start(flag="-i"),
        "another agent": start(digest="0" * 64),
        "a digest that is a path": start(digest="../" * 21 + "x"),
        "another folder": start(root="~/elsewhere"),
        "a way out of the folder": start(root="~/ota/../.."),
        "no number": start(size="1e9"),
        "neither keep nor drop": start(keep=touch),
        "another user": f"sudo -n -H -u root -- {own}",
        "a user that is an option": f"sudo -n -H -u --shell -- {touch}",
        "the door": f"python3 -I {home}/ota/agent/x.pyz door /etc/passwd",
        "very long": touch + " " * 60_000 + "'" * 60_001,
        "as long": start(source="x" * 100_000),
        "not UTF-8": "\udcff\udcfe\udc80 \x01\x02\x7f",
        "an option": " --help",
        "a percent": "%s%n {0} %(x)s",
    }


HOME = Path("/HOME")


@pytest.mark.parametrize("wish", hostile(HOME).values(), ids=hostile(HOME))
def test_a_hostile_command_is_refused(wish: str, project: Project) -> None:
    """Whatever sshd is asked to run, it ends with code 77 and one line that shows nothing of it; nothing is run or stored."""
    before = sorted(str(path) for path in project.home.rglob("*"))
    done = project.asks(wish.replace(str(HOME), str(project.home)))
    assert done.returncode == 77, done
    (said,) = done.stderr.splitlines()
    assert said.startswith("ota: refused: ")
    assert said.endswith(REACHES)
    assert "planted" not in said
    assert sorted(str(path) for path in project.home.rglob("*")) == before


def test_the_jobs_go_on(project: Project) -> None:
    """Deploy, deploy again, status, verify, roll back, and provision again: all as before, and the second run changes nothing."""
    (first,) = project.json("rollout", "deploy", "--model", "v2.tflite")["rollouts"]
    assert [host["state"] for host in first["hosts"]] == ["confirmed"]
    (second,) = project.json("rollout", "deploy", "--model", "v2.tflite")["rollouts"]
    assert [host["changed"] for host in second["hosts"]] == [False]
    assert project.ota("status").returncode == 0
    assert project.ota("ping").returncode == 0
    verified = project.ota("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    (back,) = project.json("rollout", "rollback")["rollouts"]
    assert [host["state"] for host in back["hosts"]] == ["confirmed"]
    keys = project.keys.read_bytes()
    document = project.json("provision", "provision", "--restrict")
    assert [one["changed"] for one in (*document["hosts"], *document["restrictions"])] == [False, False]
    assert document["restrictions"][0]["warnings"] == []
    assert project.keys.read_bytes() == keys


def test_a_trial_that_nobody_confirms_is_left(project: Project) -> None:
    """The watchdog goes back and runs the commands after an activation, though the key may do nothing itself."""
    with project.device() as device:
        before = device.slot()
        other = next(held.id for held in before.releases if held.id != before.current)
        lease = Lease(seconds=1.0, after=("date >> restarted",))
        times = (project.root / "restarted").read_text().count("\n")
        assert device.activate(other, expected_current=before.current, lease=lease).current == other
    until = time.monotonic() + 20
    while (project.root / "restarted").read_text().count("\n") == times:
        assert time.monotonic() < until
        time.sleep(0.1)
    with project.device() as device:
        assert device.slot().current == before.current


def test_a_command_that_was_not_in_the_playbook_is_refused(project: Project) -> None:
    """A health check that is new fails the host with the way out, and the release before it is live."""
    with project.device() as device:
        before = device.slot().current
    steal = "cat ~/secret >> current/x"
    for deploy in ({"health_check": {"command": steal, "retries": 0}}, {"before": steal}, {"after": steal}):
        project.play(**deploy)
        done = project.ota("deploy", "--model", "v2.tflite")
        assert done.returncode == 2, done.stdout + done.stderr
        told = " ".join((done.stdout + done.stderr).split())
        assert "this key may not ask for the command" in told
        assert "`ota provision --restrict`, signed in with another key" in told
        with project.device() as device:
            assert device.slot().current == before
    project.play(after="date >> restarted", health_check={"command": "test -s current/model.tflite"})


def test_no_request_brings_code_or_changes_the_limits(project: Project, tmp_path: Path) -> None:
    """Commands, packages, programs in releases, a first keyring, another restriction and what no table knows are refused, each by its own words."""
    file = tmp_path / "file"
    file.write_bytes(PROOF.read_bytes())
    digest = Digest.of(file.read_bytes())
    model = Artifact(name="model.tflite", digest=digest, size_bytes=file.stat().st_size)
    release = Release(manifest=Manifest(model="m", artifacts=(model, replace(model, name="open_model.py"))))
    limit = Limit(
        key="ssh-ed25519 AAAA", in_use=False, become=None, scopes=(Scope(root="~/ota", commands=("sh",)),)
    )
    ring = SignedKeyring(keyring=a_ring(tmp_path / "ring", "one"), signatures=())
    keys = project.keys.read_bytes()
    asks: dict[str, Callable[[Device], object]] = {
        "the command 'cat ~/secret'": lambda device: device.run("cat ~/secret", timeout_s=5),
        "wheels": lambda device: device.put(BlobKind.WHEEL, digest, file),
        "the installation of a runtime": lambda device: device.install_runtime(
            id="x", package="ai-edge-litert", version="1", wheels=(), system_site_packages=False
        ),
        "open_model.py is not": lambda device: device.stage(release),
        "a first keyring": lambda device: device.adopt(ring),
        "another restriction": lambda device: device.restrict(limit),
        "the operation 'shell'": lambda device: device._ask("shell"),
    }
    for what, ask in asks.items():
        with project.device() as device:
            with pytest.raises(RefusedError, match=re.escape(what)) as raised:
                ask(device)
            assert raised.value.code == "restricted"
    assert project.keys.read_bytes() == keys
    assert not (project.root / "wheels").exists() or not list((project.root / "wheels").iterdir())


def test_a_newer_ota_is_let_in_by_an_administrator(project: Project, tmp_path: Path) -> None:
    """An ota with another agent is told so, brings its agent with another key, and works then; the older one is the one that is refused."""
    newer = tmp_path / "newer"
    shutil.copytree(ROOT / "ota", newer / "ota", ignore=shutil.ignore_patterns("__pycache__"))
    with (newer / "ota" / "agent" / "facts.py").open("a") as file:
        file.write("# a newer one\n")
    refused = project.ota("status", path=newer)
    assert "this key is restricted to the agent of another version of ota" in " ".join(refused.stdout.split())
    failed = project.ota("deploy", "--model", "v2.tflite", path=newer)
    assert failed.returncode == 2
    told = " ".join((failed.stdout + failed.stderr).split())
    assert (
        "ota provision --restrict --controller-key THIS_KEY.pub -e ansible_ssh_private_key_file=OTHER_KEY"
        in told
    )
    public = f"{project.lab.key}.pub"
    for path, other in ((newer, ROOT), (ROOT, newer)):
        brought = project.as_admin("provision", "--restrict", "--controller-key", public, path=path)
        assert brought.returncode == 0, brought.stderr
        assert "opens no shell any more" not in brought.stderr
        assert project.ota("deploy", "--model", "v1.tflite", path=path).returncode == 0
        assert project.ota("deploy", "--model", "v1.tflite", path=other).returncode == 2
        assert project.keys.read_bytes().startswith(project.others)


def test_a_line_that_lets_nobody_in_is_taken_back(project: Project) -> None:
    """Where the second connection does not reach the agent, the file is as it was and the host failed; with nothing in front of the key it has a shell again."""
    key = Path(project.lab.key).with_suffix(".pub").read_bytes()
    limited = project.keys.read_bytes()
    open_ = project.others + key
    project.keys.write_bytes(open_)
    opened: list[Device] = []

    def connect(host: Host) -> AbstractContextManager[Device]:
        if opened:
            raise UnreachableError("nobody is let in", where=host.name)
        opened.append(project.device())
        return opened[0]

    host = Host(name="board")
    ends = RestrictEnds(
        connect=connect, executor=ThreadExecutor(), become_of=lambda _: None, emit=lambda _: None
    )
    (result,) = restrict([host], {"board": [Scope(root="~/ota", commands=())]}, ends)
    assert result.error is not None
    assert "its line was put back as it was" in result.error.reason
    assert project.keys.read_bytes() == open_
    assert SECRET in project.asks("cat ~/secret").stdout
    project.keys.write_bytes(limited)


USAGE = {
    "a key without --restrict": (["--controller-key", "k.pub"], 64, "add --restrict"),
    "a key that is not there": (
        ["--restrict", "--controller-key", "k.pub"],
        66,
        "the public key cannot be read",
    ),
    "a private key": (
        ["--restrict", "--controller-key", "admin"],
        65,
        "expected a public SSH key, found a private key",
    ),
    "no key": (["--restrict", "--controller-key", "inventory.yaml"], 65, "expected a public SSH key, found"),
}


@pytest.mark.parametrize(("args", "code", "message"), USAGE.values(), ids=USAGE.keys())
def test_what_is_typed_wrong(args: list[str], code: int, message: str, project: Project) -> None:
    """One message and a documented exit code, before any device is reached."""
    done = project.ota("provision", *args)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr

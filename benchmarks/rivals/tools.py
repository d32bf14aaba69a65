"""The tools that are compared, a literal table: how each is told to do the same work.

The work: bring a model to every host, verify its SHA-256 there, and make it current by a rename. Each is told to do as many hosts at once as there are,
and nothing that it need not do: no facts, one login a host where the tool can.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.rivals.environment import Environment
from benchmarks.rivals.measured import Command

_SCRIPTS = Path(__file__).parent / "scripts"
OTA = "ota"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A device: where its daemon listens, the interpreter on it, and its home as this machine sees it."""

    name: str
    address: str
    port: int
    python: str
    home: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The work of one run; `root` is the folder on each device, `folder` one of ours for the tool's files."""

    hosts: tuple[Target, ...]
    user: str
    key: str
    known_hosts: str
    model: str
    digest: str
    root: str
    forks: int
    folder: Path

    def file(self, name: str, text: str) -> str:
        """Write a file of the tool's and return its path."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def as_json(self) -> str:
        """Return the task as the rivals' scripts read it."""
        plain = {name: value for name, value in asdict(self).items() if name != "folder"}
        return json.dumps({**plain, "release": self.release, "switch": self.switch})

    @property
    def release(self) -> str:
        """The folder of the release on a device."""
        return f"{self.root}/releases/{self.digest}"

    @property
    def switch(self) -> str:
        """The shell line that verifies model.tmp and makes it current."""
        return (
            f"echo '{self.digest}  {self.release}/model.tmp' | sha256sum -c --quiet -"
            f" && mv {self.release}/model.tmp {self.release}/model.tflite"
            f" && ln -sfn releases/{self.digest} {self.root}/current.tmp && mv -T {self.root}/current.tmp {self.root}/current"
        )

    @property
    def ssh_options(self) -> tuple[str, ...]:
        """What OpenSSH's client is told besides address and port."""
        options = ("BatchMode=yes", "IdentitiesOnly=yes", f"UserKnownHostsFile={self.known_hosts}")
        return ("-l", self.user, "-F", "none", "-i", self.key, *(w for one in options for w in ("-o", one)))

    def host_lines(self) -> str:
        """Return the file of hosts that the shell loops read."""
        return self.file("hosts", "".join(f"{host.address} {host.port}\n" for host in self.hosts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A rival: what it is called, how it does the work, what has to be installed for it, and how it is told."""

    name: str
    how: str
    needs: str
    command: Callable[[Task, Environment], Command]


def inventory(task: Task) -> str:
    """Return the fleet as an inventory that Ansible and ota read alike."""
    hosts = {
        host.name: {
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_python_interpreter": host.python,
        }
        for host in task.hosts
    }
    variables = {
        "ansible_user": task.user,
        "ansible_ssh_private_key_file": task.key,
        "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={task.known_hosts} -o IdentitiesOnly=yes",
        "ota_root": "~/ota",
        "ota_boot_hook": "none",
    }
    return json.dumps({"all": {"vars": variables, "hosts": hosts}}, indent=1)


def ota(task: Task, *arguments: str) -> Command:
    """Return `ota deploy` of the task's model; the folder holds the inventory and the playbook."""
    argv = (str(Path(sys.executable).with_name("ota")), "deploy", "--model", task.model, *arguments)
    return Command(argv=(*argv, "--forks", str(task.forks)), cwd=task.folder, environment={})


def _ansible(task: Task, there: Environment) -> Command:
    source = task.file("inventory.json", inventory(task))
    said = {"release": task.release, "model": task.model, "switch": task.switch}
    playbook = _SCRIPTS / "playbook.yaml"
    argv = (there.program("ansible-playbook"), "-i", source, str(playbook), "-f", str(task.forks), "-e", json.dumps(said))  # fmt: skip
    settings = {
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_LOCAL_TEMP": str(task.folder / "tmp"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(task.folder / "cp"),
        "ANSIBLE_HOME": str(task.folder),
        "ANSIBLE_CONFIG": task.file("ansible.cfg", "[defaults]\n"),
    }
    # Its workers must find its own programs first.
    path = f"{Path(there.program('python')).parent}:/usr/local/bin:/usr/bin:/bin"
    return Command(argv=argv, cwd=task.folder, environment={**settings, "PATH": path})


def _pyinfra(task: Task, there: Environment) -> Command:
    scripts = (str(_SCRIPTS / "pyinfra_inventory.py"), str(_SCRIPTS / "pyinfra_deploy.py"))
    argv = (there.program("pyinfra"), "-y", "--parallel", str(task.forks), *scripts)
    environment = {"FLEET_SPEED_TASK": task.file("task.json", task.as_json())}
    return Command(argv=argv, cwd=task.folder, environment=environment)


def _script(name: str) -> Callable[[Task, Environment], Command]:
    def command(task: Task, there: Environment) -> Command:
        argv = (there.program("python"), str(_SCRIPTS / name), task.file("task.json", task.as_json()))
        return Command(argv=argv, cwd=task.folder, environment={})

    return command


def _ssh_loop(task: Task, _: Environment) -> Command:
    command = f"mkdir -p {task.release} && cat >{task.release}/model.tmp && {task.switch}"
    argv = ("/bin/sh", str(_SCRIPTS / "ssh_loop.sh"), task.host_lines(), task.model, command)
    return Command(argv=(*argv, *task.ssh_options), cwd=task.folder, environment={})


def _rsync_loop(task: Task, _: Environment) -> Command:
    argv = (
        "/bin/sh",
        str(_SCRIPTS / "rsync_loop.sh"),
        task.host_lines(),
        task.model,
        task.release,
        task.switch,
    )
    return Command(argv=(*argv, str(task.folder), *task.ssh_options), cwd=task.folder, environment={})


RIVALS = (
    Tool(name="ansible-core", how="playbook of three tasks, pipelining", needs="ansible-core", command=_ansible),
    Tool(name="pyinfra", how="files.put, server.shell", needs="pyinfra", command=_pyinfra),
    Tool(name="parallel-ssh", how="copy_file, run_command", needs="parallel-ssh", command=_script("parallel_ssh.py")),
    Tool(name="paramiko SFTP", how="threads; put, exec_command", needs="paramiko", command=_script("paramiko_sftp.py")),
    Tool(name="paramiko exec", how="threads; all in one command", needs="paramiko", command=_script("paramiko_exec.py")),
    Tool(name="ssh loop", how="shell; all in one command", needs="OpenSSH", command=_ssh_loop),
    Tool(name="rsync loop", how="shell; rsync and a command over one connection", needs="rsync", command=_rsync_loop),
)  # fmt: skip

"""`ota deploy --resume` through the real command line: a controller killed in the middle of a rollout, the warning after it, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ota.core.connection import Connection
from ota.core.inventory import Host
from ota.core.runtime import Unsupported, choose_runtimes
from ota.remote import local
from ota.remote.device import Device

ROOT = Path(__file__).parent.parent.parent
PROOF = ROOT / "ota" / "agent" / "proof.tflite"
HOSTS = ("a", "b", "c")
PLAYBOOK = """\
- name: sorters
  hosts: all
  model: {{name: sorter, source: model.keras}}
  deploy:
    serial: [1, 100%]
    max_fail_percentage: 0
    on_failure: rollback_all
    after: test ! -e {folder}/deadly || {{ rm {folder}/deadly; kill -9 $(cat {folder}/pid); }}
    health_check: {{command: "test ! -e unwell || test ! -e {folder}/strict", retries: 0}}
"""


class Project:
    """A project folder with three devices of this machine, and `ota` run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "playbooks").mkdir()
        (folder / "playbooks" / "site.yaml").write_text(PLAYBOOK.format(folder=folder))
        rows = [f"    {host}: {{ansible_connection: local, ota_root: {folder / host}}}\n" for host in HOSTS]
        (folder / "inventory.yaml").write_text("all:\n  hosts:\n" + "".join(rows))
        for host in HOSTS:
            self._provision(host)
        for number in (1, 2):
            (folder / f"v{number}.tflite").write_bytes(PROOF.read_bytes() + bytes(4 * number))

    def _provision(self, name: str) -> None:
        """Give a device the runtime of this environment, under the name that the resolver would give it."""
        host = Host(name=name)
        opened = Device.open(
            host,
            local.connect(host, Connection(kind="local", address="x")),
            model="sorter",
            root=str(self.folder / name),
            python=sys.executable,
        )
        with opened as device:
            choices = choose_runtimes(device.facts())
        if isinstance(choices, Unsupported):
            pytest.skip(f"no runtime runs here: {choices}")
        folder = self.folder / name / "runtime" / choices[0].id
        folder.mkdir(parents=True)
        record = {"id": choices[0].id, "package": choices[0].package, "version": choices[0].version, "python": sys.executable}  # fmt: skip
        (folder / "proven.json").write_text(json.dumps(record))

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run one command line to its end; its process id is in the file `pid` meanwhile."""
        return subprocess.run(
            self.command(*args),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def command(self, *args: str) -> list[str]:
        """Return the words that run one command line."""
        return ["/bin/sh", "-c", 'echo $$ > pid; exec "$@"', "sh", sys.executable, "-m", "ota", *args]

    @property
    def environment(self) -> dict[str, str]:
        """What it runs in."""
        return {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(self.folder)}

    def states(self, *args: str, code: int) -> dict[str, str]:
        """Run with --json, expect an exit code, and return each host's state."""
        done = self.run(*args, "--json")
        assert done.returncode == code, done.stderr + done.stdout
        (rollout,) = json.loads(done.stdout)["rollouts"]
        return {host["host"]: host["state"] for host in rollout["hosts"]}

    def deployed(self) -> list[int]:
        """Return which version each device runs."""
        sizes = {PROOF.stat().st_size + 4 * number: number for number in (1, 2)}
        return [sizes[(self.folder / host / "current" / "model.tflite").stat().st_size] for host in HOSTS]

    def status(self) -> list[Any]:
        """Return what `ota status` says of each host."""
        (play,) = json.loads(self.run("status", "--json").stdout)["plays"]
        return list(play["hosts"])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Three devices that run version 1."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError)
    project = Project(tmp_path)
    assert project.states("deploy", "--model", "v1.tflite", code=0) == dict.fromkeys(HOSTS, "confirmed")
    return project


def killed(project: Project) -> None:
    """Let a rollout of version 2 kill its controller in the trial of the first host."""
    (project.folder / "deadly").touch()
    assert project.run("deploy", "--model", "v2.tflite").returncode == -signal.SIGKILL
    (project.folder / "v2.tflite").rename(project.folder / "gone.tflite")


def test_a_killed_deployment_is_taken_up_and_a_second_run_is_all_ok(project: Project) -> None:
    """`--resume` needs neither the file nor the options of the run that died; afterwards nothing is left to take up."""
    killed(project)
    assert project.states("deploy", "--resume", code=0) == dict.fromkeys(HOSTS, "confirmed")
    assert project.deployed() == [2, 2, 2]
    assert [host["drift"] for host in project.status()] == ["", "", ""]
    again = project.run("deploy", "--model", "gone.tflite")
    assert "changed=0" in again.stdout
    assert "changed=1" not in again.stdout
    assert "has not ended" not in again.stderr
    none = project.run("deploy", "--resume")
    assert (none.returncode, "there is no unfinished rollout" in none.stderr) == (64, True)


def test_a_rollout_that_was_taken_up_returns_its_hosts_as_the_first_would_have(project: Project) -> None:
    """The host that was on trial when the controller died goes back to the release that it ran before, although nobody alive had seen it."""
    killed(project)
    (project.folder / "b" / "unwell").touch()
    (project.folder / "strict").touch()
    ends = project.states("deploy", "--resume", code=2)
    assert set(ends.values()) == {"rolled_back"}
    assert project.deployed() == [1, 1, 1]
    assert [host["drift"] for host in project.status()] == ["", "", ""]


def test_a_deployment_beside_an_unfinished_one_says_so_and_takes_its_place(project: Project) -> None:
    """One warning line, then the rollout as it was asked for; where it has done all hosts the older one is over."""
    killed(project)
    beside = project.run("deploy", "--model", "gone.tflite", "--limit", "c")
    warnings = [line for line in beside.stderr.splitlines() if "has not ended" in line]
    assert len(warnings) == 1
    assert "ota deploy --resume takes it up; this one begins anew" in warnings[0]
    assert len(list((project.folder / ".ota" / "rollouts").iterdir())) == 1
    anew = project.run("deploy", "--model", "v1.tflite")
    assert anew.returncode == 0, anew.stderr
    assert list((project.folder / ".ota" / "rollouts").iterdir()) == []
    assert project.deployed() == [1, 1, 1]
    history = json.loads(project.run("history", "--json").stdout)["rollouts"]
    assert [rollout["kind"] for rollout in history] == ["deploy"] * 4


REFUSED = {
    "with a model": (("--model", "v1.tflite"), "--resume takes a rollout up as it was begun"),
    "with a limit": (("--limit", "a"), "--resume takes a rollout up as it was begun"),
    "in check mode": (("--check",), "--resume takes a rollout up as it was begun"),
}


@pytest.mark.parametrize(("more", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_go_with_resume_is_refused(more: tuple[str, ...], message: str, tmp_path: Path) -> None:
    """A rollout is taken up with its own hosts and releases: exit code 64, whatever else is there."""
    done = subprocess.run(
        [sys.executable, "-m", "ota", "deploy", *more, "--resume"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, message in done.stderr) == (64, True)


def test_a_play_that_was_changed_since_is_not_taken_up(project: Project) -> None:
    """Other commands or another policy are another rollout: exit code 64, and what to do instead."""
    killed(project)
    path = project.folder / "playbooks" / "site.yaml"
    path.write_text(path.read_text().replace("rollback_all", "stop"))
    done = project.run("deploy", "--resume")
    assert done.returncode == 64
    assert "the play 'sorters' was changed since its rollout began" in done.stderr
    assert "ota deploy begins anew; what is done is not done twice" in done.stderr


def test_a_journal_that_was_cut_since_the_last_contact_is_told(project: Project) -> None:
    """A deployment noted it: the verification fails until a person takes it as it is, for that device alone, and check mode notes nothing."""
    assert project.run("verify").returncode == 0
    journal = project.folder / "b" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))
    found = project.run("verify", "--json")
    assert found.returncode == 2
    drift = {host["host"]: host["drift"] for host in json.loads(found.stdout)["plays"][0]["hosts"]}
    assert drift["b"].startswith(f"its journal was cut: {len(lines)} lines were noted at ")
    assert drift["a"] == drift["c"] == ""
    assert "journal" not in project.run("deploy", "--model", "v1.tflite", "--check").stderr
    again = project.run("deploy", "--model", "v1.tflite")
    assert again.returncode == 0
    assert "b: its journal was cut" in again.stderr
    assert "ota verify --accept-journals takes it as it is" in again.stderr
    assert project.run("verify", "--accept-journals", "--limit", "a").returncode == 0
    assert project.run("verify").returncode == 2
    assert project.run("verify", "--accept-journals").returncode == 0
    assert project.run("verify").returncode == 0

"""`--executor dask` through the real command line: a real scheduler and real workers over TLS, devices of this machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.sites import ROOT, Sites, sites
from ota.core.connection import Connection
from ota.core.inventory import Host
from ota.core.release import Digest
from ota.remote import local
from ota.remote.device import Device
from ota.store.keyrings import Keyrings
from ota.workflows.trust import first_or_later
from tests.cli.test_resume import HOSTS, Project

pytest.importorskip("distributed", reason="Dask is not installed here: pip install 'ota[dask]'")
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates"),
]

PLAYBOOK = """\
- name: sorters
  hosts: all
  model: {{name: sorter, source: model.keras}}
  deploy:
    after: test ! -e {folder}/slow || sleep 2
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Return a scheduler with the workers of two sites."""
    with sites(tmp_path_factory.mktemp("dask")) as place:
        place.start("north")
        place.start("south-1", site="south")
        yield place


@pytest.fixture
def bare(tmp_path: Path) -> Project:
    """Return a project with three devices that run nothing yet."""
    made = Project(tmp_path)
    (tmp_path / "playbooks" / "site.yaml").write_text(PLAYBOOK.format(folder=tmp_path))
    return made


@pytest.fixture
def project(bare: Project) -> Project:
    """Return a project with three devices, all of which run v1."""
    assert bare.run("deploy", "--model", "v1.tflite").returncode == 0
    return bare


def give_sites(project: Project, **site_of: str) -> None:
    """Write the inventory anew, with the site of each host."""
    rows = [
        f"    {host}: {{ansible_connection: local, ota_root: {project.folder / host}, ota_site: {site}}}\n"
        for host, site in site_of.items()
    ]
    (project.folder / "inventory.yaml").write_text("all:\n  hosts:\n" + "".join(rows))


def current(project: Project, host: str) -> bytes:
    """Return what an application on a host would read."""
    return (project.folder / host / "current" / "model.tflite").read_bytes()


def held_before(project: Project) -> str:
    """Return the release that device `a` ran before its last activation."""
    return (project.folder / "a" / "previous").resolve().name


def activations(project: Project, host: str) -> int:
    """Return how often a device has activated anything."""
    lines = (project.folder / host / "journal.jsonl").read_text().splitlines()
    return sum(json.loads(line)["action"] == "activate" for line in lines)


def trust(project: Project, name: str) -> None:
    """Give a device the project's keyring."""
    host = Host(name=name)
    transport = local.connect(host, Connection(kind="local", address="x"))
    with Device.open(host, transport, model="sorter", root=str(project.folder / name)) as device:
        first_or_later(device, device.slot().keyring, Keyrings(project.folder / ".ota" / "keyrings").after(0))
        assert device.slot().keyring == 1


def begin(project: Project, *args: str) -> subprocess.Popen[str]:
    """Start a command line in a project."""
    return subprocess.Popen(
        [*project.command(*args)],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait(until: Callable[[], bool]) -> None:
    """Wait until something holds."""
    for _ in range(600):
        if until():
            return
        time.sleep(0.05)
    pytest.fail("it never held")


def test_workers_deploy_and_roll_back_as_the_controller_does(project: Project, there: Sites) -> None:
    """A rollout by the sites ends as one from here, its journal is closed here, a second changes nothing, and a rollback goes back."""
    give_sites(project, a="north", b="south", c="south")
    assert set(project.states("deploy", "--model", "v2.tflite", *there.options, code=0).values()) == {
        "confirmed"
    }
    assert {current(project, host) for host in HOSTS} == {(project.folder / "v2.tflite").read_bytes()}
    model = Digest.of((project.folder / "v2.tflite").read_bytes())
    for name in ("north", "south-1"):
        fetched = {path.name for path in (there.folder / name / ".ota" / "blobs").glob("*/*")}
        assert model.hex in fetched
    again = project.run("deploy", "--model", "v2.tflite", *there.options)
    assert again.returncode == 0
    assert again.stdout.count("changed=0") == 3
    assert [activations(project, host) for host in HOSTS] == [2, 2, 2]
    assert project.run("deploy", "--resume").returncode == 64
    assert set(project.states("rollback", *there.options, code=0).values()) == {"confirmed"}
    assert {current(project, host) for host in HOSTS} == {(project.folder / "v1.tflite").read_bytes()}


def test_what_devices_ran_is_in_the_rollouts_journal(project: Project, there: Sites) -> None:
    """Before a site changes anything, the controller's journal says what each device ran."""
    (project.folder / "slow").touch()
    running = begin(project, "deploy", "--model", "v2.tflite", *there.options)
    wait(lambda: any((project.folder / host / "pending.json").exists() for host in HOSTS))
    on_trial = [host for host in HOSTS if (project.folder / host / "pending.json").exists()]
    (journal,) = (project.folder / ".ota" / "rollouts").glob("*.jsonl")
    records = [json.loads(json.loads(line)["record"]) for line in journal.read_text().splitlines()]
    running.communicate(timeout=60)
    found = {one["host"]: one["current"] for one in records if one["step"] == "host found"}
    assert on_trial
    assert {found[host] for host in on_trial} == {held_before(project)}


def test_a_lost_workers_hosts_are_finished_by_another_and_activated_once(
    project: Project, there: Sites
) -> None:
    """A worker that is killed with hosts on trial: another one of the site waits for the devices' locks, and confirms what is there."""
    there.start("east-1", site="east")
    there.start("east-2", site="east")
    give_sites(project, a="east", b="east", c="east")
    (project.folder / "slow").touch()
    running = begin(project, "deploy", "--model", "v2.tflite", *there.options)
    wait(lambda: all((project.folder / host / "pending.json").exists() for host in HOSTS))
    (project.folder / "slow").unlink()
    there.kill("east-1")
    stdout, stderr = running.communicate(timeout=120)
    there.kill("east-2")
    assert running.returncode == 0, stderr + stdout
    assert "its worker was lost: another goes on with it" in stderr
    assert {current(project, host) for host in HOSTS} == {(project.folder / "v2.tflite").read_bytes()}
    assert not any((project.folder / host / "pending.json").exists() for host in HOSTS)
    assert [activations(project, host) for host in HOSTS] == [2, 2, 2]


def test_ctrl_c_lets_sites_finish_what_is_on_trial(project: Project, there: Sites) -> None:
    """Hosts past their activation are confirmed, the exit code says interrupted."""
    (project.folder / "slow").touch()
    running = begin(project, "deploy", "--model", "v2.tflite", *there.options)
    wait(lambda: all((project.folder / host / "pending.json").exists() for host in HOSTS))
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    assert {current(project, host) for host in HOSTS} == {(project.folder / "v2.tflite").read_bytes()}
    assert not any((project.folder / host / "pending.json").exists() for host in HOSTS)


def test_a_controller_that_died_is_taken_up(project: Project, there: Sites) -> None:
    """The jobs of a dead controller leave the devices soon; `--resume` ends its rollout, with nothing activated twice."""
    (project.folder / "slow").touch()
    running = begin(project, "deploy", "--model", "v2.tflite", *there.options)
    wait(lambda: any((project.folder / host / "pending.json").exists() for host in HOSTS))
    running.kill()
    running.communicate()
    (project.folder / "slow").unlink()
    time.sleep(8)
    assert set(project.states("deploy", "--resume", *there.options, code=0).values()) == {"confirmed"}
    assert {current(project, host) for host in HOSTS} == {(project.folder / "v2.tflite").read_bytes()}
    assert [activations(project, host) for host in HOSTS] == [2, 2, 2]


def test_a_scheduler_that_is_lost_makes_its_hosts_unreachable(project: Project, tmp_path: Path) -> None:
    """The rollout ends, names the hosts, and a run without Dask finishes them."""
    with sites(tmp_path / "dask") as place:
        place.start("west")
        (project.folder / "slow").touch()
        running = begin(project, "deploy", "--model", "v2.tflite", *place.options)
        wait(lambda: any((project.folder / host / "pending.json").exists() for host in HOSTS))
        place.kill("scheduler")
        stdout, stderr = running.communicate(timeout=100)
        assert running.returncode == 4, stderr + stdout
        assert stdout.count("unreachable=1") >= 1
        assert "Traceback" not in stderr
        place.kill("west")
    (project.folder / "slow").unlink()
    wait(lambda: project.run("deploy", "--model", "v2.tflite").returncode == 0)
    assert [activations(project, host) for host in HOSTS] == [2, 2, 2]


def test_a_worker_that_was_cut_off_is_not_heard_again(project: Project, tmp_path: Path) -> None:
    """A worker that hangs in a trial loses its host to another, which waits for the device's lock; when it wakes up, nothing is done twice."""
    with sites(tmp_path / "dask", environment={"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "3s"}) as place:
        place.start("west-1", site="west")
        give_sites(project, a="west")
        (project.folder / "slow").touch()
        running = begin(project, "deploy", "--model", "v2.tflite", *place.options)
        wait((project.folder / "a" / "pending.json").exists)
        place.start("west-2", site="west")
        place.workers["west-1"].send_signal(signal.SIGSTOP)
        time.sleep(12)
        place.workers["west-1"].send_signal(signal.SIGCONT)
        stdout, stderr = running.communicate(timeout=100)
    assert running.returncode == 0, stderr + stdout
    assert "its worker was lost: another goes on with it" in stderr
    assert current(project, "a") == (project.folder / "v2.tflite").read_bytes()
    assert activations(project, "a") == 2


def test_a_host_whose_site_has_no_worker_is_reported(project: Project, there: Sites) -> None:
    """A site that nobody serves makes its hosts unreachable, and no others."""
    give_sites(project, a="north", b="nowhere")
    states = project.states("deploy", "--model", "v2.tflite", *there.options, code=4)
    assert states == {"a": "confirmed", "b": "unreachable"}
    assert current(project, "b") == (project.folder / "v1.tflite").read_bytes()


def test_a_worker_with_another_ota_is_refused_before_anything_begins(
    project: Project, there: Sites, tmp_path: Path
) -> None:
    """One clear error names the worker and both versions; exit code 64, and no device was touched."""
    other = tmp_path / "other"
    shutil.copytree(ROOT / "ota", other / "ota", ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "ota" / "agent" / "main.py").open("a") as file:
        file.write("# another ota\n")
    there.start("stale", code=other)
    try:
        done = project.run("deploy", "--model", "v2.tflite", *there.options)
    finally:
        there.kill("stale")
    assert done.returncode == 64
    assert "error: the Dask worker stale (tls://127.0.0.1:" in done.stderr
    assert "runs another ota: expected ota 0.1.0 (" in done.stderr
    assert "install the controller's ota there, and start the worker again" in done.stderr
    assert "Traceback" not in done.stderr
    assert current(project, "a") == (project.folder / "v1.tflite").read_bytes()


def test_a_scheduler_out_of_reach_is_one_clear_error(bare: Project, there: Sites) -> None:
    """Exit code 4, the address, and what to do; no traceback of Dask's."""
    options = list(there.options)
    options[options.index(there.address)] = "tls://127.0.0.1:1"
    done = bare.run("deploy", "--model", "v2.tflite", *options)
    assert done.returncode == 4
    assert "error: tls://127.0.0.1:1: the Dask scheduler is out of reach" in done.stderr
    assert "Traceback" not in done.stderr
    assert "distributed" not in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--executor", "dask"], 64, "--executor dask needs --scheduler"),
        (["--scheduler", "tcp://127.0.0.1:1"], 64, "--scheduler is for --executor dask"),
        (["--executor", "dask", "--scheduler", "tls://127.0.0.1:1"], 64, "TLS needs a scheduler at tls://, and all of"),
        (
            ["--executor", "dask", "--scheduler", "tls://127.0.0.1:1", "--tls-ca", "x", "--tls-cert", "x", "--tls-key", "x"],
            66,
            "x: a file of TLS is not there",
        ),
        (["--executor", "dask", "--scheduler", "tcp://127.0.0.1:1", "--ask-pass"], 64, "no password travels to a site"),
    ],
    ids=["no-scheduler", "no-dask", "no-files", "no-such-file", "a-password"],
)  # fmt: skip
def test_options_that_do_not_fit_are_told(bare: Project, args: list[str], code: int, message: str) -> None:
    """Each with its exit code, before anything begins."""
    done = bare.run("deploy", "--model", "v2.tflite", *args)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert message in done.stderr


def test_a_password_of_the_inventory_does_not_travel(bare: Project, there: Sites) -> None:
    """Hosts that are reached with a password that only the controller has are named, and nothing begins."""
    (bare.folder / "inventory.yaml").write_text("all: {hosts: {a: {ansible_host: h, ansible_password: pw}}}")
    done = bare.run("deploy", "--model", "v2.tflite", *there.options)
    assert done.returncode == 64
    assert "with --executor dask no password travels to a site" in done.stderr
    assert "pw" not in there.log("north")


def test_a_signed_release_is_ordered_by_the_controllers_key(bare: Project, there: Sites) -> None:
    """A device with a keyring activates what the controller's key ordered; no private key is at a site, and the heads of journals are noted here."""
    keys = ("--keys", str(bare.folder / "keys"))
    give_sites(bare, a="north")
    assert bare.run("key", "init", *keys).returncode == 0
    trust(bare, "a")
    done = bare.run("deploy", "--model", "v1.tflite", "--keys", str(bare.folder / "none"))
    assert done.returncode == 66, done.stderr
    states = bare.states("deploy", "--model", "v2.tflite", *keys, *there.options, code=0)
    assert states == {"a": "confirmed"}
    lines = (bare.folder / "a" / "journal.jsonl").read_text().splitlines()
    with sqlite3.connect(bare.folder / ".ota" / "ota.db") as database:
        ((noted, head),) = database.execute("SELECT lines, head FROM journal_heads").fetchall()
    assert (noted, head) == (len(lines), hashlib.sha256(lines[-1].encode()).hexdigest())
    assert not [path for path in there.folder.rglob("*") if path.name.startswith("release")]


def test_without_the_extra_only_dask_is_missed(bare: Project, tmp_path: Path) -> None:
    """`--executor dask` says which extra to install; without it nothing of Dask is imported."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "distributed.py").write_text("raise ImportError('No module named distributed')\n")
    environment = {**bare.environment, "PYTHONPATH": f"{tmp_path / 'without'}:{ROOT}"}

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            bare.command("deploy", "--model", "v1.tflite", *args),
            cwd=bare.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    missing = run("--executor", "dask", "--scheduler", "tcp://127.0.0.1:1")
    assert missing.returncode == 64
    assert "pip install 'ota[dask]'" in missing.stderr
    assert run().returncode == 0

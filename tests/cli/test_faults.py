"""What goes wrong on real fleets, through the real command line and real OpenSSH: cut links, Ctrl-C, wrong models and data."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cutter import Cutter
from ota.lab.fleet import LabState
from tests.agent.networks import dense

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(120)]

SIZE = 3_000_000
OLD = dense([[1.0, 0.5]])


class Folder:
    """A folder with an inventory of one device behind a cutter, and a play that deploys files."""

    def __init__(self, path: Path, lab: LabState, cutter: Cutter, root: str) -> None:
        self.path = path
        self.root = Path(lab.devices[0].home) / root
        alias = f"[127.0.0.1]:{cutter.target}"
        (path / "inventory.yaml").write_text(
            json.dumps(
                {
                    "all": {
                        "hosts": {
                            "board": {
                                "ansible_host": "127.0.0.1",
                                "ansible_port": cutter.port,
                                "ansible_ssh_private_key_file": lab.key,
                                "ansible_ssh_common_args": f"-o UserKnownHostsFile={lab.known_hosts} -o HostKeyAlias={alias}",
                                "ota_root": f"~/{root}",
                            }
                        }
                    }
                }
            )
        )
        (path / "playbooks").mkdir()
        # Of no form that is shorter, however slow this link looks on a busy machine.
        weights = np.random.RandomState(1).normal(size=(SIZE // 8, 2)).tolist()
        (path / "new.tflite").write_bytes(dense(weights))
        (path / "old.tflite").write_bytes(OLD)
        self.play()

    def play(self, **deploy: object) -> None:
        """Write a playbook that deploys as `deploy` says."""
        play = {
            "name": "p",
            "hosts": "all",
            "model": {"name": "m", "source": "../new.tflite"},
            "deploy": deploy,
        }
        (self.path / "playbooks" / "site.yaml").write_text(json.dumps([play]))

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a command line."""
        return subprocess.Popen(
            [sys.executable, "-m", "ota", *args],
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end."""
        process = self.start(*args)
        out, err = process.communicate(timeout=90)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def current(self) -> bytes | None:
        """Return what an application on the device opens."""
        path = self.root / "current" / "model.tflite"
        return path.read_bytes() if path.exists() else None


@pytest.fixture
def cutter(lab: LabState) -> Iterator[Cutter]:
    """A relay to the first device of the lab."""
    cutter = Cutter(lab.devices[0].port)
    yield cutter
    cutter.close()


@pytest.fixture(scope="module")
def runtime(lab: LabState, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runtimes on the lab's first device, once that is provisioned."""
    folder = tmp_path_factory.mktemp("provision")
    play = {"name": "p", "hosts": "sorter-1", "model": {"name": "m", "source": "m"}}
    (folder / "site.yaml").write_text(json.dumps([play]))
    command = [sys.executable, "-m", "ota", "provision", "site.yaml", "-i", lab.inventory]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return Path(lab.devices[0].home) / "ota" / "runtime"


@pytest.fixture
def folder(tmp_path: Path, lab: LabState, cutter: Cutter, runtime: Path) -> Folder:
    """A folder whose device has a root of its own, with the runtime of the lab's."""
    folder = Folder(tmp_path, lab, cutter, f"cut-{tmp_path.name}")
    folder.root.mkdir()
    (folder.root / "runtime").symlink_to(runtime)
    return folder


def test_a_link_cut_in_mid_transfer_costs_only_the_rest(folder: Folder, cutter: Cutter) -> None:
    """The host is unreachable, `current` is untouched, nothing of the transfer is lost, and the next run finishes the job."""
    assert folder.run("deploy", "--model", "old.tflite").returncode == 0
    cutter.after = 1_200_000
    cut = folder.run("deploy", "--model", "new.tflite")
    assert cut.returncode == 4, cut.stderr
    assert "board                      : ok=" in cut.stdout
    assert "unreachable=1" in cut.stdout
    assert folder.current() == OLD
    cutter.after = 0
    done = folder.run("deploy", "--model", "new.tflite", "--json")
    assert done.returncode == 0, done.stderr
    (host,) = json.loads(done.stdout)["rollouts"][0]["hosts"]
    assert host["state"] == "confirmed"
    # What sshd had read but not yet handed on is lost with it on so fast a link; what the agent had written is not.
    assert SIZE - 1_200_000 <= host["bytes_sent"] < SIZE
    assert folder.current() == (folder.path / "new.tflite").read_bytes()


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_ctrl_c_before_the_activation_leaves_the_device_as_it_was(folder: Folder) -> None:
    """Interrupted while a command before the activation runs: exit code 130, a recap, and the old model is current."""
    assert folder.run("deploy", "--model", "old.tflite").returncode == 0
    folder.play(before="touch began; sleep 2")
    process = folder.start("deploy", "--model", "new.tflite")
    wait_for((folder.root / "began").exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "PLAY RECAP" in out
    assert "Traceback" not in err
    assert folder.current() == OLD
    assert not (folder.root / "pending.json").exists()


def test_ctrl_c_after_the_activation_lets_the_device_finish(folder: Folder) -> None:
    """Interrupted during the health check: what was activated is proven and confirmed before the command ends with 130."""
    folder.play(health_check={"command": "touch began; sleep 1", "retries": 0})
    process = folder.start("deploy", "--model", "new.tflite")
    wait_for((folder.root / "began").exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert folder.current() == (folder.path / "new.tflite").read_bytes()
    assert not (folder.root / "pending.json").exists()


def test_nothing_selected_yet_is_said(folder: Folder) -> None:
    """`ota deploy` without a selection is a usage error that names the next step."""
    done = folder.run("deploy")
    assert done.returncode == 64
    assert "nothing was selected yet for the play 'p'" in done.stderr
    assert "ota select" in done.stderr


def test_an_empty_limit_never_means_every_host(folder: Folder) -> None:
    """An empty --limit, or one that matches nothing, is refused before any device is touched."""
    for limit, words in (("", "--limit is empty"), ("nobody", "'nobody' matches no host")):
        done = folder.run("deploy", "--model", "old.tflite", "--limit", limit)
        assert done.returncode == 64
        assert words in done.stderr
    assert folder.current() is None


DATA = {
    "a model that is none": ("model", "not a model: expected a .keras or .h5 file"),
    "no samples": ("empty", "holds no sample"),
    "another shape": ("shape", "expected"),
    "labels beyond the outputs": ("labels", "expected"),
    "not a number": ("nan", "NaN"),
}


@pytest.mark.parametrize(("what", "words"), DATA.values(), ids=DATA.keys())
def test_wrong_models_and_data_are_refused_in_words(
    what: str, words: str, folder: Folder, lab: LabState
) -> None:
    """A wrong model or data set is exit code 65 with what was expected and found, and no traceback."""
    (folder.path / "net.tflite").write_bytes(
        b"nonsense" * 10 if what == "model" else dense([[1.0, 0.5], [0.5, 1.0]])
    )
    x = np.zeros((0 if what == "empty" else 8, 3 if what == "shape" else 2), np.float32)
    y = np.full(len(x), 7 if what == "labels" else 0, np.int64)
    if what == "nan":
        x[3, 1] = np.nan
    np.savez(folder.path / "data.npz", x=x, y=y)
    play = {
        "name": "p",
        "hosts": "sorter-1",
        "model": {"name": "m", "source": "../net.tflite"},
        "select": {"evaluation": "../data.npz"},
    }
    (folder.path / "playbooks" / "site.yaml").write_text(json.dumps([play]))
    done = folder.run("select", "-i", lab.inventory)
    assert done.returncode == 65, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr

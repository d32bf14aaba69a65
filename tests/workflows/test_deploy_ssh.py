"""Deployments over real OpenSSH: a whole fleet, links that are cut at the worst moments, Ctrl-C on the real command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ota.core.connection import connection_of
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.playbook import BatchSize
from ota.core.runtime import Unsupported, choose_runtimes
from ota.formats.inventory import load_inventory
from ota.lab.fleet import LabDevice, LabState
from ota.remote import ssh
from ota.remote.device import Device
from ota.remote.executor import ThreadExecutor
from ota.workflows.deploy import Result, roll_out
from ota.workflows.deploy_host import deploy_host
from ota.workflows.rollback_host import rollback_host
from tests.agent.networks import dense
from tests.remote.conftest import Link
from tests.workflows.conftest import NEW, OLD, Bench, states

pytestmark = pytest.mark.sshd
LARGE = b"....TFL3" + os.urandom(3_000_000)


class SshBench(Bench):
    """A fleet of the lab's devices, each with a root of its own in the test's folder; `links` lead to some of them instead."""

    lab: LabState
    links: dict[str, Link]

    def device(self, name: str) -> LabDevice:
        """Return a device of the lab."""
        return next(device for device in self.lab.devices if device.name == name)

    def host(self, name: str) -> Host:
        """Return a host of the lab's inventory."""
        return load_inventory([self.lab.inventory]).host(name)

    def connect(self, host: Host) -> Device:
        """Open a device over SSH; a dead one's port is closed."""
        connection = connection_of(host)
        if host.name in self.links:
            known_as = f"[127.0.0.1]:{connection.port}"
            connection = replace(connection, port=self.links[host.name].port, host_key_alias=known_as)
        if host.name in self.dead:
            connection = replace(connection, port=1)
        transport = ssh.connect(host, connection)
        self.opened.append(
            Device.open(host, transport, model=self.model, root=str(self.root(host.name)), python="python3")
        )
        return self.opened[-1]

    def roll_back(self, hosts: list[str]) -> Result:
        """Roll several hosts back."""
        order = self.back()
        return roll_out(
            [self.host(name) for name in hosts],
            order.spec,
            lambda host: rollback_host(host, order, self.ends()),
            executor=ThreadExecutor(),
            emit=self.events.append,
            forks=4,
        )


@pytest.fixture
def real(lab: LabState, tmp_path: Path) -> SshBench:
    """The lab's three devices."""
    bench = SshBench(tmp_path)
    bench.lab, bench.links = lab, {}
    return bench


HOSTS = ["sorter-1", "sorter-2", "sorter-3"]


def test_a_fleet_goes_forward_stays_and_goes_back(real: SshBench) -> None:
    """A canary and the rest, twice, then back, twice: every digest read back, bytes sent once, nothing changed the second time."""
    canary = (BatchSize(count=1), BatchSize(percent=100.0))
    for content in (OLD, NEW):
        result = real.roll(content, HOSTS, serial=canary, max_fail_percentage=0)
        assert states(result) == dict.fromkeys(HOSTS, "confirmed"), result
        digest = real.release(content).model.digest
        assert [(end.digest, end.bytes_sent) for end in result.outcomes] == [(digest, len(content))] * 3
    again = real.roll(NEW, HOSTS, serial=canary)
    assert [(end.changed, end.bytes_sent) for end in again.outcomes] == [(False, 0)] * 3
    back = real.roll_back(HOSTS)
    assert [(end.state, end.changed, end.bytes_sent) for end in back.outcomes] == [
        (HostState.CONFIRMED, True, 0)
    ] * 3
    assert [real.current(name) for name in HOSTS] == [OLD] * 3
    assert [end.changed for end in real.roll_back(HOSTS).outcomes] == [False] * 3


def test_a_dead_host_is_unreachable_and_stops_no_other(real: SshBench) -> None:
    """A closed port is a value with the address; the hosts beside it get their release."""
    real.dead.add("sorter-2")
    result = real.roll(NEW, HOSTS)
    assert states(result) == {"sorter-1": "confirmed", "sorter-2": "unreachable", "sorter-3": "confirmed"}
    assert "127.0.0.1 port 1 refuses the connection" in result.outcomes[1].reason


def test_a_link_cut_in_mid_transfer_leaves_current_alone_and_the_next_run_sends_the_rest(
    real: SshBench,
) -> None:
    """What had arrived is kept as a partial file, `current` never moves, and the next run goes on where it was cut."""
    real.deploy(OLD, "sorter-1")
    real.links["sorter-1"] = Link(real.device("sorter-1").port, cut_after=1_500_000)
    outcome = real.deploy(LARGE, "sorter-1")
    assert outcome.state is HostState.UNREACHABLE
    assert "unconfirmed" not in outcome.reason
    assert real.current("sorter-1") == OLD
    real.links.clear()
    outcome = until_unlocked(lambda: real.deploy(LARGE, "sorter-1"))
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert len(LARGE) - 1_500_000 <= outcome.bytes_sent < len(LARGE)
    assert real.current("sorter-1") == LARGE


def until_unlocked(deploy: Callable[[], HostOutcome]) -> HostOutcome:
    """Deploy, again while the agent of the connection that was cut has not ended."""
    until = time.monotonic() + 20
    while "another ota is at work" in (outcome := deploy()).reason:
        assert time.monotonic() < until, outcome.reason
        time.sleep(0.2)
    return outcome


def test_a_link_cut_behind_the_activation_is_finished_by_the_next_run(real: SshBench) -> None:
    """The release is on trial there, the outcome says so, and the next run proves and confirms it without a byte."""
    real.deploy(OLD, "sorter-1")
    link = Link(real.device("sorter-1").port)
    real.links["sorter-1"] = link
    flag = real.root("sorter-1") / "activated"
    order = real.order(real.release(NEW), after=("touch activated; sleep 1",))
    (outcome,) = ThreadExecutor().run(
        lambda host: _cut_when(flag, link, lambda: deploy_host(host, order, real.ends())),
        [real.host("sorter-1")],
    )
    ended = outcome.result()
    assert ended.state is HostState.UNREACHABLE
    assert "it may be active and unconfirmed; run ota deploy again to finish or undo it" in ended.reason
    assert (real.root("sorter-1") / "pending.json").exists()
    real.links.clear()
    again = until_unlocked(lambda: real.deploy(NEW, "sorter-1"))
    assert (again.state, again.bytes_sent) == (HostState.CONFIRMED, 0), again.reason
    assert real.current("sorter-1") == NEW
    assert not (real.root("sorter-1") / "pending.json").exists()


def _cut_when(flag: Path, link: Link, deploy: Callable[[], HostOutcome]) -> HostOutcome:
    def wait_and_cut() -> None:
        until = time.monotonic() + 20
        while not flag.exists() and time.monotonic() < until:
            time.sleep(0.02)
        link.cut()

    cutter = threading.Thread(target=wait_and_cut)
    cutter.start()
    try:
        return deploy()
    finally:
        cutter.join()


def provision(root: Path, real: SshBench) -> None:
    """Let this environment's runtime be the one that the facts of the lab's devices choose."""
    with real.connect(real.host("sorter-1")) as device:
        choices = choose_runtimes(device.facts(), ("ai-edge-litert",))
    assert not isinstance(choices, Unsupported), choices.reason
    (choice,) = choices
    folder = root / "runtime" / choice.id
    folder.mkdir(parents=True)
    record = {"id": choice.id, "package": "ai-edge-litert", "version": "2", "python": sys.executable}
    (folder / "proven.json").write_text(json.dumps(record))


PLAYBOOK = """\
- name: sorting
  hosts: sorters
  model: {name: sorting, source: none.keras}
  deploy:
    serial: 1
    after: ["touch activated; sleep 1"]
    health_check: {command: test -s current/model.tflite, retries: 0}
"""


def test_ctrl_c_on_the_command_line_finishes_the_host_under_way(
    lab: LabState, real: SshBench, tmp_path: Path
) -> None:
    """Exit code 130, the host behind its activation is proven and confirmed, the next one is untouched, the recap tells both."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError)
    model = tmp_path / "model.tflite"
    model.write_bytes(dense([[1.0, 2.0]]))
    (tmp_path / "site.yaml").write_text(PLAYBOOK)
    roots = [Path(device.home) / tmp_path.name for device in lab.devices]
    for root in roots:
        provision(root, real)
    argv = ["deploy", "site.yaml", "-i", lab.inventory, "-e", f"ota_root=~/{tmp_path.name}", "-e", "ota_runtime=ai-edge-litert"]  # fmt: skip
    running = subprocess.Popen(
        [sys.executable, "-m", "ota", *argv, "--model", str(model)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while not (roots[0] / "activated").exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert (roots[0] / "current" / "model.tflite").read_bytes() == model.read_bytes()
    assert not (roots[0] / "pending.json").exists()
    assert [(root / "current").exists() for root in roots] == [True, False, False]
    lines = {line.split()[0]: line for line in out.splitlines() if " : ok=" in line}
    assert "failed=0" in lines["sorter-1"]
    assert "skipped=0" in lines["sorter-1"]
    assert "skipped=1" in lines["sorter-2"]
    assert "interrupted" in err

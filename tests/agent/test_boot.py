"""The boot hook: what it installs where, and that what it installs leaves an unconfirmed release.

systemd and cron do not run on every machine that runs tests: stand-in `systemctl` and `crontab` note what they are asked; what is installed is run for real.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ota.errors import HostError
from ota.remote.answers import Lease
from ota.remote.device import Device
from tests.agent.test_trial import NEW, OLD, agents, current, deploy
from tests.remote.test_device import open_device, script

_SYSTEMCTL = 'echo "$@" >> {log}; case "$*" in *is-enabled*) test -e {log}.enabled;; *enable*) touch {log}.enabled;; esac'
_CRONTAB = 'case "$1" in -l) cat {log};; -) cat > {log}.new && mv {log}.new {log};; esac'


class Machine:
    """A device whose user has a home and stand-in programs in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a root"
        self.home = folder / "home"
        self.programs = folder / "bin"
        self.log = folder / "asked"
        for place in (self.home, self.programs):
            place.mkdir()
        for name, text in (("systemctl", _SYSTEMCTL), ("crontab", _CRONTAB)):
            script(self.programs / name, text.format(log=shlex.quote(str(self.log))))
        self._python = script(
            folder / "python",
            f"export HOME={shlex.quote(str(self.home))} PATH={shlex.quote(str(self.programs))}:$PATH\n"
            f'exec {shlex.quote(sys.executable)} "$@"',
        )

    def open(self) -> Device:
        """Open the device."""
        return open_device(self.root, self._python)

    def restart(self) -> None:
        """Let the machine have been restarted within the lease of a trial."""
        for pid in agents(self.root, watchdog=True):
            os.kill(pid, signal.SIGKILL)
        path = self.root / "pending.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "an earlier start"}))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine with a release on trial and a hook to come."""
    return Machine(tmp_path)


def begin_trial(machine: Machine, folder: Path, kind: str) -> None:
    """Bring the new release on trial, with a hook of that kind, and restart the machine."""
    with machine.open() as device:
        deploy(device, folder)
        assert device.boot_hook(kind).changed
        assert not device.boot_hook(kind).changed
        lease = Lease(seconds=3600, after=("readlink current > opened",))
        device.activate(NEW.id, expected_current=OLD.id, lease=lease)
    machine.restart()
    assert current(machine.root) == NEW.id


def test_a_unit_goes_back_before_the_application_starts(machine: Machine, tmp_path: Path) -> None:
    """The unit is enabled once, comes before the target that starts applications, and its command leaves the release without running any other."""
    begin_trial(machine, tmp_path, "systemd-user")
    (path,) = (machine.home / ".config" / "systemd" / "user").glob("ota-boot-*.service")
    text = path.read_text()
    assert "Type=oneshot" in text
    assert "Before=basic.target shutdown.target" in text
    assert "WantedBy=basic.target" in text
    asked = machine.log.read_text().splitlines()
    assert [line for line in asked if "is-enabled" not in line] == [
        "--user daemon-reload",
        f"--user reenable {path.name}",
    ]
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    subprocess.run(shlex.split(line.partition("=")[2]), check=True, timeout=30)
    assert current(machine.root) == OLD.id
    assert not (machine.root / "pending.json").exists()
    assert not (machine.root / "opened").exists()


def test_a_line_of_cron_goes_back_and_has_the_application_open_it(machine: Machine, tmp_path: Path) -> None:
    """Cron orders nothing, so the commands run again; other lines of the table stay, and a second root has a line of its own."""
    machine.log.write_text("0 1 * * * something else\n")
    begin_trial(machine, tmp_path, "cron")
    other, line = machine.log.read_text().splitlines()
    assert other == "0 1 * * * something else"
    assert line.startswith("@reboot ")
    subprocess.run(["/bin/sh", "-c", line.partition(" ")[2]], check=True, timeout=30)
    assert current(machine.root) == OLD.id
    assert (machine.root / "opened").read_text() == f"releases/{OLD.id}\n"


@pytest.mark.parametrize("kind", ["systemd-user", "cron"])
def test_a_confirmed_release_stays_at_boot(machine: Machine, tmp_path: Path, kind: str) -> None:
    """The hook leaves alone what was confirmed."""
    with machine.open() as device:
        deploy(device, tmp_path)
        device.boot_hook(kind)
    program = machine.root / "agent" / "boot.pyz"
    subprocess.run([sys.executable, "-I", program, "boot", machine.root, kind], check=True, timeout=30)
    assert current(machine.root) == OLD.id


def test_where_nothing_may_be_installed_it_is_said(machine: Machine) -> None:
    """A hook that was asked for and cannot be is a failure; no hook is an answer."""
    script(machine.programs / "crontab", "exit 1")
    with machine.open() as device:
        with pytest.raises(HostError, match="no boot hook was installed"):
            device.boot_hook("cron")
        assert device.boot_hook("none").kind == "none"

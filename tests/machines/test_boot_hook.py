"""The boot hook under a real cron and a real systemd: a machine whose power is cut while a release is on trial leaves it by itself at its next start."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.machines.cycle import LEASE, Course, deploy, shipment
from benchmarks.machines.machine import Machine, missing
from ota.remote.device import Device
from ota.remote.transport import Transport
from tests.machines.test_power_cuts import told

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing()), pytest.mark.timeout(600)]
_ROOT = "/root/ota"
_WAIT_S = 60.0


def opened(machine: Machine, transport: Transport) -> Device:
    """Start the agent on a machine."""
    return Device.open(machine.host, transport, model="trial", root=_ROOT, python="/usr/bin/python3")


def current(transport: Transport) -> str:
    """Return the id of the current release, read by the machine's own shell."""
    return told(transport, f"basename $(readlink {_ROOT}/current)")


def test_a_restart_within_a_trial_ends_it_before_anybody_asks(tmp_path: Path) -> None:
    """`provision` chooses cron on this machine; after the cut it goes back, runs the command after an activation again, and says why."""
    old, new = shipment(0), shipment(1)
    after = f"readlink {_ROOT}/current >>{_ROOT}/opened; sync"
    with Machine(tmp_path) as machine:
        with opened(machine, machine.power_on()) as device:
            deploy(device, old, tmp_path, Course())
            hook = device.boot_hook("auto")
            assert (hook.kind, hook.changed) == ("cron", True)
            machine.cut()
        with opened(machine, machine.power_on()) as device:
            assert not device.boot_hook("auto").changed, "what was installed is there after a cut"
            deploy(device, new, tmp_path, Course())
            device.rollback()
            device.confirm(old.release.id)
            device.activate(
                new.release.id,
                expected_current=old.release.id,
                lease=type(LEASE)(seconds=LEASE.seconds, after=(after,)),
            )
            machine.cut()
        transport = machine.power_on()
        until = time.monotonic() + _WAIT_S
        while told(transport, f"cat {_ROOT}/opened 2>/dev/null | wc -l") == "0" and time.monotonic() < until:
            time.sleep(0.2)
        assert current(transport) == old.release.id
        assert told(transport, f"tail -n 1 {_ROOT}/opened") == f"releases/{old.release.id}"
        assert told(transport, f"test -e {_ROOT}/pending.json; echo $?") == "1"
        with opened(machine, transport) as device:
            slot = device.slot()
        assert slot.reverted is not None
        assert (slot.reverted.release, slot.reverted.to) == (new.release.id, old.release.id)
        assert slot.reverted.why == f"the device was restarted before {new.release.id} was confirmed"


_APPLICATION = f"""\
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'readlink {_ROOT}/current >>{_ROOT}/opened; sync'
[Install]
WantedBy=multi-user.target
"""


def test_under_systemd_the_application_never_opens_what_nobody_confirmed(tmp_path: Path) -> None:
    """An ordinary service, which says nothing of ota, starts behind the hook: at the start after the cut it opens the release before."""
    old, new = shipment(0), shipment(1)
    with Machine(tmp_path, systemd=True) as machine:
        with opened(machine, machine.power_on()) as device:
            deploy(device, old, tmp_path, Course())
            hook = device.boot_hook("auto")
            assert (hook.kind, hook.changed) == ("systemd", True)
            assert not device.boot_hook("auto").changed
            unit = f"cat >/etc/systemd/system/application.service <<'UNIT'\n{_APPLICATION}UNIT\nsystemctl daemon-reload && systemctl enable application && sync"
            assert device.run(unit, timeout_s=60).exit_code == 0
            deploy(device, new, tmp_path, Course())
            device.rollback()
            device.confirm(old.release.id)
            device.activate(new.release.id, expected_current=old.release.id, lease=LEASE)
            machine.cut()
        transport = machine.power_on()
        until = time.monotonic() + _WAIT_S
        while told(transport, f"cat {_ROOT}/opened 2>/dev/null | wc -l") == "0" and time.monotonic() < until:
            time.sleep(0.2)
        assert told(transport, f"cat {_ROOT}/opened") == f"releases/{old.release.id}"
        assert told(transport, f"systemctl show -P Result {hook.name}") == "success"
        assert current(transport) == old.release.id
        with opened(machine, transport) as device:
            slot = device.slot()
        assert slot.reverted is not None
        assert slot.reverted.why == f"the device was restarted before {new.release.id} was confirmed"

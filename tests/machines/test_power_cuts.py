"""Power cuts on a whole emulated machine, an ordinary kernel and ext4: scripts/emulated-machine.sh makes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.machines.machine import Machine, missing
from benchmarks.machines.trial import cut_often
from ota.remote.transport import Transport

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing()), pytest.mark.timeout(1200)]


def told(transport: Transport, command: str) -> str:
    """Run a command on the machine and return the line that it prints."""
    channel = transport.open(("/bin/sh", "-c", command))
    channel.close_write()
    line = channel.read_line(4096).decode()
    channel.close()
    return line


def unflushed(machine: Machine) -> bool:
    """Write to `direct` past the page cache and to `cached` through it, then cut the power; False where the guest has flushed its disk in between.

    Flushes are counted as the guest's kernel counts them: Documentation/block/stat.rst, the 16th figure.
    """
    write = "head -c 262144 /dev/zero | tr '\\0' {letter} | dd of=/root/{name} bs=4096 iflag=fullblock {how} 2>/dev/null"
    flushes = "set -- $(cat /sys/block/vda/stat); echo ${16}"
    transport = machine.power_on()
    told(transport, f"{write.format(letter='a', name='direct', how='')}; rm -f /root/cached; sync; echo done")
    transport.close()
    machine.cut()
    transport = machine.power_on()
    # On a slow host the guest would otherwise get round to writing back by itself. A transaction that runs already keeps its older limit of five seconds: sync ends it.
    told(
        transport,
        "mount -o remount,commit=600 / && echo 60000 >/proc/sys/vm/dirty_expire_centisecs; sync; echo done",
    )
    before = told(transport, flushes)
    told(transport, f"{write.format(letter='b', name='direct', how='conv=notrunc oflag=direct')}; echo done")
    told(transport, f"{write.format(letter='c', name='cached', how='')}; echo done")
    after = told(transport, flushes)
    machine.cut()
    transport.close()
    assert before.isdigit()
    return before == after


def test_a_cut_loses_what_was_not_flushed(tmp_path: Path) -> None:
    """What was synced is there after a cut; what the guest wrote past its page cache and never flushed is not, nor what lay in that cache."""
    with Machine(tmp_path) as machine:
        assert any(unflushed(machine) for _ in range(5))
        transport = machine.power_on()
        assert told(transport, "tr -cd a </root/direct | wc -c") == "262144"
        assert told(transport, "cat /root/cached 2>/dev/null | wc -c") == "0"
        transport.close()


def test_ten_power_cuts_leave_the_old_release_or_the_new_one(tmp_path: Path) -> None:
    """At random moments of deploy, confirm, rollback and recovery: a complete release is current each time, and the next run converges."""
    tally = cut_often(10, tmp_path, seed=1)
    assert tally.bad == []
    assert tally.cuts == 10
    assert tally.inside > 0

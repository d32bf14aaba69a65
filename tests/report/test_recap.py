"""The recap has Ansible's own shape."""

from __future__ import annotations

from dataclasses import replace

from ota.core.host_state import HostOutcome, HostState
from ota.report.recap import recap, tally


def end(host: str, state: HostState, ok: int = 0, changed: int = 0) -> HostOutcome:
    """Return how a host ended."""
    return HostOutcome(
        host=host,
        state=state,
        release=None,
        previous=None,
        changed=bool(changed),
        bytes_sent=0,
        digest=None,
        steps_ok=ok,
        steps_changed=changed,
    )


ENDS = [
    end("sorter-2", HostState.ROLLED_BACK, ok=4, changed=3),
    end("sorter-1", HostState.CONFIRMED, ok=12, changed=2),
    end("sorter-3", HostState.UNREACHABLE),
    end("sorter-4", HostState.SKIPPED),
]


def test_the_recap_is_ansibles() -> None:
    """Hosts are sorted, names padded to 26, counts to 4; a host that went back is failed and rescued."""
    assert recap(ENDS).splitlines() == [
        "PLAY RECAP *********************************************************************",
        "sorter-1                   : ok=12   changed=2    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0",
        "sorter-2                   : ok=4    changed=3    unreachable=0    failed=1    skipped=0    rescued=1    ignored=0",
        "sorter-3                   : ok=0    changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0",
        "sorter-4                   : ok=0    changed=0    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0",
    ]


def test_the_tally_counts_states() -> None:
    """The short form names how many hosts ended in which state."""
    assert tally(ENDS) == "1 confirmed, 1 rolled_back, 1 skipped, 1 unreachable"


def test_a_host_of_which_nobody_knows_what_it_runs_is_named() -> None:
    """An unknown host counts as unreachable, and its reason stands under the table."""
    lines = recap([replace(end("a", HostState.UNKNOWN), reason="out of reach")]).splitlines()
    assert "unreachable=1    failed=0" in lines[1]
    assert lines[2] == "UNKNOWN a: out of reach"


def test_of_a_large_fleet_those_in_trouble_are_told_by_name() -> None:
    """The others are counted; a script, which sets no bound, gets every line."""
    ends = [end(f"h{number}", HostState.CONFIRMED) for number in range(60)] + [end("x", HostState.FAILED)]
    lines = recap(ends, most=50).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["x", "60"]
    assert lines[-1] == "60 of 61 hosts are confirmed"
    assert len(recap(ends).splitlines()) == len(recap(ends, most=61).splitlines()) == 62

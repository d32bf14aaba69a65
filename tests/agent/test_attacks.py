"""The attacks of `benchmarks/proofs/attacks.py`, one test each: the real agent refuses with the attack's own error, and what ran still runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.proofs.attacks import (
    ATTACKS,
    LIVE,
    NEW,
    Board,
    board,
    flipped_manifests,
    flipped_signatures,
    refusal,
    refused_all,
    release_of,
)


@pytest.fixture
def here(tmp_path: Path) -> Board:
    """Return a device with a keyring that runs a signed release."""
    return board(tmp_path)


@pytest.mark.parametrize(("attack", "code"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused(here: Board, attack: Callable[[Board], None], code: str) -> None:
    """It meets its own error, and the application finds the model that it had."""
    assert refusal(attack, here) == code
    assert here.current() == LIVE


def test_what_is_no_attack_is_carried_out(here: Board) -> None:
    """With a good release and a good order the same requests go through, so that refusing is more than refusing everything."""
    release = here.staged()
    with here.agent() as agent:
        order = dict(here.order(agent, release.id))
        agent.ask("activate", {"release": release.id, "expected_current": here.live.id, "order": order})
    assert here.current() == NEW


def test_a_way_back_that_was_ordered_is_gone(here: Board) -> None:
    """To a release that never ran here, by an order of this session that says rollback."""
    release = here.staged()
    with here.agent() as agent:
        order = dict(here.order(agent, release.id, operation="rollback"))
        agent.ask("rollback", {"to": release.id, "order": order})
    assert here.current() == NEW


def test_no_turned_bit_is_admitted(here: Board) -> None:
    """Every eleventh bit here, every one in the proof; unturned, it is admitted."""
    with here.agent() as agent:
        agent.ask("admit", here.signed(release_of(NEW)))
    for turned in ([*flipped_manifests(here)][::11], [*flipped_signatures(here)][::11]):
        refused, codes = refused_all(here, turned)
        assert refused == len(turned) > 100
        assert codes <= {"bad_signature", "manifest", "other_model"}

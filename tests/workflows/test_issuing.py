"""What releases are issued with: once for each content, one counter a plan, the newest only where somebody asks for that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ota.core.release import Release
from ota.store import Store
from ota.workflows.issuing import issued
from ota.workflows.releases import Plan
from tests.report.selections import a_selection
from tests.workflows.conftest import NEW, OLD, Bench


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return a store of its own."""
    with Store.open(tmp_path / "store") as opened:
        yield opened


def plan(fleet: Bench, *contents: bytes) -> Plan:
    """Return a plan that gives each content to a host of its own."""
    releases = {f"host-{number}": fleet.release(content) for number, content in enumerate(contents)}
    return Plan(releases=releases, probe=None, selection=None)


def test_the_same_content_stays_the_same_release(fleet: Bench, store: Store) -> None:
    """Issued again, later, it has the counter and the id that it had: a second deployment changes nothing."""
    first = issued(plan(fleet, OLD), store, at=100)
    assert first.releases["host-0"].manifest.counter == 100
    assert issued(plan(fleet, NEW), store, at=200).releases["host-0"].manifest.counter == 200
    assert issued(plan(fleet, OLD), store, at=300) == first


def test_a_look_notes_nothing(fleet: Bench, store: Store) -> None:
    """Check mode tells what would be issued, and leaves the counter to the deployment."""
    assert issued(plan(fleet, OLD), store, at=100, keep=False).releases["host-0"].manifest.counter == 100
    assert issued(plan(fleet, OLD), store, at=200).releases["host-0"].manifest.counter == 200


def test_releases_of_one_plan_have_one_counter(fleet: Bench, store: Store) -> None:
    """A host that moves from one to the other goes to nothing older."""
    counters = {one.manifest.counter for one in issued(plan(fleet, OLD, NEW), store, at=7).releases.values()}
    assert counters == {7}


def test_a_clock_that_went_back_lowers_no_counter(fleet: Bench, store: Store) -> None:
    """A later content has a higher counter whatever the time is."""
    issued(plan(fleet, OLD), store, at=100)
    assert issued(plan(fleet, NEW), store, at=50).releases["host-0"].manifest.counter == 101


def test_reissued_it_is_the_newest(fleet: Bench, store: Store) -> None:
    """It has a new counter and id, and keeps those from then on."""
    old = issued(plan(fleet, OLD), store, at=100).releases["host-0"]
    issued(plan(fleet, NEW), store, at=200)
    again = issued(plan(fleet, OLD), store, at=150, again=True).releases["host-0"]
    assert again == Release(manifest=replace(old.manifest, counter=201))
    assert again.id != old.id
    assert issued(plan(fleet, OLD), store, at=400).releases["host-0"] == again


@pytest.mark.parametrize(
    ("models", "any_board", "boards"),
    [
        (("Robin", "Sparrow"), False, ("Robin", "Sparrow")),
        (("Robin", "Robin"), False, ("Robin",)),
        (("Robin", "Sparrow"), True, ()),
        (("Robin", ""), False, ()),
    ],
    ids=["two", "twice the same", "any board on purpose", "one that tells no model"],
)
def test_a_release_of_a_selection_names_the_boards_that_were_measured(
    fleet: Bench, store: Store, models: tuple[str, ...], any_board: bool, boards: tuple[str, ...]
) -> None:
    """None where somebody asked for that, or where a measured device could not be told from others."""
    made = a_selection()
    facts = dict(made.facts)["a"]
    known = tuple((f"host-{n}", replace(facts, cpu_model=model)) for n, model in enumerate(models))
    store.save_selection(replace(made, facts=known))
    of_selection = replace(plan(fleet, OLD), selection=made.id)
    (release,) = issued(of_selection, store, at=100, any_board=any_board).releases.values()
    assert release.manifest.boards == boards
    assert release.manifest.compatible == (facts.architecture,)
    assert release.manifest.selection == made.id

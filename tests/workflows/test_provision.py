"""Provisioning with the real agent where it ends before an installation: refusals, failing downloads, check mode; the command line's tests install for real."""

from __future__ import annotations

from ota.core.inventory import Host
from ota.core.runtime import RuntimeChoice
from ota.errors import HostError, OtaError, UnreachableError
from ota.remote.executor import ThreadExecutor
from ota.wheels import Wheel
from ota.workflows.provision import ProvisionEnds, ProvisionResult, provision
from tests.workflows.conftest import Bench


class Shelf:
    """Where wheels would come from: counts who asks, and has none."""

    def __init__(self) -> None:
        self.asked: list[RuntimeChoice] = []

    def fetch(self, choice: RuntimeChoice) -> tuple[Wheel, ...]:
        """Fail as a controller without a network does."""
        self.asked.append(choice)
        raise OtaError("pip cannot download", found="no network", hint="check the network")


def run(
    fleet: Bench, shelf: Shelf, *names: str, prefer: tuple[str, ...] = (), check: bool = False
) -> dict[str, ProvisionResult]:
    """Provision hosts and return each one's result."""
    ends = ProvisionEnds(
        connect=fleet.connect,
        executor=ThreadExecutor(),
        fetch=shelf.fetch,
        preference_of=lambda _host: prefer,
        emit=fleet.events.append,
    )
    results = provision([Host(name=name) for name in names], ends, forks=2, check=check)
    return {result.host.name: result for result in results}


def test_a_board_for_which_nothing_exists_is_refused_and_nothing_is_downloaded(fleet: Bench) -> None:
    """A host that no build fits is a HostError with the reason and the way out, before anything is fetched."""
    shelf = Shelf()
    result = run(fleet, shelf, "a", prefer=("tflite-runtime==2.11.0",))["a"]
    assert isinstance(result.error, HostError)
    assert "no runtime for" in result.error.problem
    assert result.error.hint
    assert shelf.asked == []


def test_a_download_that_fails_is_a_value_and_tried_once_a_choice(fleet: Bench) -> None:
    """Hosts that need what cannot be downloaded fail with pip's words; nothing is installed there."""
    results = run(fleet, Shelf(), "a", "b")
    for result in results.values():
        assert result.error is not None
        assert "pip cannot download: found no network; check the network" in result.error.reason
        assert result.runtime is None
    assert not (fleet.root("a") / "runtime").exists()


def test_an_unreachable_host_stops_no_other(fleet: Bench) -> None:
    """A host out of reach is a value beside the others'."""
    fleet.dead.add("a")
    results = run(fleet, Shelf(), "a", "b", check=True)
    assert isinstance(results["a"].error, UnreachableError)
    assert results["b"].error is None


def test_check_mode_says_what_would_be_installed(fleet: Bench) -> None:
    """Check mode names the runtime and downloads and installs nothing."""
    shelf = Shelf()
    result = run(fleet, shelf, "a", check=True)["a"]
    assert result.planned.startswith(("ai-edge-litert ", "tflite-runtime "))
    assert result.changed
    assert shelf.asked == []

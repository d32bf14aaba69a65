"""Provisioning with the real agent and pip: runtimes side by side, refusals, failing downloads, little disk, check mode.

The runtimes are small wheels made here; the command line's tests install the real ones.
"""

from __future__ import annotations

import ensurepip
import hashlib
import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ota.core.events import Warned
from ota.core.inventory import Host
from ota.core.release import Digest
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


BOTH = ("ai-edge-litert", "ai-edge-litert==2.1.0")
WORKS = """
class Interpreter:
    def __init__(self, model_path, num_threads):
        open(model_path, "rb").close()
    def allocate_tensors(self): pass
    def invoke(self): pass
"""
BROKEN = "raise ImportError('libc is too old')\n"

pytestmark = pytest.mark.skipif(
    not (3, 10) <= sys.version_info[:2] <= (3, 13), reason="both versions run under Python 3.10 to 3.13"
)


class Wheels(Shelf):
    """Where wheels come from: pip's own and one of a runtime with `code` as its interpreter module, for each version."""

    def __init__(self, folder: Path, **code: str) -> None:
        super().__init__()
        self.folder = folder
        self.code = code

    def fetch(self, choice: RuntimeChoice) -> tuple[Wheel, ...]:
        """Return the two wheels; fail for a version that there is no code for."""
        code = self.code.get("v" + choice.version.replace(".", ""))
        if code is None:
            return super().fetch(choice)
        self.asked.append(choice)
        return (wheel(_bundled_pip()), wheel(_runtime(self.folder, choice, code)))


def wheel(path: Path) -> Wheel:
    """Return a wheel as it is kept on the controller."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    digest = Digest(hashlib.sha256(path.read_bytes()).hexdigest())
    return Wheel(
        filename=path.name, path=path, digest=digest, size_bytes=path.stat().st_size, unpacked_bytes=unpacked
    )


def _bundled_pip() -> Path:
    found = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if not found:
        pytest.skip("this Python brings no wheel of pip")
    return found[0]


def _runtime(folder: Path, choice: RuntimeChoice, code: str) -> Path:
    folder.mkdir(exist_ok=True)
    package = choice.package.replace("-", "_")
    path = folder / f"{package}-{choice.version}-py3-none-any.whl"
    info = f"{package}-{choice.version}.dist-info"
    files = {
        f"{package}/__init__.py": "",
        f"{package}/interpreter.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {choice.package}\nVersion: {choice.version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


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
    shelf = Shelf()
    results = run(fleet, shelf, "a", "b", prefer=BOTH)
    assert len(shelf.asked) == 2
    for result in results.values():
        assert result.error is not None
        assert result.error.reason == (
            "no runtime could be installed: found ai-edge-litert 2.3.0: pip cannot download (no network); "
            "ai-edge-litert 2.1.0: pip cannot download (no network); check the network"
        )
        assert result.runtimes == ()
    assert not (fleet.root("a") / "runtime").exists()


def test_an_unreachable_host_stops_no_other(fleet: Bench) -> None:
    """A host out of reach is a value beside the others'."""
    fleet.dead.add("a")
    results = run(fleet, Shelf(), "a", "b", check=True)
    assert isinstance(results["a"].error, UnreachableError)
    assert results["b"].error is None


def test_check_mode_says_what_would_be_installed(fleet: Bench) -> None:
    """Check mode names every runtime and downloads and installs nothing."""
    shelf = Shelf()
    result = run(fleet, shelf, "a", prefer=BOTH, check=True)["a"]
    assert result.planned == ("ai-edge-litert 2.3.0", "ai-edge-litert 2.1.0")
    assert result.runtimes == ()
    assert result.changed
    assert shelf.asked == []


def labels(result: ProvisionResult) -> list[str]:
    """Return what a host has now."""
    return [runtime.label for runtime in result.runtimes]


def test_runtimes_are_installed_side_by_side_and_once(fleet: Bench, tmp_path: Path) -> None:
    """Each gets a folder of its own, proves itself and notes its wheel's digest; no wheel is left; a second run sends and changes nothing."""
    shelf = Wheels(tmp_path / "wheels", v230=WORKS, v210=WORKS)
    first = run(fleet, shelf, "a", "b", prefer=BOTH)
    for name in "ab":
        assert first[name].error is None
        assert labels(first[name]) == ["ai-edge-litert 2.3.0", "ai-edge-litert 2.1.0"]
        assert first[name].changed
        proven = [json.loads(path.read_text()) for path in fleet.root(name).glob("runtime/*/proven.json")]
        assert sorted(record["version"] for record in proven) == ["2.1.0", "2.3.0"]
        for runtime in first[name].runtimes:
            (made,) = (tmp_path / "wheels").glob(f"*-{runtime.version}-*.whl")
            assert runtime.wheel_sha256 == hashlib.sha256(made.read_bytes()).hexdigest()
        assert [path.name for path in (fleet.root(name) / "wheels").iterdir()] == []
    assert [choice.version for choice in shelf.asked] == ["2.3.0", "2.1.0"]
    again = run(fleet, shelf, "a", prefer=BOTH)["a"]
    assert (again.changed, again.bytes_sent, labels(again)) == (False, 0, labels(first["a"]))
    assert again.runtimes == first["a"].runtimes
    assert len(shelf.asked) == 2


def test_one_that_was_lost_is_installed_again_alone(fleet: Bench, tmp_path: Path) -> None:
    """A runtime that no longer proves itself is replaced, the one beside it stays as it is."""
    shelf = Wheels(tmp_path / "wheels", v230=WORKS, v210=WORKS)
    run(fleet, shelf, "a", prefer=BOTH)
    (lost,) = fleet.root("a").glob("runtime/*2.1.0*/lib/python*/site-packages/ai_edge_litert/interpreter.py")
    lost.write_text(BROKEN)
    shelf.asked.clear()
    again = run(fleet, shelf, "a", prefer=BOTH)["a"]
    assert (again.changed, labels(again)) == (True, ["ai-edge-litert 2.3.0", "ai-edge-litert 2.1.0"])
    assert [choice.version for choice in shelf.asked] == ["2.1.0"]


LEFT_OUT = {
    "does not run": ({"v230": BROKEN, "v210": WORKS}, "2.1.0", "ai-edge-litert 2.3.0 is left out: installs but does not run here: ImportError: libc is too old"),
    "cannot be had": ({"v230": WORKS}, "2.3.0", "ai-edge-litert 2.1.0 is left out: pip cannot download: found no network; check the network"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "works", "warning"), LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_a_runtime_that_fails_is_left_out(
    code: dict[str, str], works: str, warning: str, fleet: Bench, tmp_path: Path
) -> None:
    """A host with one runtime that works is done, and is warned of the other."""
    result = run(fleet, Wheels(tmp_path / "wheels", **code), "a", prefer=BOTH)["a"]
    assert result.error is None
    assert labels(result) == [f"ai-edge-litert {works}"]
    assert result.warnings == (warning,)
    assert Warned(host="a", message=warning) in fleet.events
    assert [path.name for path in (fleet.root("a") / "runtime").glob("*-cp*")] == [
        f"ai-edge-litert-{works}-cp{sys.version_info[0]}{sys.version_info[1]}"
    ]
    assert not any((fleet.root("a") / "wheels").iterdir())


def test_a_host_that_ends_with_none_fails_with_every_reason(fleet: Bench, tmp_path: Path) -> None:
    """Where nothing works, the error says why for each."""
    result = run(fleet, Wheels(tmp_path / "wheels", v210=BROKEN), "a", prefer=BOTH)["a"]
    assert isinstance(result.error, HostError)
    assert result.error.reason == (
        "no runtime could be installed: found ai-edge-litert 2.3.0: pip cannot download (no network); "
        "ai-edge-litert 2.1.0: installs but does not run here: ImportError: libc is too old; check the network"
    )


class Heavy(Wheels):
    """Wheels that say of themselves that they need more than there is, from the version `of` on downwards."""

    def __init__(self, folder: Path, *of: str) -> None:
        super().__init__(folder, v230=WORKS, v210=WORKS)
        self.of = of

    def fetch(self, choice: RuntimeChoice) -> tuple[Wheel, ...]:
        """Return the wheels, grown."""
        found = super().fetch(choice)
        grown = (1 << 60) if choice.version in self.of else 0
        return tuple(replace(one, unpacked_bytes=one.unpacked_bytes + grown) for one in found)


@pytest.mark.parametrize(("heavy", "fits"), [("2.1.0", "2.3.0"), ("2.3.0", "2.1.0")])
def test_a_board_with_little_disk_gets_what_fits(heavy: str, fits: str, fleet: Bench, tmp_path: Path) -> None:
    """What does not fit is left out before its first byte, with what is missing in words."""
    result = run(fleet, Heavy(tmp_path / "wheels", heavy), "a", prefer=BOTH)["a"]
    assert labels(result) == [f"ai-edge-litert {fits}"]
    (warning,) = result.warnings
    assert warning.startswith(
        f"ai-edge-litert {heavy} is left out: not enough free disk for the runtime; nothing was sent: expected "
    )


def test_a_board_without_disk_for_any_fails_before_the_first_byte(fleet: Bench, tmp_path: Path) -> None:
    """Nothing is sent where nothing fits."""
    result = run(fleet, Heavy(tmp_path / "wheels", "2.3.0", "2.1.0"), "a", prefer=BOTH)["a"]
    assert isinstance(result.error, HostError)
    assert "not enough free disk for the runtime; nothing was sent" in result.error.reason
    assert not (fleet.root("a") / "wheels").exists()

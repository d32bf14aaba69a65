"""The tables of the fleet: what runs where and under what, within 80 columns."""

from __future__ import annotations

import pytest
from rich.console import Console, RenderableType

from ota.core.facts import HeldRelease, Runtime, SlotState
from ota.core.host_status import HostStatus
from ota.core.release import Digest
from ota.core.setting import Setting
from ota.errors import HostError, OtaError, UnreachableError
from ota.report.documents import provision_host, status_host
from ota.report.fleet_tables import provision_table, status_table

LITERT = Runtime(id="l", package="ai-edge-litert", version="2.3.0", python="/l")
TFLITE = Runtime(id="t", package="tflite-runtime", version="2.14.0", python="/t")
CURRENT, PREVIOUS = "0123456789abcdef", "fedcba9876543210"


def text(table: RenderableType) -> str:
    """Return a table as an 80-column terminal shows it, blanks squeezed."""
    console = Console(width=80, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().splitlines()
    assert all(len(line) <= 80 for line in lines)
    return " ".join(captured.get().split())


def status(setting: Setting | None, *runtimes: Runtime, current: str | None = CURRENT) -> HostStatus:
    """Return a host that runs a release as it should."""
    digest = Digest.of(b"model")
    slot = SlotState(
        model="m",
        current=current,
        previous=PREVIOUS,
        pending=None,
        current_digest=digest if current else None,
        rolled_back_from=None,
        releases=(HeldRelease(id=CURRENT, model_digest=digest, intact=True, setting=setting),),
        disk_free_bytes=10**9,
    )
    return HostStatus(host="camera-1", slot=slot, runtimes=runtimes, expected=current, error=None)


UNDER = {
    "as measured": (status(Setting(runtime=LITERT.label, threads=4), LITERT, TFLITE), "ok"),
    "one thread": (status(Setting(runtime=TFLITE.label, threads=1), LITERT, TFLITE), "ok"),
    "its runtime is gone": (
        status(Setting(runtime=TFLITE.label, threads=1), LITERT),
        "its runtime tflite-runtime 2.14.0 is not installed",
    ),
}


@pytest.mark.parametrize(("host", "state"), UNDER.values(), ids=UNDER.keys())
def test_status_says_under_what_the_current_release_runs(host: HostStatus, state: str) -> None:
    """Runtime and threads of the current release are in the table and in the document, and drift is beside them."""
    shown = text(status_table("m", [host]))
    document = status_host(host)
    assert host.slot is not None
    assert host.slot.setting is not None
    assert (document.runtime, document.threads) == (host.slot.setting.runtime, host.slot.setting.threads)
    assert document.drift == ("" if state == "ok" else state)
    assert document.runtimes == [runtime.label for runtime in host.runtimes]
    for word in (*str(host.slot.setting).split(), *state.split()):
        assert word in shown


def test_status_of_a_release_that_does_not_say_shows_what_is_installed() -> None:
    """Without a measured setting the runtimes on the device stand there, or that there is none."""
    assert "ai-edge-litert 2.3.0" in text(status_table("m", [status(None, LITERT)]))
    assert "no runtime" in text(status_table("m", [status(None, current=None)]))
    document = status_host(status(None, LITERT))
    assert (document.runtime, document.threads, document.runtimes) == (None, None, ["ai-edge-litert 2.3.0"])


PROVISIONED = {
    "both": (("a", (LITERT, TFLITE), (), True, 2048, None), "a ai-edge-litert 2.3.0, tflite-runtime 2.14.0 changed"),
    "one of two": (
        ("a", (LITERT,), (TFLITE.label,), True, 0, None),
        "a ai-edge-litert 2.3.0, tflite-runtime 2.14.0 would change",
    ),
    "nothing to do": (("a", (TFLITE,), (), False, 0, None), "a tflite-runtime 2.14.0 ok"),
    "failed": (("a", (), (), False, 0, HostError("no runtime for riscv64", where="a")), "a failed: no runtime for riscv64"),
    "unreachable": (("a", (), (), False, 0, UnreachableError("no answer", where="a")), "a unreachable: no answer"),
}  # fmt: skip


@pytest.mark.parametrize(("row", "words"), PROVISIONED.values(), ids=PROVISIONED.keys())
def test_provision_lists_every_runtime(
    row: tuple[str, tuple[Runtime, ...], tuple[str, ...], bool, int, OtaError | None], words: str
) -> None:
    """A host's runtimes stand side by side in order of preference, planned ones too, and a failure says why."""
    assert words in text(provision_table([row]))


def test_the_document_of_a_provision_names_what_was_left_out() -> None:
    """Labels, plans and warnings are lists."""
    document = provision_host(
        play="p", host="a", runtimes=(LITERT,), planned=(), changed=True, bytes_sent=3, warnings=("w",), error=None
    )  # fmt: skip
    assert (document.state, document.runtimes, document.planned) == ("ok", ["ai-edge-litert 2.3.0"], [])
    assert document.warnings == ["w"]

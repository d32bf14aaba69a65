"""The JSON documents: they keep their schemas, the schemas are those of the types, and L can be recomputed from a document alone."""

from __future__ import annotations

import importlib.util
import json
import math
import statistics
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ota.core.facts import HeldRelease, Runtime, SlotState
from ota.core.host_state import HostOutcome, HostState
from ota.core.host_status import HostStatus, drift
from ota.core.release import Digest
from ota.errors import HostError, UnreachableError
from ota.report.document_types import (
    DOCUMENTS,
    FORMAT,
    ChoiceDocument,
    HistoryDocument,
    LabDeviceDocument,
    LabDocument,
    PastRolloutDocument,
    PingDocument,
    ProvisionDocument,
    RolloutDocument,
    RunDocument,
    StatusDocument,
    StatusPartDocument,
)
from ota.report.documents import (
    outcomes,
    ping_host,
    plain,
    provision_host,
    restriction,
    rollout_part,
    status_host,
)
from ota.report.select_document import choice, select_part
from ota.report.select_types import SELECT_DOCUMENTS, ScoredDocument, ScoreDocument, SelectDocument
from tests.report.selections import a_log, a_selection, scores_of

ROOT = Path(__file__).parent.parent.parent
DIGEST = Digest.of(b"model")


def _schemas() -> Any:
    spec = importlib.util.spec_from_file_location("write_schemas", ROOT / "scripts" / "write_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _outcome(state: HostState = HostState.CONFIRMED) -> HostOutcome:
    return HostOutcome(
        host="a", state=state, release="r", previous=None, changed=True, bytes_sent=3, digest=DIGEST
    )


def _slot(current: str | None = "r", pending: str | None = None, *, intact: bool = True) -> SlotState:
    held = HeldRelease(id="r", model_digest=DIGEST, intact=intact)
    return SlotState(
        model="m", current=current, previous=None, pending=pending, current_digest=DIGEST if current else None, rolled_back_from=None,
        releases=(held,), disk_free_bytes=9,
    )  # fmt: skip


def _status(slot: SlotState | None, expected: str | None = "r") -> HostStatus:
    error = None if slot else UnreachableError("no answer", where="a")
    runtime = Runtime(id="i", package="p", version="1", python="/p")
    return HostStatus(host="a", slot=slot, runtimes=(runtime,), expected=expected, error=error)


def _documents() -> dict[str, object]:
    term = select_part(a_selection(), a_log())[0].estimates[0].terms
    return {
        "select": SelectDocument(
            format=FORMAT,
            selections=select_part(a_selection(), a_log(), [("c", HostError("bad", where="c"))]),
        ),
        "rollout": RolloutDocument(
            format=FORMAT,
            rollouts=[
                rollout_part(
                    play="p",
                    kind="deploy",
                    check=False,
                    selection=None,
                    stop="",
                    ends=[_outcome(), _outcome(HostState.FAILED)],
                )
            ],
        ),
        "status": StatusDocument(
            format=FORMAT,
            plays=[
                StatusPartDocument(
                    play="p",
                    model="m",
                    hosts=[status_host(_status(_slot())), status_host(_status(None))],
                    faults=["the selection s was changed after it was signed by ada"],
                )
            ],
        ),
        "ping": PingDocument(
            format=FORMAT, hosts=[ping_host("a", None, UnreachableError("no answer", where="a"))]
        ),
        "provision": ProvisionDocument(
            format=FORMAT,
            check=True,
            hosts=[
                provision_host(
                    play="p", host="a", runtimes=(), planned=("x 1",), changed=True, bytes_sent=0, error=None
                )
            ],
            restrictions=[restriction(host="a", restriction=None, warnings=("w",), error=None)],
        ),
        "history": HistoryDocument(
            format=FORMAT,
            runs=[RunDocument(started="t", command="c", summary="s", exit_code=0)],
            selections=[choice(a_selection())],
            rollouts=[
                PastRolloutDocument(
                    started="t",
                    kind="deploy",
                    play="p",
                    model="m",
                    selection=None,
                    hosts=outcomes([_outcome()]),
                )
            ],
        ),
        "lab": LabDocument(
            format=FORMAT,
            folder="f",
            inventory="i",
            key="k",
            known_hosts="h",
            devices=[
                LabDeviceDocument(
                    name="n",
                    port=1,
                    running=True,
                    pid=None,
                    rate_kbit=1,
                    delay_ms=0,
                    runtimes=[],
                    home="h",
                    python="p",
                )
            ],
        ),
        "score": ScoreDocument(
            format=FORMAT, formula="relative", note="", rows=[ScoredDocument(scheme="s", L=0.0, terms=term)]
        ),
    }


@pytest.mark.parametrize("name", [*DOCUMENTS, *SELECT_DOCUMENTS])
def test_a_document_keeps_its_schema(name: str) -> None:
    """What --json prints validates against the schema in docs/schemas, and survives JSON."""
    document = json.loads(json.dumps(plain(_documents()[name])))
    schema = json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    document["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


@pytest.mark.parametrize("name", [*DOCUMENTS, *SELECT_DOCUMENTS])
def test_the_schemas_are_those_of_the_types(name: str) -> None:
    """docs/schemas holds what scripts/write_schemas.py would write now."""
    assert json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_text()) == _schemas().schema(name)


def test_every_term_of_l_can_be_recomputed_from_the_document() -> None:
    """Latency ratios follow from the raw turns of the same blocks, sizes, accuracies and L from the rest, in the same JSON."""
    (part,) = json.loads(json.dumps(plain(_documents()["select"])))["selections"]
    weights, raw = part["objective"]["weights"], {host["host"]: host for host in part["raw"]}
    sizes = {one["scheme"]: one["size_bytes"] for one in part["candidates"]}
    assert len(part["estimates"]) == 10
    for one in part["estimates"]:
        medians = [
            {
                (turn["scheme"], turn["runtime"], turn["threads"]): statistics.median(turn["latencies_ns"])
                for turn in block["turns"]
            }
            for block in raw[one["host"]]["blocks"]
            if not block["void"]
        ]
        baseline = ("float32", raw[one["host"]]["runtimes"][0], 1)
        own = (one["scheme"], one["runtime"], one["threads"])
        logs = [math.log(times[own] / times[baseline]) for times in medians]
        deltas = {term["name"]: term["delta"] for term in one["terms"]}
        assert deltas["latency"] == pytest.approx(math.exp(statistics.mean(logs)) - 1, abs=0.02)
        assert deltas["size"] == pytest.approx(sizes[one["scheme"]] / sizes["float32"] - 1)
        quality = one["quality"]
        right = quality["baseline_right"]
        assert deltas["accuracy"] == pytest.approx((right - quality["right"]) / right)
        assert one["L"]["value"] == pytest.approx(
            sum(weights[name] * delta for name, delta in deltas.items())
        )
        assert one["L"]["low"] <= one["L"]["value"] <= one["L"]["high"]
    best = min((c for c in part["candidates"] if c["L"] is not None), key=lambda c: c["L"]["value"])
    assert part["winner"]["scheme"] == best["scheme"] == "int8"
    assert scores_of(a_log())["a"]


DRIFTS = {
    "as it should be": (_slot(), "r", ""),
    "another release": (_slot(), "s", "should run s"),
    "nothing yet": (_slot(current=None), None, "no release yet"),
    "unconfirmed": (_slot(pending="r"), "r", "r is on trial and unconfirmed"),
    "damaged": (_slot(intact=False), "r", "r is damaged"),
}


@pytest.mark.parametrize(("slot", "expected", "words"), DRIFTS.values(), ids=DRIFTS.keys())
def test_drift_is_told_in_words(slot: SlotState, expected: str | None, words: str) -> None:
    """The difference between what a device runs and what it should run is named; none is an empty text."""
    assert drift(_status(slot, expected)) == words


def test_the_short_form_of_a_selection_names_the_winner() -> None:
    """History lists a selection with its winner by scope."""
    assert choice(a_selection()) == ChoiceDocument(
        id="20260101-000000-abcdef",
        created="2026-01-01T00:00:00+00:00",
        play="p",
        model="m",
        winners={"all": "int8"},
    )

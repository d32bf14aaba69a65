"""The JSON documents: they keep their schemas, the schemas are those of the types, and L can be recomputed from a document alone."""

from __future__ import annotations

import importlib.util
import json
import statistics
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ota.core.decide import decide
from ota.core.facts import HeldRelease, Runtime, SlotState
from ota.core.host_state import HostOutcome, HostState
from ota.core.host_status import HostStatus, drift
from ota.core.measurement import Candidate, Failure, FailureKind, Measurement
from ota.core.metric import metric_named
from ota.core.objective import Limits, Objective, Weights
from ota.core.release import Digest
from ota.core.selection import Inputs, Selection
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
    ScoredDocument,
    ScoreDocument,
    SelectDocument,
    StatusDocument,
    StatusPartDocument,
)
from ota.report.documents import (
    choice,
    outcomes,
    ping_host,
    plain,
    provision_host,
    rollout_part,
    select_part,
    status_host,
)

ROOT = Path(__file__).parent.parent.parent
DIGEST = Digest.of(b"model")


def _schemas() -> Any:
    spec = importlib.util.spec_from_file_location("write_schemas", ROOT / "scripts" / "write_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _measurement(
    scheme: str, host: str, size: int, ms: list[float], accuracy: float, transfer: float
) -> Measurement:
    return Measurement(
        host=host, scheme=scheme, digest=Digest.of(scheme.encode()), size_bytes=size, transfer_s=transfer, transfer_bytes=size, load_ns=5,
        latencies_ns=tuple(int(one * 1e6) for one in ms), blocks=tuple(0 for _ in ms), metrics=(("accuracy", accuracy),),
        outputs=DIGEST, peak_memory_bytes=7, runtime="ai-edge-litert 2.3.0", threads=1,
    )  # fmt: skip


def _selection() -> Selection:
    measured = [
        _measurement("float32", "a", 1000, [3.0, 3.2, 9.0, 3.1], 0.90, 1.0),
        _measurement("int8", "a", 300, [1.5, 1.6, 1.4], 0.88, 0.4),
        _measurement("float32", "b", 1000, [6.0, 6.2], 0.90, 2.0),
        _measurement("int8", "b", 300, [20.0, 21.0], 0.89, 0.7),
    ]
    candidates = [
        Candidate(scheme=s, digest=Digest.of(s.encode()), size_bytes=n)
        for s, n in (("float32", 1000), ("int8", 300))
    ]
    failures = [Failure(scheme="int16x8", kind=FailureKind.CONVERSION, reason="no such operator")]
    objective = Objective(
        weights=Weights(size=1, latency=2, accuracy=3, transfer=0.5), limits=Limits(accuracy_drop=0.05)
    )
    verdict = decide(
        candidates=candidates, measurements=measured, failures=failures, objective=objective,
        metric=metric_named("accuracy"), hosts=("a", "b"),
    )  # fmt: skip
    return Selection(
        id="20260101-000000-abcdef", created="2026-01-01T00:00:00+00:00", play="p", model="m", objective=objective,
        inputs=Inputs(model=DIGEST, evaluation=DIGEST, probe=DIGEST, representative=None, metric="accuracy", samples=4, versions=(("ota", "1"),)),
        facts=(), verdicts=(verdict,),
    )  # fmt: skip


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
    term = select_part(_selection(), [])[0].candidates[0].hosts[0].terms
    return {
        "select": SelectDocument(
            format=FORMAT, selections=select_part(_selection(), [("c", HostError("bad", where="c"))])
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
                    play="p", model="m", hosts=[status_host(_status(_slot())), status_host(_status(None))]
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
        ),
        "history": HistoryDocument(
            format=FORMAT,
            runs=[RunDocument(started="t", command="c", summary="s", exit_code=0)],
            selections=[choice(_selection())],
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


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_keeps_its_schema(name: str) -> None:
    """What --json prints validates against the schema in docs/schemas, and survives JSON."""
    document = json.loads(json.dumps(plain(_documents()[name])))
    schema = json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    document["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schemas_are_those_of_the_types(name: str) -> None:
    """docs/schemas holds what scripts/write_schemas.py would write now."""
    assert json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_text()) == _schemas().schema(name)


def recomputed(
    candidate: dict[str, Any], entry: dict[str, Any], baseline: dict[str, Any], sizes: dict[str, int]
) -> dict[str, float]:
    """Return the deltas of one candidate on one host from nothing but raw values of the document."""

    def median(one: dict[str, Any]) -> float:
        return statistics.median(one["latencies_ns"])

    quality, before = entry["metrics"]["accuracy"], baseline["metrics"]["accuracy"]
    return {
        "size": (candidate["size_bytes"] - sizes["float32"]) / sizes["float32"],
        "latency": (median(entry) - median(baseline)) / median(baseline),
        "accuracy": (before - quality) / before,
        "transfer": (entry["transfer_s"] - baseline["transfer_s"]) / baseline["transfer_s"],
    }


def test_every_term_of_l_can_be_recomputed_from_the_document() -> None:
    """Each delta, each L and the mean over the hosts follow from the raw measurements in the same JSON."""
    (part,) = json.loads(json.dumps(plain(_documents()["select"])))["selections"]
    weights = part["objective"]["weights"]
    by_scheme = {candidate["scheme"]: candidate for candidate in part["candidates"]}
    sizes = {scheme: candidate["size_bytes"] for scheme, candidate in by_scheme.items()}
    baselines = {entry["host"]: entry for entry in by_scheme["float32"]["hosts"]}
    seen = 0
    for candidate in part["candidates"]:
        totals = []
        for entry in candidate["hosts"]:
            deltas = recomputed(candidate, entry, baselines[entry["host"]], sizes)
            for term in entry["terms"]:
                assert term["delta"] == pytest.approx(deltas[term["name"]])
                assert term["weight"] == weights[term["name"]]
                seen += 1
            assert entry["L"] == pytest.approx(sum(weights[name] * delta for name, delta in deltas.items()))
            totals.append(entry["L"])
        if totals:
            assert candidate["L"] == pytest.approx(sum(totals) / len(totals))
    assert seen == 16
    assert (
        part["winner"]["scheme"]
        == min((c for c in part["candidates"] if c["L"] is not None), key=lambda c: c["L"])["scheme"]
    )


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
    assert choice(_selection()) == ChoiceDocument(
        id="20260101-000000-abcdef",
        created="2026-01-01T00:00:00+00:00",
        play="p",
        model="m",
        winners={"all": "float32"},
    )

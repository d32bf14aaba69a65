"""Which release each host gets: from selections and files, the same content always under the same id."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ota.analysis.agreement import agreement
from ota.core.inventory import Host
from ota.core.measurement import Candidate, Measurement
from ota.core.objective import Objective, Row, Status, Verdict
from ota.core.playbook import ModelSpec, Play
from ota.core.release import Digest
from ota.core.selection import Inputs, Selection
from ota.errors import ContentError, MissingFileError, NoFeasibleCandidateError, UsageError
from ota.quantize.flatbuffer import read_network
from ota.store.store import KnownAnswer, Store
from ota.workflows.releases import Agreeing, from_file, from_selection
from tests.agent.networks import dense

SMALL, LARGE = (
    Candidate(scheme="int8", digest=Digest.of(b"small"), size_bytes=5),
    Candidate(scheme="float32", digest=Digest.of(b"large"), size_bytes=50),
)
NETWORK = dense([[1.0, 2.0], [3.0, 4.0]])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A fresh store."""
    with Store.open(tmp_path / ".ota") as store:
        yield store


def play(folder: Path, **artifacts: str) -> Play:
    """Return a play of the model `sorter` with artifacts of that text."""
    for name, text in artifacts.items():
        (folder / name).write_text(text)
    return Play(
        name="p",
        hosts="all",
        model=ModelSpec(
            name="sorter",
            source=folder / "model.keras",
            artifacts=tuple((f"{name}.txt", folder / name) for name in artifacts),
        ),
    )


def row(candidate: Candidate, *, threads: int = 2) -> Row:
    """Return a feasible row measured on one host."""
    measurement = Measurement(
        host="a",
        scheme=candidate.scheme,
        digest=candidate.digest,
        size_bytes=candidate.size_bytes,
        transfer_s=0.1,
        transfer_bytes=candidate.size_bytes,
        load_ns=1,
        latencies_ns=(1,),
        blocks=(0,),
        metrics=(),
        outputs=Digest.of(b"outputs"),
        peak_memory_bytes=1,
        runtime="ai-edge-litert 2",
        threads=threads,
    )
    return Row(
        scheme=candidate.scheme,
        status=Status.FEASIBLE,
        reason="",
        candidate=candidate,
        total=0.0,
        scores=(),
        measurements=(measurement,),
        failures=(),
    )


def verdict(winner: Candidate | None, scope: str = "all") -> Verdict:
    """Return a verdict with both candidates and that winner."""
    return Verdict(scope=scope, hosts=("a",), winner=winner, rows=(row(SMALL), row(LARGE)))


def selection(
    store: Store, *verdicts: Verdict, name: str = "20260101-000000-aaaaaa", probe: bytes = b"probe"
) -> Selection:
    """Keep a selection of the play `p` with those verdicts."""
    inputs = Inputs(
        model=Digest.of(b"model"),
        evaluation=Digest.of(b"evaluation"),
        probe=store.put_blob(probe),
        representative=None,
        metric="accuracy",
        samples=1,
        versions=(),
    )
    made = Selection(
        id=name,
        created=name,
        play="p",
        model="sorter",
        objective=Objective(),
        inputs=inputs,
        facts=(),
        verdicts=verdicts,
    )
    store.save_selection(made)
    return made


def plan(store: Store, folder: Path, hosts: tuple[Host, ...] = (Host(name="a"),), **options: str | None) -> dict[str, Digest]:  # fmt: skip
    """Return the model's digest for each host, of the play's plan from a selection."""
    wanted = {"selection_id": None, "scheme": None, **options}
    made = from_selection(play(folder), hosts, store, **wanted)
    return {name: release.model.digest for name, release in made.releases.items()}


def test_the_winner_of_the_newest_selection_is_released(store: Store, tmp_path: Path) -> None:
    """The plan has the winner's file, the artifacts by content, the probe samples and the threads it was measured with."""
    selection(store, verdict(LARGE))
    newest = selection(store, verdict(SMALL), name="20260102-000000-bbbbbb")
    made = from_selection(
        play(tmp_path, labels="one\ntwo\n"), [Host(name="a")], store, selection_id=None, scheme=None
    )
    release = made.releases["a"]
    assert release.model.digest == SMALL.digest
    assert [(artifact.name, artifact.size_bytes) for artifact in release.manifest.artifacts] == [
        ("model.tflite", 5),
        ("labels.txt", 8),
    ]
    assert (made.probe, made.selection, made.threads) == (newest.inputs.probe, newest.id, 2)
    assert store.blob(Digest.of(b"one\ntwo\n")).read_bytes() == b"one\ntwo\n"


def test_the_same_winner_again_is_the_same_release(store: Store, tmp_path: Path) -> None:
    """The id depends on the model's name and the files alone: selecting the same winner once more changes nothing."""
    ids = set()
    for number in range(2):
        selection(store, verdict(SMALL), name=f"2026010{number}-000000-aaaaaa", probe=str(number).encode())
        made = from_selection(play(tmp_path), [Host(name="a")], store, selection_id=None, scheme=None)
        ids.add(made.releases["a"].id)
    assert len(ids) == 1


def test_each_group_gets_its_own_winner(store: Store, tmp_path: Path) -> None:
    """A selection with winners per group gives each host the one of its group; a host in no group is an error that names them."""
    selection(store, verdict(SMALL, "pi3"), verdict(LARGE, "pi4"))
    hosts = (Host(name="a", groups=("pi4",)), Host(name="b", groups=("cameras", "pi3")))
    assert plan(store, tmp_path, hosts) == {"a": LARGE.digest, "b": SMALL.digest}
    with pytest.raises(UsageError, match=r"c is in none of the groups that the selection .* has winners for: pi3, pi4"):  # fmt: skip
        plan(store, tmp_path, (Host(name="c"),))


def test_a_selection_and_a_scheme_may_be_named(store: Store, tmp_path: Path) -> None:
    """An older selection by its id, another candidate than the winner by its scheme."""
    first = selection(store, verdict(LARGE))
    selection(store, verdict(SMALL), name="20260102-000000-bbbbbb")
    assert plan(store, tmp_path, selection_id=first.id) == {"a": LARGE.digest}
    assert plan(store, tmp_path, scheme="float32") == {"a": LARGE.digest}


def test_what_cannot_be_deployed_is_refused(store: Store, tmp_path: Path) -> None:
    """No selection yet, no winner, no such candidate, another model's selection, an artifact that is not there."""
    with pytest.raises(UsageError, match="nothing was selected yet for the play 'p'"):
        plan(store, tmp_path)
    made = selection(store, verdict(None))
    with pytest.raises(NoFeasibleCandidateError, match="has no winner"):
        plan(store, tmp_path)
    with pytest.raises(UsageError, match="has no candidate 'int4': expected one of int8, float32"):
        plan(store, tmp_path, scheme="int4")
    store.save_selection(replace(made, id="other", model="reader"))
    with pytest.raises(UsageError, match="is of the model 'reader', the play's is 'sorter'"):
        plan(store, tmp_path, selection_id="other")
    lost = play(tmp_path, labels="x")
    (tmp_path / "labels").unlink()
    with pytest.raises(MissingFileError, match=r"the artifact labels\.txt cannot be read"):
        from_selection(lost, [Host(name="a")], store, selection_id=None, scheme="int8")


def sample_shape(content: bytes) -> tuple[int, ...]:
    """Return the shape of a sample, as the command line reads it."""
    return read_network(content).sample_shape


def file_plan(store: Store, folder: Path, content: bytes = NETWORK) -> tuple[Digest, dict[str, object]]:
    """Return the model's digest and the header of the probe samples, of the plan for a file."""
    path = folder / "my.tflite"
    path.write_bytes(content)
    made = from_file(play(folder), [Host(name="a")], store, path, sample_shape)
    assert made.selection is None
    assert made.probe is not None
    header = json.loads(store.blob(made.probe).read_bytes().partition(b"\n")[0])
    return made.releases["a"].model.digest, header


def test_a_file_that_was_never_measured_is_tried_with_zeros(store: Store, tmp_path: Path) -> None:
    """Without a selection, or with one whose samples do not fit, one sample of zeros of the file's own input is what it is tried with."""
    digest, header = file_plan(store, tmp_path)
    assert digest == Digest.of(NETWORK)
    assert (header["shape"], header["count"]) == ([2], 1)
    selection(store, verdict(SMALL), probe=b'{"shape": [96, 96, 3], "count": 8}\n')
    assert file_plan(store, tmp_path)[1]["shape"] == [2]


def test_a_file_is_tried_with_the_plays_samples_where_they_fit(store: Store, tmp_path: Path) -> None:
    """Real samples are better than zeros."""
    selection(store, verdict(SMALL), probe=b'{"shape": [2], "count": 8}\n')
    assert file_plan(store, tmp_path)[1] == {"shape": [2], "count": 8}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"this is not a model", r"not a \.tflite: expected TFL3 at byte 4, found b' is '"),
        (NETWORK[:60], r"not a \.tflite: the file is cut short or damaged"),
        (b"", r"not a \.tflite: expected TFL3 at byte 4, found b''"),
    ],
    ids=["text", "cut", "empty"],
)
def test_a_file_that_is_no_model_is_refused(
    content: bytes, problem: str, store: Store, tmp_path: Path
) -> None:
    """What is no whole .tflite is a fault of the file, before any device is reached."""
    with pytest.raises(ContentError, match=problem):
        file_plan(store, tmp_path, content)


def test_a_model_without_a_fixed_input_is_refused(store: Store, tmp_path: Path) -> None:
    """An input of unknown size cannot be tried."""
    path = tmp_path / "my.tflite"
    path.write_bytes(NETWORK)
    with pytest.raises(ContentError, match=r"expected an input of a fixed size, found \[-1, 2\]"):
        from_file(play(tmp_path), [Host(name="a")], store, path, lambda _: (-1, 2))


def test_a_file_that_is_not_there_is_missing(store: Store, tmp_path: Path) -> None:
    """The path and the reason are in the message."""
    with pytest.raises(MissingFileError, match="the model cannot be read: found No such file"):
        from_file(play(tmp_path), [Host(name="a")], store, tmp_path / "no.tflite", sample_shape)


def floats(*values: float) -> bytes:
    """Return values as float32 bytes."""
    return struct.pack(f"<{len(values)}f", *values)


def agreeing(store: Store, probe: Digest) -> Agreeing:
    """Return the comparison that the command line uses."""
    return Agreeing(store, probe, lambda a, b, same: agreement(a, b, same_runtime=same))


def test_answers_are_compared_with_the_nearest_measurement(store: Store) -> None:
    """The host's own measurement first, then one under the same runtime, then any, with the wider tolerance."""
    probe, model = store.put_blob(b"probe"), SMALL.digest
    for host, runtime, value in (("a", "new 2", 0.0), ("b", "new 2", 0.5), ("c", "old 1", 0.9)):
        outputs = store.put_blob(floats(value, 1.0))
        store.put_answer(model, KnownAnswer(host=host, runtime=runtime, probe=probe, outputs=outputs))
    agree = agreeing(store, probe)
    assert agree(model, "a", "new 2", floats(0.0, 1.0)) == ""
    assert agree(model, "b", "new 2", floats(0.5, 1.0)) == ""
    assert agree(model, "d", "old 1", floats(0.9, 1.0)) == ""
    assert agree(model, "d", "elsewhere 3", floats(0.04, 1.0)) == ""
    assert (
        agree(model, "a", "new 2", floats(0.1, 1.0))
        == "outputs differ by 0.1 from those measured: at most 0.01 was expected"
    )


def test_answers_of_other_samples_prove_nothing(store: Store) -> None:
    """What was measured on another probe is not compared with; then the answers must at least be finite numbers."""
    probe, model = store.put_blob(b"probe"), SMALL.digest
    outputs = store.put_blob(floats(9.0))
    store.put_answer(
        model, KnownAnswer(host="a", runtime="new 2", probe=Digest.of(b"older"), outputs=outputs)
    )
    agree = agreeing(store, probe)
    assert agree(model, "a", "new 2", floats(0.1)) == ""
    for broken in (floats(1.0, math.nan), floats(math.inf), b""):
        assert agree(model, "a", "new 2", broken) == "the outputs hold NaN or infinite values"

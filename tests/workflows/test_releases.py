"""Which release each host gets: from selections and files, the same content always under the same id."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ota.agent import open_model
from ota.agent.runtime import MODULES
from ota.analysis.agreement import agreement
from ota.core.device_class import DeviceClass
from ota.core.inventory import Host
from ota.core.measurement import Candidate
from ota.core.objective import Objective
from ota.core.playbook import ModelSpec, Play
from ota.core.release import Artifact, Digest, Manifest, Release
from ota.core.selection import Inputs, Selection
from ota.core.setting import Setting
from ota.core.verdict import Answer, Estimate, Row, Status, Verdict
from ota.errors import (
    ContentError,
    MissingFileError,
    NoFeasibleCandidateError,
    UnreliableError,
    UsageError,
)
from ota.quantize.flatbuffer import read_network
from ota.store.known_answer import KnownAnswer
from ota.store.store import Store
from ota.workflows.releases import Agreeing, from_file
from ota.workflows.selected import from_selection
from tests.agent.networks import dense

SMALL, LARGE = (
    Candidate(scheme="int8", digest=Digest.of(b"small"), size_bytes=5),
    Candidate(scheme="float32", digest=Digest.of(b"large"), size_bytes=50),
)
LOST = Candidate(scheme="int4", digest=Digest.of(b"lost"), size_bytes=3)
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


PI3 = DeviceClass(name="Raspberry Pi 3", hosts=("a",), measured=("a",))
PI4 = DeviceClass(name="Raspberry Pi 4", hosts=("b", "c"), measured=("b",))
OLD, NEW = (
    Setting(runtime="tflite-runtime 2.14.0", threads=1),
    Setting(runtime="ai-edge-litert 2.3.0", threads=4),
)


def row(candidate: Candidate, *settings: tuple[str, Setting]) -> Row:
    """Return a feasible row with the best setting of each device class."""
    return Row(
        scheme=candidate.scheme,
        status=Status.FEASIBLE,
        reason="",
        candidate=candidate,
        settings=settings,
        total=Estimate(value=0.0, low=-0.1, high=0.1),
        estimates=(),
        failures=(),
    )


def verdict(
    winner: Candidate | None,
    scope: str = "all",
    *,
    answer: Answer = Answer.WINNER,
    classes: tuple[DeviceClass, ...] = (PI3, PI4),
) -> Verdict:
    """Return a verdict with both candidates and that winner; the old boards run the old runtime, float32 was never run on them."""
    settings = {PI3.name: OLD, PI4.name: NEW}
    return Verdict(
        scope=scope,
        hosts=tuple(name for group in classes for name in group.hosts),
        classes=classes,
        answer=answer,
        winner=winner,
        settings=tuple((name, settings[group.name]) for group in classes for name in group.hosts)
        if winner
        else (),
        tied=(),
        cause="the devices were too hot.",
        rows=(row(SMALL, *settings.items()), row(LARGE, (PI4.name, NEW)), row(LOST)),
        estimates=(),
        stability=None,
        regrets=(),
    )


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
        log=Digest.of(b"log"),
    )
    store.save_selection(made)
    return made


def releases(store: Store, folder: Path, hosts: tuple[Host, ...] = (Host(name="a"),), **options: str | None) -> dict[str, Release]:  # fmt: skip
    """Return the release of each host, of the play's plan from a selection."""
    wanted = {"selection_id": None, "scheme": None, **options}
    return dict(from_selection(play(folder), hosts, store, **wanted).releases)


def plan(store: Store, folder: Path, hosts: tuple[Host, ...] = (Host(name="a"),), **options: str | None) -> dict[str, Digest]:  # fmt: skip
    """Return the model's digest for each host, of the play's plan from a selection."""
    return {name: one.model.digest for name, one in releases(store, folder, hosts, **options).items()}


def content(store: Store, release: Release, name: str) -> bytes:
    """Return what an artifact of a release holds."""
    (found,) = (artifact for artifact in release.manifest.artifacts if artifact.name == name)
    held = store.blob(found.digest).read_bytes()
    assert len(held) == found.size_bytes
    return held


def test_the_winner_of_the_newest_selection_is_released(store: Store, tmp_path: Path) -> None:
    """The plan has the winner's file, how it was measured, the artifacts by content and the probe samples."""
    selection(store, verdict(LARGE))
    newest = selection(store, verdict(SMALL), name="20260102-000000-bbbbbb")
    made = from_selection(
        play(tmp_path, labels="one\ntwo\n"), [Host(name="a")], store, selection_id=None, scheme=None
    )
    release = made.releases["a"]
    assert release.model.digest == SMALL.digest
    assert [artifact.name for artifact in release.manifest.artifacts] == [
        "model.tflite",
        "runtime.json",
        "open_model.py",
        "labels.txt",
    ]
    assert content(store, release, "labels.txt") == b"one\ntwo\n"
    assert (made.probe, made.selection, release.manifest.setting) == (newest.inputs.probe, newest.id, OLD)


@pytest.mark.parametrize("setting", [OLD, NEW])
def test_a_release_tells_the_application_how_to_run_it(setting: Setting, store: Store, tmp_path: Path) -> None:  # fmt: skip
    """runtime.json holds package, version, module and threads; the module is the one that the device proves a runtime by."""
    selection(store, verdict(SMALL))
    release = releases(store, tmp_path, (Host(name="a" if setting == OLD else "b"),))
    (made,) = release.values()
    told = json.loads(content(store, made, "runtime.json"))
    assert f"{told['package']} {told['version']}" == setting.runtime
    assert told == {
        "format": 1,
        "package": told["package"],
        "version": told["version"],
        "module": MODULES[told["package"]],
        "threads": setting.threads,
    }
    assert content(store, made, "open_model.py") == Path(open_model.__file__).read_bytes()
    assert json.loads(made.manifest.to_json())["setting"] == {
        "runtime": setting.runtime,
        "threads": setting.threads,
    }


def test_a_manifest_without_a_setting_reads_as_before() -> None:
    """A release that was made before settings existed has the same text, and so the same id."""
    model = Artifact(name="model.tflite", digest=Digest.of(b"m"), size_bytes=1)
    text = Manifest(model="sorter", artifacts=(model,)).to_json()
    assert text == (
        f'{{"artifacts":[{{"name":"model.tflite","sha256":"{model.digest.hex}","size_bytes":1}}],'
        '"format":1,"model":"sorter"}'
    )


def test_the_same_winner_again_is_the_same_release(store: Store, tmp_path: Path) -> None:
    """The id depends on the model's name, the files and the setting alone: selecting the same winner once more changes nothing."""
    ids = set()
    for number in range(2):
        selection(store, verdict(SMALL), name=f"2026010{number}-000000-aaaaaa", probe=str(number).encode())
        ids.add(releases(store, tmp_path)["a"].id)
    assert len(ids) == 1
    assert releases(store, tmp_path, (Host(name="b"),))["b"].id not in ids


SETTINGS = {
    "the winner, measured there": ("a", None, OLD),
    "the winner, another board of a measured class": ("c", None, NEW),
    "the winner, a host that the selection never saw": ("z", None, NEW),
    "a named scheme": ("a", "int8", OLD),
    "a named scheme that was never run on its class": ("a", "float32", NEW),
    "a named scheme, a host that the selection never saw": ("z", "int8", NEW),
    "a named scheme that ran nowhere": ("a", "int4", None),
}


@pytest.mark.parametrize(("host", "scheme", "setting"), SETTINGS.values(), ids=SETTINGS.keys())
def test_each_host_gets_the_setting_of_its_class(
    host: str, scheme: str | None, setting: Setting | None, store: Store, tmp_path: Path
) -> None:
    """What was measured for its class, else what most hosts have."""
    selection(store, verdict(SMALL))
    made = releases(store, tmp_path, (Host(name=host),), scheme=scheme)
    assert made[host].manifest.setting == setting


def test_each_group_gets_its_own_winner(store: Store, tmp_path: Path) -> None:
    """A selection with winners per group gives each host the one of the group that it is in now; a host in no group is an error that names them."""
    selection(store, verdict(SMALL, "pi3", classes=(PI3,)), verdict(LARGE, "pi4", classes=(PI4,)))
    hosts = (Host(name="a", groups=("pi4",)), Host(name="b", groups=("cameras", "pi3")))
    assert plan(store, tmp_path, hosts) == {"a": LARGE.digest, "b": SMALL.digest}
    with pytest.raises(UsageError, match=r"c is in none of the scopes that the selection .* has winners for: pi3, pi4"):  # fmt: skip
        plan(store, tmp_path, (Host(name="c"),))


def test_each_device_class_gets_its_own_winner(store: Store, tmp_path: Path) -> None:
    """With winners per class a host gets that of the class that it was in."""
    selection(store, verdict(SMALL, PI3.name, classes=(PI3,)), verdict(LARGE, PI4.name, classes=(PI4,)))
    hosts = (Host(name="a"), Host(name="b"), Host(name="c"))
    assert plan(store, tmp_path, hosts) == {"a": SMALL.digest, "b": LARGE.digest, "c": LARGE.digest}
    with pytest.raises(UsageError, match="z is in none of the scopes"):
        plan(store, tmp_path, (Host(name="z"),))


def test_a_selection_and_a_scheme_may_be_named(store: Store, tmp_path: Path) -> None:
    """An older selection by its id, another candidate than the winner by its scheme."""
    first = selection(store, verdict(LARGE))
    selection(store, verdict(SMALL), name="20260102-000000-bbbbbb")
    assert plan(store, tmp_path, selection_id=first.id) == {"a": LARGE.digest}
    assert plan(store, tmp_path, scheme="float32") == {"a": LARGE.digest}


def test_of_a_tie_the_proposed_one_is_released(store: Store, tmp_path: Path) -> None:
    """A tie has a proposal, and that is deployed."""
    selection(store, verdict(SMALL, answer=Answer.TIE))
    assert plan(store, tmp_path) == {"a": SMALL.digest}


def test_an_unreliable_selection_is_refused(store: Store, tmp_path: Path) -> None:
    """The cause is told and both ways out; a scheme that a person names is deployed all the same."""
    selection(store, verdict(None, answer=Answer.UNRELIABLE))
    with pytest.raises(UnreliableError, match="is unreliable: the devices were too hot") as caught:
        plan(store, tmp_path)
    assert caught.value.hint == "ota select measures again; --scheme NAME overrules it"
    assert plan(store, tmp_path, scheme="int8") == {"a": SMALL.digest}


def test_what_cannot_be_deployed_is_refused(store: Store, tmp_path: Path) -> None:
    """No selection yet, no winner, no such candidate, another model's selection, an artifact that is not there."""
    with pytest.raises(UsageError, match="nothing was selected yet for the play 'p'"):
        plan(store, tmp_path)
    made = selection(store, verdict(None, answer=Answer.NONE))
    with pytest.raises(NoFeasibleCandidateError, match="has no winner: the devices were too hot"):
        plan(store, tmp_path)
    with pytest.raises(UsageError, match="has no candidate 'float16': expected one of int8, float32, int4"):
        plan(store, tmp_path, scheme="float16")
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


def file_plan(store: Store, folder: Path, network: bytes = NETWORK) -> tuple[Digest, dict[str, object]]:
    """Return the model's digest and the header of the probe samples, of the plan for a file."""
    path = folder / "my.tflite"
    path.write_bytes(network)
    made = from_file(play(folder), [Host(name="a")], store, path, sample_shape)
    assert (made.selection, made.releases["a"].manifest.setting) == (None, None)
    told = json.loads(content(store, made.releases["a"], "runtime.json"))
    assert told == {"format": 1, "package": "", "version": "", "module": "", "threads": 1}
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

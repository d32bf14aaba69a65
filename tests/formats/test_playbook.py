"""A playbook's text: what it means, every fault at its place, guesses, and the files that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from ota.core.gate import GateSpec
from ota.core.objective import Formula
from ota.core.playbook import ALL_CORES, BatchSize, MeasureSpec, OnFailure, Playbook
from ota.errors import ContentError, ExitCode, MissingFileError
from ota.formats.playbook import load_playbook
from ota.formats.quantities import factor, seconds, share, size
from ota.formats.templates import templates

ROOT = Path(__file__).parent.parent.parent

WHOLE = """\
- name: line 1
  hosts: sorters:!spare
  model:
    name: sorter
    source: model.keras
    artifacts: {labels.txt: labels.txt}
  select:
    evaluation: {path: eval, limit: 100}
    representative: rep
    preprocessing: {scale: [1/127.5, 2, 0.5], offset: -1, resize: area}
    metric: top_3
    schemes: [float32, int8]
    objective: published
    weights: {accuracy: 2.5, transfer: 0}
    limits: {accuracy_drop: 2%, latency_ms: 20, size: 3 MB, memory: 100 MiB}
    hosts: sorters
    hosts_per_class: 3
    scope: [old, new]
    threads: [2, all]
    allow_overlap: true
    measure: {min_blocks: 4, max_blocks: 9, inferences: 30, turn: 20ms, max_turn: 2s, warmup: 1, warmup_time: 0.1, budget: 1m, precision: 2%, cool_to: 55, other_load: 0.3, seed: 7}
  deploy:
    serial: [1, 30%]
    max_fail_percentage: 10%
    on_failure: rollback_all
    pause: 2m
    after: systemctl restart app
    health_check: {command: app --check, retries: 5, delay: 2s, timeout: 1m}
    gate: {accuracy_drop: 1%, latency_increase: 150%, hosts: all, budget: 2m}
    keep_releases: 4
    load_check: false
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds the files which the playbooks here name."""
    for name in ("eval", "rep"):
        (tmp_path / name).mkdir()
    for name in ("model.keras", "labels.txt"):
        (tmp_path / name).write_text("x")
    return tmp_path


def load(folder: Path, text: str) -> Playbook:
    """Write a playbook and load it."""
    path = folder / "site.yaml"
    path.write_text(text)
    return load_playbook(path)


def test_every_key_arrives(folder: Path) -> None:
    """Each key of a whole playbook reaches its field, in its unit, with paths resolved against the playbook's folder."""
    (play,) = load(folder, WHOLE).plays
    assert (play.name, play.hosts, play.model.name) == ("line 1", "sorters:!spare", "sorter")
    assert play.model.source == folder / "model.keras"
    assert play.model.artifacts == (("labels.txt", folder / "labels.txt"),)
    select = play.select
    assert select is not None
    assert (select.evaluation.path, select.evaluation.limit) == (folder / "eval", 100)
    assert select.preprocessing.scale == (1 / 127.5, 2.0, 0.5)
    assert select.preprocessing.offset == (-1.0,)
    assert (select.metric, select.schemes, select.scope, select.threads) == (
        "top_3",
        ("float32", "int8"),
        ("old", "new"),
        (2, ALL_CORES),
    )
    assert (select.hosts, select.hosts_per_class, select.allow_overlap) == ("sorters", 3, True)
    assert select.measure == MeasureSpec(
        min_blocks=4,
        max_blocks=9,
        inferences=30,
        turn_s=0.02,
        max_turn_s=2.0,
        warmup=1,
        warmup_s=0.1,
        budget_s=60.0,
        precision=0.02,
        cool_to_c=55.0,
        other_load=0.3,
        seed=7,
    )
    assert select.objective.formula is Formula.PUBLISHED
    assert (
        select.objective.weights.size,
        select.objective.weights.accuracy,
        select.objective.weights.transfer,
    ) == (1.0, 2.5, 0.0)
    limits = select.objective.limits
    assert (limits.accuracy_drop, limits.latency_ms, limits.size_bytes, limits.memory_bytes) == (
        0.02,
        20.0,
        3_000_000,
        104_857_600,
    )
    deploy = play.deploy
    assert deploy.serial == (BatchSize(count=1), BatchSize(percent=30.0))
    assert (deploy.max_fail_percentage, deploy.after, deploy.keep_releases) == (
        10.0,
        ("systemctl restart app",),
        4,
    )
    assert (deploy.on_failure, deploy.pause_s, deploy.load_check) == (OnFailure.ROLLBACK_ALL, 120.0, False)
    assert deploy.gate == GateSpec(accuracy_drop=0.01, latency_increase=1.5, every_host=True, budget_s=120.0)
    assert deploy.health_check is not None
    assert (deploy.health_check.retries, deploy.health_check.delay_s, deploy.health_check.timeout_s) == (
        5,
        2.0,
        60.0,
    )


@pytest.mark.parametrize(
    ("objective", "weights"),
    [("relative", (1, 1, 1, 1)), ("log_ratio", (1, 1, 2, 0.5)), ("published", (1, 1, 1, 1))],
)
def test_weights_are_those_of_the_objective_unless_said(
    objective: str, weights: tuple[float, ...], folder: Path
) -> None:
    """Each objective has default weights of its own, and a weight that is given leaves the others alone."""
    text = HEAD + f"  select: {{evaluation: eval, objective: {objective}, weights: {{size: 3}}}}\n"
    (play,) = load(folder, text).plays
    assert play.select is not None
    found = play.select.objective.weights
    assert (found.size, found.latency, found.accuracy, found.transfer) == (3, *weights[1:])


HEAD = "- name: n\n  hosts: all\n  model: {name: m, source: model.keras}\n"

FAULTS = {
    "a misspelt key is guessed": (
        HEAD + "  delpoy: {}\n",
        ["4:3: unknown key 'delpoy' (did you mean 'deploy'?)"],
    ),
    "a misspelt key below": (
        HEAD + "  deploy: {serail: 1}\n",
        ["4:12: unknown key 'serail' (did you mean 'serial'?)"],
    ),
    "a gate without a bound": (
        HEAD + "  deploy:\n    gate: {hosts: all}\n",
        ["5:5: gate: expected accuracy_drop, latency_increase or both"],
    ),
    "a gate that nothing passes": (
        HEAD + "  deploy:\n    gate: {accuracy_drop: 0%}\n",
        ["5:12: accuracy_drop: Input should be greater than 0"],
    ),
    "an Ansible key is explained": (
        HEAD + "  tasks: []\n",
        ["4:3: unknown key 'tasks' (ota runs no Ansible tasks"],
    ),
    "all faults at once": (
        HEAD + "  select:\n    metric: acc\n    treads: 1\n  deploy: {keep_releases: 0}\n",
        [
            "evaluation: this key is missing",
            "5:5: metric: expected one of accuracy",
            "6:5: unknown key 'treads'",
            "7:12: keep_releases:",
        ],
    ),
    "a duplicate key": (HEAD + "  hosts: all\n", ["4:3: the key 'hosts' stands here again"]),
    "an unknown scheme": (
        HEAD + "  select: {evaluation: eval, schemes: [float32, int9]}\n",
        ["expected one of float32, dynamic_range", "found 'int9'"],
    ),
    "a model name that is a path": (
        HEAD.replace("name: m", "name: ../m"),
        ["expected a name of letters", "'../m'"],
    ),
    "a reserved artifact": (
        HEAD.replace("source: model.keras", "source: model.keras, artifacts: {manifest.json: labels.txt}"),
        ["'manifest.json' is a name that ota itself gives"],
    ),
    "a negative weight": (
        HEAD + "  select: {evaluation: eval, weights: {size: -1}}\n",
        ["size: Input should be greater than or equal to 0"],
    ),
    "a percentage above 100": (
        HEAD + "  deploy: {max_fail_percentage: 130%}\n",
        ["expected a percentage from 0 to 100, found '130%'"],
    ),
    "an unknown way to fail": (
        HEAD + "  deploy: {on_failure: undo}\n",
        ["on_failure: Input should be 'stop', 'rollback_batch' or 'rollback_all'"],
    ),
    "a pause that is no time": (
        HEAD + "  deploy: {pause: a while}\n",
        ["pause: expected ", "found 'a while'"],
    ),
    "not a list": ("name: n\n", ["no plays: expected a list of plays"]),
    "nothing": ("", ["no plays"]),
    "not YAML": ("- name: [\n", ["site.yaml:2:1"]),
    "two plays of one name": (HEAD + HEAD, ["4:3: name: a second play called 'n'"]),
    "a text where a number stands": (
        HEAD + "  select: {evaluation: eval, measure: {min_blocks: many}}\n",
        ["min_blocks: expected a whole number, found 'many'"],
    ),
    "no threads": (
        HEAD + "  select: {evaluation: eval, threads: [0]}\n",
        ["expected a number of threads from 1 to 64, or all, found 0"],
    ),
    "numbers beyond all measure": (
        HEAD
        + "  select: {evaluation: eval, preprocessing: {scale: .inf, offset: 1e999/2}, limits: {size: .inf, memory: 1e300 GB, accuracy_drop: 1e999%}}\n"
        + "  deploy: {pause: .nan}\n",
        [
            "scale: expected a number or a fraction such as 1/127.5, found inf",
            "size: expected a size such as 900 KiB or 3 MB, found inf",
            "memory: expected a size such as 900 KiB or 3 MB, found '1e300 GB'",
            "accuracy_drop: expected a share such as 0.02 or 2%, found '1e999%'",
            "offset: expected a number or a fraction such as 1/127.5, found '1e999/2'",
            "pause: expected a time such as 30s or 2m, found nan",
        ],
    ),
    "a scope that is no list of groups": (
        HEAD + "  select: {evaluation: eval, scope: old}\n",
        ["expected all, class or a list of inventory groups, found 'old'"],
    ),
    "blocks the wrong way round": (
        HEAD + "  select: {evaluation: eval, measure: {min_blocks: 9, max_blocks: 8}}\n",
        ["min_blocks 9 is more than max_blocks 8"],
    ),
}


@pytest.mark.parametrize(("text", "messages"), FAULTS.values(), ids=FAULTS.keys())
def test_every_fault_is_told_at_its_place(text: str, messages: list[str], folder: Path) -> None:
    """A wrong playbook is a ContentError (65) that tells each fault at file:line:column."""
    with pytest.raises(ContentError) as caught:
        load(folder, text)
    assert caught.value.exit_code == ExitCode.CONTENT
    for message in messages:
        assert message in caught.value.render()


def test_missing_files_are_all_named(folder: Path) -> None:
    """Files that a playbook names and that are not there are listed together, each with its place, exit code 66."""
    text = HEAD.replace("model.keras", "gone.keras") + "  select: {evaluation: nowhere}\n"
    with pytest.raises(MissingFileError) as caught:
        load(folder, text)
    assert caught.value.exit_code == ExitCode.MISSING
    assert f"site.yaml:3:20: source: there is no {folder / 'gone.keras'}" in caught.value.render()
    assert "evaluation: there is no" in caught.value.render()


def test_a_missing_playbook_is_said(tmp_path: Path) -> None:
    """A playbook that does not exist is exit code 66."""
    with pytest.raises(MissingFileError, match="the playbook cannot be read"):
        load_playbook(tmp_path / "site.yaml")


def test_the_template_parses_once_its_files_exist(tmp_path: Path) -> None:
    """The playbook that `ota init` writes is right as it stands."""
    (tmp_path / "model.keras").write_text("x")
    for name in ("evaluation", "representative"):
        (tmp_path / "data" / name).mkdir(parents=True)
    path = tmp_path / "playbooks" / "site.yaml"
    path.parent.mkdir()
    path.write_text(templates()["playbooks/site.yaml"])
    (play,) = load_playbook(path).plays
    assert play.deploy.serial == (BatchSize(count=1), BatchSize(percent=30.0))


def test_the_shipped_playbook_parses() -> None:
    """playbooks/site.yaml and everything it names are there."""
    (play,) = load_playbook(ROOT / "playbooks" / "site.yaml").plays
    assert play.hosts == "sorters"


QUANTITIES = {
    "900 KiB": (size, 921_600), "3MB": (size, 3_000_000), "17": (size, 17), "500ms": (seconds, 0.5), "2m": (seconds, 120.0),
    "2%": (share, 0.02), "0.02": (share, 0.02), "1/127.5": (factor, 1 / 127.5), "-1": (factor, -1.0),
}  # fmt: skip


@pytest.mark.parametrize("text", QUANTITIES)
def test_quantities_are_read_as_people_write_them(text: str) -> None:
    """Sizes, times, shares and fractions come out in bytes, seconds and plain numbers."""
    read, value = QUANTITIES[text]
    assert read(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("read", "text"),
    [(size, "3 furlongs"), (seconds, "soon"), (share, "2 kg"), (factor, "1/0"), (size, True)],
)
def test_what_is_no_quantity_is_refused_in_words(read: object, text: object) -> None:
    """What cannot be read says what was expected and what was found."""
    with pytest.raises(ValueError, match=r"expected a .*found"):
        read(text)  # type: ignore[operator]

"""One host's part of a selection, with the real agent and a real runtime: the race, what is kept, what fails alone, and blocks that do not count."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from ota.analysis.answers import kept_targets, scorer
from ota.core.events import Event, StepFinished, Warned
from ota.core.facts import Runtime
from ota.core.inventory import Host
from ota.core.measurement import Candidate, FailureKind
from ota.core.playbook import DataSpec, MeasureSpec, SelectSpec
from ota.core.release import Digest
from ota.core.samples import Block
from ota.core.wire import Timed
from ota.deltas.encodings import Encodings
from ota.errors import HostError, OtaError
from ota.remote.device import Device
from ota.remote.executor import ThreadExecutor
from ota.store import Store
from ota.store.samples import Measured as Kept
from ota.workflows.crossings import Crossings
from ota.workflows.host_session import HostSession
from ota.workflows.judging import Judging
from ota.workflows.select import Ends, HostResult, Plan, measure_fleet
from tests.agent.boards import Board
from tests.agent.networks import custom, dense
from tests.agent.test_bench import dataset
from tests.remote.test_device import open_device, script

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError)

HOST = Host(name="here")
NEW = Runtime(id="new", package="ai-edge-litert", version="2", python="")
OLD = Runtime(id="old", package="ai-edge-litert", version="1", python="")
COUNT = 40
SAMPLES = np.random.default_rng(1).integers(0, 255, (COUNT, 2), np.uint8)
TARGETS = (SAMPLES[:, 0].astype(int) < SAMPLES[:, 1]).astype(np.int64)
RIGHT = dense([[1.0, 0.0], [0.0, 1.0]])
AS_RIGHT = dense([[2.0, 0.0], [0.0, 2.0]])
WRONG = dense([[0.0, 1.0], [1.0, 0.0]])
SLOW = dense([[1.0, 0.0], [0.0, 1.0]] + [[0.0, 0.0]] * 400_000)
QUICK = MeasureSpec(
    min_blocks=3, max_blocks=4, inferences=5, turn_s=0.0, warmup=1, warmup_s=0.0, other_load=1.0
)


@dataclass
class Desk:
    """A controller with a store, and a device in a folder beside it."""

    folder: Path
    store: Store
    networks: dict[str, bytes] = field(default_factory=lambda: {"float32": RIGHT, "int8": AS_RIGHT})
    spec: SelectSpec = field(
        default_factory=lambda: SelectSpec(evaluation=DataSpec(path=Path("x")), threads=(1,), measure=QUICK)
    )
    runtimes: tuple[Runtime, ...] = (NEW,)
    cannot_load: Callable[[Candidate, str], str] = lambda _candidate, _runtime: ""
    hosts: tuple[Host, ...] = (HOST,)
    board: Board | None = None
    python: str = sys.executable
    kept: Kept | None = None
    events: list[Event] = field(default_factory=list)

    def connect(self, host: Host) -> Device:
        """Open the device with its runtimes; board and interpreter are those of the first host."""
        root = self.folder / ("root" if host == HOST else host.name)
        for runtime in self.runtimes:
            place = root / "runtime" / runtime.id
            place.mkdir(parents=True, exist_ok=True)
            record = {
                "id": runtime.id,
                "package": runtime.package,
                "version": runtime.version,
                "python": sys.executable,
            }
            (place / "proven.json").write_text(json.dumps(record))
        python = self.python if host == HOST else sys.executable
        if self.board is not None:
            lines = [f"export {name}='{value}'" for name, value in self.board.environment.items()]
            python = script(self.folder / "python", "\n".join([*lines, f'exec {sys.executable} "$@"']))
        return open_device(root, python)

    def run(
        self, *, fresh: bool = False, finals: Callable[..., dict[str, tuple[object, ...]]] = lambda *_: {}
    ) -> HostResult:
        """Hold one session and return what the first host contributed."""
        return self.run_all(fresh=fresh, finals=finals)[0]

    def run_all(
        self, *, fresh: bool = False, finals: Callable[..., dict[str, tuple[object, ...]]] = lambda *_: {}
    ) -> tuple[HostResult, ...]:
        """Hold one session and return what each host contributed."""
        data = self.store.put_blob(dataset(SAMPLES, [1.0], [0.0]))
        candidates = tuple(
            Candidate(scheme=scheme, digest=self.store.put_blob(content), size_bytes=len(content))
            for scheme, content in self.networks.items()
        )
        plan = Plan(
            candidates=candidates,
            evaluation=data,
            samples=COUNT,
            spec=self.spec,
            score=scorer("accuracy", kept_targets(TARGETS)),
            cannot_load=self.cannot_load,
            judge=Judging(spec=self.spec, candidates=candidates, samples=COUNT),
        )
        ends = Ends(
            connect=self.connect,
            executor=ThreadExecutor(),
            kept=self.kept or self.store.measured,
            blob=self.store.blob,
            put_blob=self.store.put_blob,
            emit=self.events.append,
            runtimes_for=lambda _host, facts: tuple(r for r in facts.runtimes),
            now=lambda: "2026-01-01T00:00:00+00:00",
            fresh=fresh,
            crossings=Crossings(Encodings(self.store.blob, self.store), self.store.measured),
        )
        measured = measure_fleet(
            self.hosts,
            [host.name for host in self.hosts],
            lambda: plan,
            HostSession,
            finals,
            ends,
            per_class=2,
            forks=2,  # type: ignore[arg-type]
        )
        return tuple(measured.results)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk with a fresh store."""
    with Store.open(tmp_path / ".ota") as store:
        yield Desk(folder=tmp_path, store=store)


def blocks(result: HostResult) -> tuple[Block, ...]:
    """Return the blocks that a host contributed."""
    assert result.error is None, result.error
    assert result.log is not None
    return result.log.blocks


def schemes(some: Sequence[Block]) -> list[set[str]]:
    """Return the schemes of each block."""
    return [{turn.contender.scheme for turn in block.turns} for block in some]


def test_every_block_has_the_baseline_and_every_live_candidate_once(desk: Desk) -> None:
    """Blocks hold each contender once, the baseline among them, in orders that differ; at the end all have answered every sample."""
    desk.spec = replace(desk.spec, measure=replace(QUICK, min_blocks=8, max_blocks=8))
    result = desk.run()
    for block in blocks(result):
        names = [turn.contender.scheme for turn in block.turns]
        assert sorted(names) == sorted(set(names))
        assert "float32" in names
    assert len({tuple(turn.contender.scheme for turn in block.turns) for block in blocks(result)[:8]}) == 2
    assert {scores.contender.scheme: len(scores.samples) for scores in result.scores} == {
        "float32": COUNT,
        "int8": COUNT,
    }
    assert all(value == 1.0 for scores in result.scores for value in scores.values)


def test_each_scheme_runs_under_each_runtime(desk: Desk) -> None:
    """A candidate is a scheme under a runtime: all pairs are measured, and what is foretold not to load is a failure and is not sent."""
    desk.runtimes = (NEW, OLD)
    desk.networks["int4"] = WRONG
    desk.cannot_load = lambda candidate, runtime: (
        "an operator is unknown"
        if candidate.scheme == "int4" or (candidate.scheme, runtime) == ("int8", "ai-edge-litert 1")
        else ""
    )
    result = desk.run()
    found = {(t.contender.scheme, t.contender.setting.runtime) for t in blocks(result)[0].turns}
    assert found == {
        ("float32", "ai-edge-litert 1"),
        ("float32", "ai-edge-litert 2"),
        ("int8", "ai-edge-litert 2"),
    }
    told = {(failure.scheme, failure.runtime, failure.kind) for failure in result.failures}
    assert told == {
        ("int8", "ai-edge-litert 1", FailureKind.FORETOLD),
        ("int4", "ai-edge-litert 1", FailureKind.FORETOLD),
        ("int4", "ai-edge-litert 2", FailureKind.FORETOLD),
    }
    sent = {event.step for event in desk.events if getattr(event, "step", "").startswith("transfer")}
    assert sent == {"transfer float32", "transfer int8"}


def test_a_second_session_measures_nothing_and_an_added_scheme_only_itself(desk: Desk) -> None:
    """What was measured is not measured again; a new scheme runs beside the baseline alone."""
    first = blocks(desk.run())
    again = blocks(desk.run())
    assert again == first
    desk.networks["float16"] = dense([[3.0, 0.0], [0.0, 3.0]])
    more = blocks(desk.run())
    assert more[: len(first)] == first
    assert more[len(first) :]
    assert all(names == {"float32", "float16"} for names in schemes(more[len(first) :]))
    fresh = blocks(desk.run(fresh=True))
    assert schemes(fresh)[0] == {"float32", "int8", "float16"}


def test_over_a_slow_line_what_is_like_another_candidate_crosses_as_its_difference(desk: Desk) -> None:
    """The first three are sent whole and timed; then one that is like the first takes a fraction of its bytes, and loads and answers as it is."""
    weights = np.random.default_rng(2).normal(0, 1, (3000, 2)).tolist()
    desk.networks = {name: dense([[1.0, 0.0], [0.0, 1.0], *weights[number:]]) for number, name in enumerate(("float32", "int8", "float16"))}  # fmt: skip
    desk.networks["int4"] = dense([[2.0, 0.0], [0.0, 1.0], *weights])
    desk.store.measured.put_speeds({HOST.name: Timed(size_bytes=1000, seconds=1.0)})
    result = desk.run()
    assert result.error is None
    told = {event.step: event.detail for event in desk.events if isinstance(event, StepFinished)}
    size = len(desk.networks["int4"])
    assert told["transfer float32"] == f"{size} bytes"
    first = Digest.of(desk.networks["float32"])
    assert told["transfer int4"].endswith(f", the difference to {first.short}")
    assert int(told["transfer int4"].split()[0]) < size / 20
    assert "int4" in schemes(blocks(result))[0]
    assert result.log is not None
    assert len(result.log.transfers) == 3


def test_a_candidate_that_cannot_load_or_answers_nonsense_is_out(desk: Desk) -> None:
    """Each is a failure with the reason and the runtime; the others are measured."""
    desk.networks |= {"alien": custom(2), "nan": dense([[float("nan"), 0.0], [0.0, 1.0]])}
    result = desk.run()
    told = {failure.scheme: failure for failure in result.failures}
    assert told["alien"].kind is FailureKind.LOAD
    assert "alien-op" in told["alien"].reason
    assert told["alien"].runtime == "ai-edge-litert 2"
    assert told["nan"].kind is FailureKind.RUN
    assert "NaN" in told["nan"].reason
    assert {scores.contender.scheme for scores in result.scores} == {"float32", "int8"}
    assert all("nan" not in names for names in schemes(blocks(result))[1:])


def test_a_candidate_many_times_slower_costs_a_handful_of_inferences(desk: Desk) -> None:
    """The race drops at once what cannot win."""
    desk.networks["slow"] = SLOW
    desk.spec = replace(desk.spec, measure=replace(QUICK, min_blocks=5, max_blocks=6))
    result = desk.run()
    spent = [turn for block in blocks(result) for turn in block.turns if turn.contender.scheme == "slow"]
    assert sum(len(turn.latencies_ns) for turn in spent) <= 15


def test_more_threads_are_tried_for_those_in_the_race(desk: Desk) -> None:
    """With two thread counts the winner of the first is measured with the second too."""
    desk.spec = replace(desk.spec, threads=(1, 2))
    result = desk.run()
    assert result.log is not None
    if result.log.facts.cpu_count < 2:
        pytest.skip("a machine with one processor")
    assert {turn.contender.setting.threads for block in blocks(result) for turn in block.turns} == {1, 2}


def test_a_session_goes_on_where_it_was_cut(desk: Desk) -> None:
    """The agent is killed after its second block: the host is a failure, and the next session keeps both blocks and goes on behind them."""

    class Cutting(Kept):
        """Keeps blocks, and kills the agent behind the second."""

        def put_block(self, host: str, context: str, block: Block) -> None:
            super().put_block(host, context, block)
            if block.number == 1:
                for pid in _agents(desk.folder / "root"):
                    os.kill(pid, signal.SIGKILL)

    desk.kept = Cutting(desk.store._database)
    cut = desk.run()
    assert isinstance(cut.error, OtaError)
    desk.kept = None
    result = desk.run()
    assert [block.number for block in blocks(result)] == list(range(len(blocks(result))))
    assert len(blocks(result)) > 2


_FLOOD = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
blocks = 0
while True:
    chunk = os.read(child.stdout.fileno(), 1 << 16)
    if not chunk:
        sys.exit(child.wait())
    os.write(1, chunk)
    blocks += chunk.count(b'"watch"')
    if blocks == 2:
        break
for sent in range(1024):
    with open(sys.argv[1], "w") as note:
        note.write(str(sent))
    for _ in range(16):
        os.write(1, b"x" * 65536)
"""


def test_a_gigabyte_in_the_middle_ends_one_device_and_loses_nothing(desk: Desk) -> None:
    """A device that sends a gigabyte behind its second block is a failure with the reason, after a few megabytes; the other goes on, and the next session too."""
    (desk.folder / "flood.py").write_text(_FLOOD)
    flood = f'exec {sys.executable} {desk.folder}/flood.py {desk.folder}/sent {sys.executable} "$@"'
    desk.python = script(desk.folder / "flooding", flood)
    desk.hosts = (HOST, Host(name="other"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    flooded, other = desk.run_all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    assert isinstance(flooded.error, HostError)
    assert "expected at most" in flooded.error.render()
    assert 0 < int((desk.folder / "sent").read_text()) < 64
    assert len(blocks(other)) >= 3
    desk.python = sys.executable
    result, again = desk.run_all()
    assert [block.number for block in blocks(result)] == list(range(len(blocks(result))))
    assert len(blocks(result)) > 2
    assert blocks(again) == blocks(other)


def test_void_blocks_are_repeated_and_three_in_a_row_are_unreliable(desk: Desk) -> None:
    """A board that throttles in its first block is measured again; one that throttles for ever is unreliable, and says why."""
    desk.board = Board(desk.folder / "once").firmware(0x4, 0x0)
    result = desk.run()
    assert [bool(block.void) for block in blocks(result)][:2] == [True, False]
    assert result.log is not None
    assert result.log.unreliable == ""
    assert any("void: the board was throttled" in e.message for e in desk.events if isinstance(e, Warned))
    desk.board = Board(desk.folder / "always").firmware(0x1)
    result = desk.run(fresh=True)
    assert [block.void for block in blocks(result)] == ["under-voltage"] * 3
    assert result.log is not None
    assert result.log.unreliable == "3 blocks in a row were void: under-voltage"


def test_the_finals_complete_who_was_dropped(desk: Desk) -> None:
    """A contender that the fleet's decision still needs is measured on the samples that it has not seen."""
    desk.networks["slow"] = SLOW
    desk.spec = replace(desk.spec, measure=replace(QUICK, min_blocks=5, max_blocks=6))
    asked: list[int] = []

    def finals(results: Sequence[HostResult], _classes: object) -> dict[str, tuple[object, ...]]:
        asked.append(1)
        (slow,) = [s.contender for s in results[0].scores if s.contender.scheme == "slow"]
        return {"here": (slow,)} if len(asked) == 1 else {}

    result = desk.run(finals=finals)
    (slow,) = [scores for scores in result.scores if scores.contender.scheme == "slow"]
    assert slow.samples == tuple(range(COUNT))


def _agents(root: Path) -> list[int]:
    """Return the processes that are agents with this root."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(root).encode() in words and int(entry.parent.name) != os.getpid():
            found.append(int(entry.parent.name))
    return found

"""Every state that a power cut may leave of an operation: recovered by the agent itself, judged, cut again inside recovery, and the operation run again.

A state is good where, after recovery: nothing that must never be is there (`releases.faults`); each thing a tree says of itself is what it was before the
step that was cut or is after it, never a third; what a step that had returned did is still done; what came on trial says so; and the operation, run again, ends as undisturbed.

Three histories are cut: the operation as it runs; the operation after an earlier run of it was killed without a cut, so that nothing that run left
unsynced is on the disk for certain; and the operation run again from each tree that a recovery after a cut left.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass, field

from ota.agent import slot
from ota.agent.effects import Effect

from .disk import FILE, Disk, Tree
from .operations import Operation
from .place import Place
from .releases import Summary, faults, small, summary

SLACK = 16 * 1024
_VARYING = re.compile(rb'"(?:time|until)": [0-9.]+|"(?:prev|trial)": "[0-9a-f]*"')
_SWITCHES = {"activate", "rollback"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a step begins or ends: the number of effects so far, the tree, and what it says after recovery in peace."""

    step: str
    at: int
    tree: Tree
    says: Summary
    faults: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A recorded run: the tree it began with, its effects, and the moments between its steps.

    Where an earlier run was killed: `first` is the number of its effects, and `killed` the moments around its end. Cuts are looked at from `first` on.
    """

    start: Tree
    trace: tuple[Effect, ...]
    moments: tuple[Moment, ...]
    first: int = 0
    killed: tuple[Moment, Moment] | None = None

    def syncs(self, begin: int = 0, end: int | None = None) -> list[int]:
        """Return the numbers of the effects between two that only make durable."""
        stop = len(self.trace) if end is None else end
        return [at for at in range(begin, stop) if self.trace[at].name in {"sync", "sync_folder"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A state that was not recovered from."""

    operation: str
    step: str
    after: str
    depth: int
    why: str


@dataclass(slots=True)
class Count:
    """What was looked at."""

    states: int = 0
    runs: int = 0
    reruns: int = 0
    deepest: int = 0
    bad: list[Bad] = field(default_factory=list)


class Simulator:
    """Looks at one operation; `limit` states at most of one cut, `deeper` at most of one inside a recovery. The counts are summed up over all that it looks at."""

    def __init__(
        self, operation: Operation, place: Place, *, limit: int = 400, deeper: int = 40, seed: int = 1
    ) -> None:
        """Run the operation once in peace."""
        self.operation = operation
        self.count = Count()
        self._place = place
        self._limit, self._deeper, self._seed = limit, deeper, seed
        self._recovered: dict[bytes, tuple[tuple[Effect, ...], Tree, str]] = {}
        self._ends: dict[bytes, Summary | str] = {}
        self._good: dict[bytes, Tree] = {}
        self._verdicts: dict[tuple[object, ...], Bad | None] = {}
        self._most = sum(small(name).size for name in "ABCD") * 2 + SLACK
        place.lay({})
        for step in operation.before:
            step(place.root)
        self.history = self.record(place.read())

    def record(self, start: Tree, kill_at: int | None = None) -> History:
        """Run the operation from a tree in peace; with `kill_at`, after a run that was killed before its effect of that number, and a recovery."""
        self._place.lay(start)
        earlier: list[Effect] = []
        first, killed = 0, None
        if kill_at is not None:
            earlier += self._place.recorded(self._all, kill_at)
            first, killed = len(earlier), _around(self.history, kill_at)
            earlier += self._place.recorded(slot.recover)
        trace, points = list(earlier), [("", len(earlier), self._place.read())]
        for name, step in self.operation.steps:
            trace += self._place.recorded(step)
            points.append((name, len(trace), self._place.read()))
        disk = Disk(start)
        for effect in trace:
            disk.apply(effect)
        if _key(disk.live()) != _key(points[-1][2]):
            raise AssertionError(f"the model of the disk differs from the disk after {self.operation.name}")
        moments = tuple(self._moment(*point) for point in points)
        return History(start=start, trace=tuple(trace), moments=moments, first=first, killed=killed)

    def cut(self, history: History, lost: frozenset[int] = frozenset(), *, again: int = 1) -> None:
        """Look at every state that a cut may leave of a history, and so many cuts deep in recovery; `lost` are effects that are planted not to happen."""
        disk = Disk(history.start)
        for at in range(len(history.trace) + 1):
            if at >= history.first:
                around = _around(history, at)
                last = history.trace[at - 1] if at else None
                for tree in disk.after_cut(self._limit, self._seed):
                    self.count.states += 1
                    self._judge(tree, around, last, again, 0)
            if at < len(history.trace) and at not in lost:
                disk.apply(history.trace[at])

    def cut_killed(self, *, again: int = 1) -> None:
        """Look at the operation run again after it was killed before each of its effects."""
        for kill_at in range(1, len(self.history.trace) + 1):
            self.cut(self.record(self.history.start, kill_at), again=again)

    def cut_reruns(self, *, again: int = 0) -> None:
        """Look at the operation run again from each tree that a recovery left, cut at each of its effects."""
        for tree in list(self._good.values()):
            self.cut(self.record(tree), again=again)

    def _all(self, root: str) -> None:
        for _, step in self.operation.steps:
            step(root)

    def _moment(self, step: str, at: int, tree: Tree) -> Moment:
        _, recovered, fault = self._recover(tree)
        if fault:
            raise AssertionError(f"recovery fails in peace: {fault}")
        return Moment(
            step=step,
            at=at,
            tree=tree,
            says=summary(recovered),
            faults=frozenset(faults(recovered, self._most)),
        )

    def _judge(
        self, tree: Tree, around: tuple[Moment, Moment], last: Effect | None, more: int, depth: int
    ) -> None:
        """Recover a state, judge what comes of it, and cut the recovery itself."""
        key = _key(tree)
        mark = (key, around[0].says, around[1].says, around[1].step, more)
        if mark in self._verdicts:
            self.count.bad += filter(None, [self._verdicts[mark]])
            return
        self._verdicts[mark] = None
        self.count.deepest = max(self.count.deepest, depth)
        trace, recovered, fault = self._recover(tree, key)
        why = fault or self._why(recovered, around)
        if why:
            after = f"{last.name} {last.path}" if last else "nothing"
            bad = Bad(operation=self.operation.name, step=around[1].step, after=after, depth=depth, why=why)
            self._verdicts[mark] = bad
            self.count.bad.append(bad)
        elif more:
            disk = Disk(tree)
            for effect in trace:
                disk.apply(effect)
                for next_tree in disk.after_cut(self._deeper, self._seed):
                    self.count.states += 1
                    self._judge(next_tree, around, effect, more - 1, depth + 1)

    def _why(self, recovered: Tree, around: tuple[Moment, Moment]) -> str:
        """Return why a recovered tree is bad, empty where it is good."""
        before, after = around
        says = summary(recovered)
        wrong = [one for one in faults(recovered, self._most) if one not in before.faults]
        wrong += _third(says, before.says, after.says)
        if (
            after.step in _SWITCHES
            and says.current != before.says.current
            and says.pending != after.says.pending
        ):
            wrong.append("the switch is there and its trial is not")
        if wrong:
            return wrong[0]
        ends = self._end(recovered)
        if ends != self._goal():
            return f"run again it ends otherwise: {_difference(ends, self._goal())}"
        self._good.setdefault(_key(recovered), recovered)
        return ""

    def _recover(self, tree: Tree, key: bytes = b"") -> tuple[tuple[Effect, ...], Tree, str]:
        """Have the agent recover a tree; return its effects, what is there then, and how it failed."""
        key = key or _key(tree)
        if key not in self._recovered:
            self.count.runs += 1
            self._place.lay(tree)
            fault, trace = "", []
            try:
                trace = self._place.recorded(slot.recover)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is found
                fault = f"recovery raised {type(error).__name__}: {error}"
            disk = Disk(tree)
            for effect in trace:
                disk.apply(effect)
            self._recovered[key] = (tuple(trace), disk.live(), fault)
        return self._recovered[key]

    def _end(self, recovered: Tree) -> Summary | str:
        """Run the operation again; return what the tree says then, or how it failed."""
        key = _key(recovered)
        if key not in self._ends:
            self.count.reruns += 1
            self._place.lay(recovered)
            try:
                self._all(self._place.root)
                self._ends[key] = _lasting(summary(self._place.read()))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is found
                self._ends[key] = f"{type(error).__name__}: {error}"
        return self._ends[key]

    def _goal(self) -> Summary:
        return _lasting(summary(self.history.moments[-1].tree))


def _around(history: History, at: int) -> tuple[Moment, Moment]:
    """Return the moments before and after a cut; a cut where a step has just returned has that moment on both sides."""
    moments = history.moments
    if history.killed is not None and at < moments[0].at:
        return history.killed
    for moment in moments:
        if moment.at == at:
            # Of several moments at one place, steps without effects, any is as good.
            return moment, moment
    later = next(index for index, moment in enumerate(moments) if moment.at > at)
    return moments[max(0, later - 1)], moments[later]


def _third(says: Summary, before: Summary, after: Summary) -> list[str]:
    """Return what a summary holds that is neither what was nor what comes."""
    wrong = [
        f"{name} is {getattr(says, name)}, was {getattr(before, name)}, becomes {getattr(after, name)}"
        for name in ("current", "previous", "pending", "rolled_back")
        if getattr(says, name) not in (getattr(before, name), getattr(after, name))
    ]
    for name in ("releases", "blobs"):
        one, other, there = getattr(before, name), getattr(after, name), getattr(says, name)
        if not (one & other <= there <= one | other):
            wrong.append(
                f"{name} are a third set: lost {len((one & other) - there)}, new {len(there - (one | other))}"
            )
    if says.journal not in (before.journal, after.journal):
        wrong.append("the journal lost a line")
    return wrong


def _lasting(says: Summary) -> Summary:
    """Leave out what a second run may add."""
    return dataclasses.replace(says, journal=())


def _difference(found: Summary | str, goal: Summary) -> str:
    if isinstance(found, str):
        return found
    names = [one.name for one in dataclasses.fields(goal)]
    return "; ".join(
        f"{name} {getattr(found, name)} for {getattr(goal, name)}"
        for name in names
        if getattr(found, name) != getattr(goal, name)
    )


def _key(tree: Tree) -> bytes:
    """Return what tells one tree from another, times and random marks aside."""
    first: dict[int, str] = {}
    hashed = hashlib.blake2b(digest_size=16)
    for path in sorted(tree):
        node = tree[path]
        same = first.setdefault(node.inode, path) if node.kind == FILE else ""
        hashed.update(f"{path}\0{node.kind}\0{same}\0".encode())
        hashed.update(_plain(node.content))
    return hashed.digest()


_plain_cache: dict[bytes, bytes] = {}


def _plain(content: bytes) -> bytes:
    found = _plain_cache.get(content)
    if found is None:
        found = hashlib.blake2b(_VARYING.sub(b"", content), digest_size=16).digest()
        _plain_cache[content] = found
    return found

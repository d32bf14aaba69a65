"""The agent's one dialogue: a literal table of requests, each carried out and answered, until the controller goes."""

from __future__ import annotations

import fcntl
import math
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

# What a deployment does not need is imported by the requests that do: each module costs the start of every dialogue.
from . import admission, blobs, effects, files, orders, ready, releases, slot, trial, trust, watchdog
from .dialogue import PROTOCOL_VERSION, Dialogue, RefusedError, Request

if TYPE_CHECKING:
    from . import policy, restrict
    from .measure import Benchmarks

_TELL_S = 5.0
_LOCK_S = 3.0

Answer = Tuple[Dict[str, Any], bytes]


class Agent:
    """Holds the dialogue, the root, the benchmark processes and, once something is to be changed, the lock; `may` limits what may be asked."""

    def __init__(
        self, dialogue: Dialogue, root: str, agent_path: str, may: Optional[policy.Policy] = None
    ) -> None:
        self.dialogue = dialogue
        self.root = root
        self.agent_path = agent_path
        self.may = may
        self.session = orders.Session(root)
        self._benchmarks: Optional[Benchmarks] = None
        self._restriction: Optional[restrict.Restriction] = None
        self._lock: Optional[effects.File] = None
        self._next_look = 0.0
        self.well = True
        """Whether the last request was carried out."""

    @property
    def benchmarks(self) -> Benchmarks:
        """The benchmark processes, made when they are asked for."""
        if self._benchmarks is None:
            from . import measure

            self._benchmarks = measure.Benchmarks(self.root, self.agent_path)
        return self._benchmarks

    @property
    def restriction(self) -> restrict.Restriction:
        """The limits of the controller's key, read when they are asked for."""
        if self._restriction is None:
            from . import restrict

            self._restriction = restrict.Restriction(self.root, self.agent_path, self.may)
        return self._restriction

    def close(self) -> None:
        """End what runs for this dialogue."""
        if self._benchmarks is not None:
            self._benchmarks.close()

    def change(self) -> None:
        """Become the one writer of this root for the rest of the dialogue, and clear up after an interrupted one."""
        if self._lock is not None:
            return
        files.make_folder(self.root)
        lock = files.open_kept(os.path.join(self.root, "lock"))
        try:
            _take(lock.fileno())
        except BlockingIOError as error:
            holder = lock.read(200, 0).decode("utf-8", "replace").strip()
            lock.close()
            raise RefusedError(
                "locked", "another ota is at work on this device: %s" % (holder or "unknown")
            ) from error
        said = "process %d on %s since %s" % (
            os.getpid(),
            os.uname().nodename,
            time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        )
        with files.unless_full():
            lock.truncate(0)
            lock.write(said.encode("utf-8"), 0)
        self._lock = lock
        slot.recover(self.root)
        if any(name.startswith("bench-") for name in os.listdir(self.root)):
            from . import measure

            measure.sweep(self.root)
        watchdog.lapse(self.root)

    def guard(self, name: str) -> None:
        """Start the watchdog of a trial."""
        watchdog.start(self.root, name)

    def tick(self) -> None:
        """While something takes long: ask the controller now and then whether it is there, and renew the lease for its word alone.

        What is written reaches nobody where a link is dead and nothing has noticed yet.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        lease = self._lease_s()
        self._next_look = now + min(_TELL_S, lease / 4)
        self.dialogue.event(event="waiting")
        if self.dialogue.heard() and lease < math.inf:
            trial.renew(self.root)

    def _lease_s(self) -> float:
        """Return the seconds of the lease that this dialogue has to renew, infinite where there is none."""
        record = trial.read(self.root) if self._lock is not None else None
        return float((record or {}).get("lease_s", math.inf))

    def heard(self) -> None:
        """Take the controller's word as a renewal of the trial that it has not confirmed yet."""
        if self._lock is not None:
            trial.renew(self.root)


def _take(lock: int) -> None:
    """Lock a file; a holder who is about to end, as one whose connection was cut, is waited for a while. BlockingIOError where one stays."""
    until = time.monotonic() + _LOCK_S
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.1)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _facts(agent: Agent, request: Request) -> Answer:
    from . import facts

    return facts.facts(agent.root), b""


def _slot(agent: Agent, request: Request) -> Answer:
    return slot.state(agent.root, request.get("read")), b""


def _verify(agent: Agent, request: Request) -> Answer:
    return slot.verified(agent.root, int(request.get("at", 0))), b""


def _journal(agent: Agent, request: Request) -> Answer:
    from . import journal

    return {"journal": journal.verify(agent.root, int(request.get("at", 0)))}, b""


def _held(agent: Agent, request: Request) -> Answer:
    kind = request["kind"]
    return {
        "held": blobs.held(agent.root, kind, request["digests"]),
        "begun": blobs.begun(agent.root, kind),
    }, b""


def _put(agent: Agent, request: Request) -> Answer:
    agent.change()
    if request.get("forms"):
        from . import encoded

        return encoded.put(agent.dialogue, agent.root, request), b""
    return blobs.put(agent.dialogue, agent.root, request), b""


def _install(agent: Agent, request: Request) -> Answer:
    from . import runtime

    agent.change()
    return runtime.install(agent.root, request, only_prove=agent.may is not None), b""


def _bench(agent: Agent, request: Request) -> Answer:
    agent.change()
    return agent.benchmarks.block(agent.dialogue.event, request, agent.tick)


def _examine(agent: Agent, request: Request) -> Answer:
    agent.change()
    return agent.benchmarks.examine(request, agent.tick)


def _ready(agent: Agent, request: Request) -> Answer:
    ready.check_writable(agent.root)
    if not request.get("look"):
        # What an interrupted run left goes first: its room is free then.
        agent.change()
    ready.check_room(agent.root, request["files"])
    return {}, b""


def _admit(agent: Agent, request: Request) -> Answer:
    release, manifest = releases.check_id(request["release"]), request["manifest"]
    releases.accepted(agent.root, release, manifest)
    admission.admit(agent.root, release, manifest, request.get("signatures") or None)
    return {}, b""


def _stage(agent: Agent, request: Request) -> Answer:
    agent.change()
    signatures = request.get("signatures") or None
    return {"changed": slot.stage(agent.root, request["release"], request["manifest"], signatures)}, b""


def _adopt(agent: Agent, request: Request) -> Answer:
    agent.change()
    return {"changed": trust.adopt(agent.root, request["keyring"], request["signatures"])}, b""


def _activate(agent: Agent, request: Request) -> Answer:
    agent.change()
    changed, there = slot.activate(
        agent.root,
        request["release"],
        request["expected_current"],
        request.get("lease_s"),
        request.get("after"),
        agent.guard,
        lambda release: agent.session.require("activate", release, request.get("order")),
    )
    return dict(there, changed=changed), b""


def _confirm(agent: Agent, request: Request) -> Answer:
    agent.change()
    slot.confirm(agent.root, request["release"])
    return {}, b""


def _revert(agent: Agent, request: Request) -> Answer:
    agent.change()
    return slot.revert(agent.root), b""


def _rollback(agent: Agent, request: Request) -> Answer:
    agent.change()
    changed, there = slot.rollback(
        agent.root,
        request.get("to"),
        lambda release: agent.session.require("rollback", release, request.get("order")),
    )
    return dict(there, changed=changed), b""


def _prune(agent: Agent, request: Request) -> Answer:
    agent.change()
    return {"removed": slot.prune(agent.root, int(request["keep"]))}, b""


def _boot_hook(agent: Agent, request: Request) -> Answer:
    from . import boot

    agent.change()
    return boot.install(agent.root, agent.agent_path, request["choice"]), b""


def _run(agent: Agent, request: Request) -> Answer:
    from . import commands

    agent.change()
    return commands.run(request["command"], float(request["timeout_s"]), agent.root, agent.tick), b""


def _restrict(agent: Agent, request: Request) -> Answer:
    if request.get("look"):
        return agent.restriction.look(request), b""
    agent.change()
    if request.get("undo"):
        agent.restriction.undo()
        return {}, b""
    return agent.restriction.apply(request), b""


OPERATIONS: Dict[str, Callable[[Agent, Request], Answer]] = {
    "facts": _facts,
    "slot": _slot,
    "verify": _verify,
    "journal": _journal,
    "held": _held,
    "put": _put,
    "install": _install,
    "bench": _bench,
    "examine": _examine,
    "ready": _ready,
    "admit": _admit,
    "stage": _stage,
    "adopt": _adopt,
    "activate": _activate,
    "confirm": _confirm,
    "revert": _revert,
    "rollback": _rollback,
    "prune": _prune,
    "boot_hook": _boot_hook,
    "run": _run,
    "restrict": _restrict,
}


def main(root: str, agent_path: str, may: Optional[policy.Policy] = None) -> None:
    """Serve one dialogue over stdin and stdout; `may` is what the controller's key is limited to, None: nothing."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    dialogue = Dialogue()
    agent = Agent(dialogue, root, agent_path, may)
    dialogue.event(hello=PROTOCOL_VERSION, root=root, nonce=agent.session.nonce)
    try:
        request = dialogue.request()
        while request is not None:
            serve(agent, request)
            request = dialogue.request()
    except EOFError:
        return
    except ValueError:
        dialogue.refuse("bad_request", "not a line of JSON")
    finally:
        agent.close()


def serve(agent: Agent, request: Request) -> None:
    """Carry one request out and answer it; EOFError where the controller has gone meanwhile.

    One that says `then` is carried out only where the one before it was. What came along with a request is read in any case: the next one is behind it.
    """
    well, agent.well = agent.well, False
    try:
        _check(agent, request, well)
        agent.heard()
        fields, body = OPERATIONS[request["op"]](agent, request)
    except RefusedError as refusal:
        agent.dialogue.refuse(refusal.code, refusal.message, **refusal.fields)
    except files.FileFaultError as known:
        agent.dialogue.refuse(known.code, known.message)
    except OSError as error:
        found = files.fault_of(error, str(error.filename or agent.root))
        agent.dialogue.refuse(found.code, found.message)
    except (KeyError, TypeError, ValueError) as error:
        agent.dialogue.refuse("bad_request", "%s: %s" % (type(error).__name__, error))
    else:
        agent.well = True
        agent.dialogue.answer(fields, body)
    agent.dialogue.drop()


def _check(agent: Agent, request: Request, well: bool) -> None:
    if request.get("then") and not well:
        raise RefusedError("skipped", "what was asked for before it was not carried out")
    if agent.may is not None:
        from . import policy

        policy.check(agent.may, agent.root, request)

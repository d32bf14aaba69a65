"""The agent's one dialogue: a literal table of requests, each carried out and answered, until the controller goes."""

import fcntl
import json
import os
import signal
import socket
import time

from . import blobs, commands, facts, files, measure, runtime, slot
from .dialogue import PROTOCOL_VERSION, Dialogue, Refused


class Agent:
    """Holds the dialogue, the root and, once something is to be changed, the lock."""

    def __init__(self, dialogue, root, agent_path):
        self.dialogue = dialogue
        self.root = root
        self.agent_path = agent_path
        self._lock = None

    def change(self):
        """Become the one writer of this root for the rest of the dialogue, and clear up after an interrupted one."""
        if self._lock is not None:
            return
        files.make_folder(self.root)
        lock = open(os.path.join(self.root, "lock"), "a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise Refused(
                "locked", "another ota is at work on this device: %s" % (lock.read(200).strip() or "unknown")
            )
        lock.truncate(0)
        lock.write(
            "process %d on %s since %s"
            % (os.getpid(), socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S %Z"))
        )
        lock.flush()
        self._lock = lock
        slot.recover(self.root)


def _facts(agent, request):
    return facts.facts(agent.root), b""


def _slot(agent, request):
    return slot.state(agent.root), b""


def _held(agent, request):
    return {"held": blobs.held(agent.root, request["kind"], request["digests"])}, b""


def _put(agent, request):
    agent.change()
    return blobs.put(agent.dialogue, agent.root, request), b""


def _install(agent, request):
    agent.change()
    return runtime.install(agent.root, request), b""


def _bench(agent, request):
    agent.change()
    return measure.bench(agent, request)


def _stage(agent, request):
    agent.change()
    return {"changed": slot.stage(agent.root, request["release"], request["manifest"])}, b""


def _activate(agent, request):
    agent.change()
    changed, there = slot.activate(agent.root, request["release"], request["expected_current"])
    return dict(there, changed=changed), b""


def _confirm(agent, request):
    agent.change()
    slot.confirm(agent.root, request["release"])
    return {}, b""


def _revert(agent, request):
    agent.change()
    return slot.revert(agent.root), b""


def _rollback(agent, request):
    agent.change()
    changed, there = slot.rollback(agent.root, request.get("to"))
    return dict(there, changed=changed), b""


def _prune(agent, request):
    agent.change()
    return {"removed": slot.prune(agent.root, int(request["keep"]))}, b""


def _run(agent, request):
    agent.change()
    return commands.run(request["command"], float(request["timeout_s"]), agent.root), b""


OPERATIONS = {
    "facts": _facts,
    "slot": _slot,
    "held": _held,
    "put": _put,
    "install": _install,
    "bench": _bench,
    "stage": _stage,
    "activate": _activate,
    "confirm": _confirm,
    "revert": _revert,
    "rollback": _rollback,
    "prune": _prune,
    "run": _run,
}


def main(root, agent_path):
    """Serve one dialogue over stdin and stdout."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    dialogue = Dialogue()
    agent = Agent(dialogue, root, agent_path)
    dialogue.event(hello=PROTOCOL_VERSION, root=root)
    while True:
        try:
            request = dialogue.request()
        except ValueError:
            dialogue.refuse("bad_request", "not a line of JSON")
            return
        if request is None:
            return
        try:
            operation = OPERATIONS.get(request.get("op"))
            if operation is None:
                raise Refused("bad_request", "no such operation: %r" % request.get("op"))
            fields, body = operation(agent, request)
        except EOFError:
            return
        except Refused as refusal:
            dialogue.refuse(refusal.code, refusal.message, **refusal.fields)
        except files.FileFault as fault:
            dialogue.refuse(fault.code, fault.message)
        except OSError as error:
            fault = files.fault_of(error, error.filename or root)
            dialogue.refuse(fault.code, fault.message)
        except (KeyError, TypeError, ValueError, json.JSONDecodeError) as error:
            dialogue.refuse("bad_request", "%s: %s" % (type(error).__name__, error))
        else:
            dialogue.answer(fields, body)

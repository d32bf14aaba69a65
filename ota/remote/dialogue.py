"""The controller's end of the dialogue: requests out, events and one answer back, all bounded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from ota.core.protocol import MAX_BODY, MAX_LINE, PROTOCOL_VERSION
from ota.core.release import Digest
from ota.errors import CommandEndedError, HostError
from ota.remote.bootstrap import MARK, agent_zip
from ota.remote.transport import Channel

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Fields: TypeAlias = Mapping[str, Json]

MAX_GREETING = 64 * 1024
"""How much a login shell may print before the agent speaks."""
SKIPPED = "skipped"
"""The refusal of a request behind one that was refused."""
_NO_COMMAND = 127
_HERE = b'{"op": "here"}\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The fields of an answer and the raw bytes behind it."""

    fields: Fields
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Greeting:
    """What an agent says of itself."""

    root: str
    nonce: str


class RefusedError(HostError):
    """The agent did not carry out a request; `code` says why in a word."""

    def __init__(self, code: str, problem: str, *, where: str, fields: Fields) -> None:
        super().__init__(problem, where=where)
        self.code = code
        self.fields = fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request as it goes out. One that is `then` is carried out only where the one before it was; `along` yields the `length` bytes that go behind it."""

    op: str
    fields: Fields
    then: bool = False
    along: Callable[[], Iterable[bytes]] | None = None
    length: int = 0


class Dialogue:
    """A dialogue with one agent, which runs under `python`, over one channel; `trace` is told each line in short, for -v.

    The agent's greeting is not waited for: it is read in front of the first answer, or when somebody wants to know what it says.
    """

    def __init__(
        self, channel: Channel, host: str, *, python: str, trace: Callable[[str], None] = lambda _: None
    ) -> None:
        self._channel = channel
        self._host = host
        self._python = python
        self._trace = trace
        self._greeting: _Greeting | None = None

    @property
    def root(self) -> str:
        """The absolute ota_root."""
        return self.greet().root

    @property
    def nonce(self) -> str:
        """The agent's, for orders."""
        return self.greet().nonce

    def greet(self) -> _Greeting:
        """Read the agent's greeting, unless that was done; send the agent where the device lacks it.

        Raises:
            HostError: no Python or one too old, or what answers is no agent.
            UnreachableError: the connection is gone.
        """
        return self._greeting or self._meet(())

    def ask(
        self,
        op: str,
        fields: Fields | None = None,
        *,
        on_event: Callable[[Fields], None] = lambda _: None,
    ) -> Answer:
        """Send a request and return its answer; `on_event` hears what comes before. An agent that takes long asks whether we are there, and is told so.

        Raises:
            RefusedError: the agent did not carry it out.
            HostError: the answer is not one.
            UnreachableError: the connection is gone.
        """
        requests = (Outgoing(op=op, fields=fields or {}),)
        self.send_off(requests)
        (answer,) = self.answers(requests, on_event)
        if isinstance(answer, RefusedError):
            raise answer
        return answer

    def send_off(self, requests: Sequence[Outgoing]) -> None:
        """Send requests one behind the other.

        Raises:
            HostError, UnreachableError: as `ask` raises.
        """
        try:
            self._write(requests)
        except CommandEndedError:
            # What ended may have said why: its greeting is read first.
            self.greet()
            raise

    def answers(
        self, requests: Sequence[Outgoing], on_event: Callable[[Fields], None] = lambda _: None
    ) -> Iterator[Answer | RefusedError]:
        """Yield the answers to requests that were sent off, as they come.

        Raises:
            HostError, UnreachableError: as `ask` raises.
        """
        if self._greeting is None:
            self._meet(requests)
        for _ in requests:
            yield self._answer(on_event)

    def _meet(self, asked: Sequence[Outgoing]) -> _Greeting:
        """Read the greeting; what was `asked` already is asked again behind an agent that has to be sent."""
        try:
            word = self._word()
            if word == "send":
                self._trace(f"> agent, {len(agent_zip())} bytes")
                with suppress(CommandEndedError):  # it says why before it ends
                    # On a line of its own, whatever went out before it.
                    self._channel.write(b"\n%s\n" % MARK + agent_zip())
                    self._write(asked)
                word = self._word()
        except CommandEndedError as error:
            raise self._no_agent(error) from error
        if word.startswith("old"):
            raise HostError(
                "the device's Python is too old",
                where=self._host,
                expected="3.7 or later",
                found=word[4:],
                hint="set ansible_python_interpreter to a newer one",
            )
        if word.startswith("restricted"):
            raise self._restricted(*word.split(" ")[1:3])
        if word.startswith("refused"):
            raise HostError(
                "the agent cannot be stored on the device",
                where=self._host,
                expected=f"a folder that this user may write, with room for {len(agent_zip())} bytes",
                found=word[8:],
            )
        hello = self._line()
        if hello.get("hello") != PROTOCOL_VERSION:
            raise HostError("what answers is no agent of this version", where=self._host)
        self._greeting = _Greeting(
            root=text(hello, "root", self._host), nonce=str(hello.get("nonce", ""))[:64]
        )
        return self._greeting

    def _write(self, requests: Sequence[Outgoing]) -> None:
        """Send requests; those without bytes along in one piece."""
        waiting = b""
        for request in requests:
            said = {"op": request.op, **request.fields}
            if request.then:
                said["then"] = True
            if request.along is not None:
                said["follows"] = request.length
            line = json.dumps(said)
            self._trace(f"> {line[:200]}")
            waiting += line.encode() + b"\n"
            if request.along is not None:
                self._channel.write(waiting)
                waiting = b""
                self.send(request.along())
        if waiting:
            self._channel.write(waiting)

    def _answer(self, on_event: Callable[[Fields], None]) -> Answer | RefusedError:
        while True:
            line = self._line()
            if "event" in line:
                if line["event"] == "waiting":
                    self._channel.write(_HERE)
                on_event(line)
                continue
            self._trace(f"< {json.dumps(line)[:200]}")
            if "error" in line:
                return RefusedError(
                    str(line["error"])[:40],
                    str(line.get("message", ""))[:2000],
                    where=self._host,
                    fields=line,
                )
            if line.get("ok") is not True:
                raise HostError(
                    "the device answers what is no answer", where=self._host, found=str(line)[:200]
                )
            count = number(line, "body", self._host, most=MAX_BODY) if "body" in line else 0
            return Answer(fields=line, body=self._channel.read_exactly(count) if count else b"")

    def send(self, chunks: Iterable[bytes]) -> None:
        """Send raw bytes behind a request."""
        for chunk in chunks:
            self._channel.write(chunk)

    def close(self) -> None:
        """End the dialogue; the agent ends with it."""
        self._channel.close()

    def _word(self) -> str:
        """Skip what a login shell prints and return what follows the mark."""
        skipped = 0
        while skipped <= MAX_GREETING:
            line = self._channel.read_line(MAX_GREETING)
            if line.startswith(MARK + b" "):
                return line[len(MARK) + 1 :].decode("utf-8", "replace")
            skipped += len(line) + 1
        raise HostError(
            "the login shell prints without end before the agent can speak",
            where=self._host,
            hint="silence its start-up files for non-interactive shells",
        )

    def _restricted(self, why: str = "", found: str = "") -> HostError:
        """Return why the door of a restricted key does not let this `ota` in."""
        if why == "agent":
            return HostError(
                "this key is restricted to the agent of another version of ota",
                where=self._host,
                expected=f"agent {Digest.of(agent_zip()).short}",
                found=found[:12],
                hint="sign in with a key that is not restricted: ota provision --restrict --controller-key THIS_KEY.pub "
                "-e ansible_ssh_private_key_file=OTHER_KEY",
            )
        problem = {
            "root": "this key is restricted to other folders than this ota_root",
            "user": "this key is restricted to an agent that works as another user",
        }.get(why, "this key is restricted")
        return HostError(
            problem,
            where=self._host,
            hint="use the inventory and playbook that it was restricted with, or restrict it anew with another key: ota provision --restrict",
        )

    def _line(self) -> dict[str, Json]:
        line = self._channel.read_line(MAX_LINE)
        try:
            parsed = json.loads(line)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            found = line[:200].decode("utf-8", "replace")
            raise HostError("the device answers what is no answer", where=self._host, found=repr(found))
        return parsed

    def _no_agent(self, error: CommandEndedError) -> HostError:
        said = self._channel.stderr().strip().splitlines()
        if error.exit_code_of_command == _NO_COMMAND:
            return HostError(
                f"there is no {self._python} on the device",
                where=self._host,
                hint="install python3 there, or set ansible_python_interpreter to its path",
            )
        return HostError(
            "the agent does not start", where=self._host, found=said[-1] if said else error.problem
        )


def text(fields: Fields, name: str, host: str, *, most: int = 4096) -> str:
    """Return a field that must be text of at most `most` characters; HostError otherwise."""
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise _unexpected(host, name, "text", value)
    return value


def optional_text(fields: Fields, name: str, host: str) -> str | None:
    """Return a field that must be text or null; HostError otherwise."""
    return None if fields.get(name) is None else text(fields, name, host)


def number(fields: Fields, name: str, host: str, *, most: int = 1 << 62) -> int:
    """Return a field that must be a whole number from 0 to `most`; HostError otherwise."""
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise _unexpected(host, name, f"a whole number from 0 to {most}", value)
    return value


def numbers(fields: Fields, name: str, host: str, *, most: int = 1 << 62) -> tuple[int, ...]:
    """Return a field that must be a list of whole numbers from 0 to `most`; HostError otherwise."""
    value = fields.get(name)
    if not isinstance(value, list):
        raise _unexpected(host, name, "a list of numbers", value)
    for entry in value:
        if not isinstance(entry, int) or isinstance(entry, bool) or not 0 <= entry <= most:
            raise _unexpected(host, name, f"whole numbers from 0 to {most}", entry)
    return tuple(entry for entry in value if isinstance(entry, int))


def records(fields: Fields, name: str, host: str) -> tuple[Fields, ...]:
    """Return a field that must be a list of objects; HostError otherwise."""
    value = fields.get(name)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise _unexpected(host, name, "a list of objects", value)
    return tuple(entry for entry in value if isinstance(entry, dict))


def _unexpected(host: str, name: str, expected: str, found: Json) -> HostError:
    return HostError(
        f"the device answers a wrong '{name}'", where=host, expected=expected, found=repr(found)[:100]
    )

"""One line of JSON each way, raw bytes in between; `ota/core/protocol.py` describes the words."""

from __future__ import annotations

import json
import select
import sys
from typing import Any, BinaryIO, Dict, Iterator, Optional

PROTOCOL_VERSION = 1
MAX_LINE = 4 * 1024 * 1024
_CHUNK = 1024 * 1024

HERE = {"op": "here"}
"""What the controller says while it waits: it is there. No answer is expected."""

Request = Dict[str, Any]


class RefusedError(Exception):
    """A request that is not carried out: a code for the controller and a sentence for a person."""

    def __init__(self, code: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fields = fields


class Dialogue:
    """The agent's end; the controller has gone when `request` returns None."""

    def __init__(self, source: Optional[BinaryIO] = None, sink: Optional[BinaryIO] = None) -> None:
        self._source: Any = source or sys.stdin.buffer
        self._sink = sink or sys.stdout.buffer
        self._rest = b""
        self._along = 0

    def request(self) -> Optional[Request]:
        """Return the next request, None at the end; words that only say that the controller is there are passed over."""
        while True:
            while b"\n" not in self._rest:
                if len(self._rest) >= MAX_LINE or not self._more():
                    return None
            line, _, self._rest = self._rest.partition(b"\n")
            request: Request = json.loads(line.decode("utf-8"))
            if request != HERE:
                self._along = _follows(request)
                return request

    def expect(self, request: Request, start: int, count: int, form: Optional[int]) -> None:
        """See that what came along with a request, where something did, are `count` bytes of a file, or of that form of it, from `start`.

        Raises:
            RefusedError: `unsent`; they are others. Nothing can be asked for then: further requests may have come behind them.
        """
        if "follows" in request and (start, count, form) != (0, self._along, request.get("form")):
            raise RefusedError("unsent", "what came along with the request is not what is missing here")

    def ask_for(self, request: Request, start: int, form: Optional[int]) -> None:
        """Ask for the bytes of a file, or of that form of it, from `start`, unless they came along with the request."""
        if "follows" not in request:
            self.event(event="send", start=start, **({} if form is None else {"form": form}))

    def drop(self) -> None:
        """Pass over what came along with the request and nobody took."""
        for _ in self.body(self._along):
            pass

    def body(self, count: int) -> Iterator[bytes]:
        """Yield `count` raw bytes in chunks; EOFError when the controller goes before."""
        while count:
            if not self._rest and not self._more():
                raise EOFError
            chunk, self._rest = self._rest[:count], self._rest[count:]
            count -= len(chunk)
            self._along = max(0, self._along - len(chunk))
            yield chunk

    def heard(self) -> bool:
        """Say whether the controller said anything since it was last read, without waiting for it; EOFError where it has gone.

        What it said is kept for whoever reads next.
        """
        came = False
        while len(self._rest) < MAX_LINE and select.select([self._source], [], [], 0)[0]:
            if not self._more():
                raise EOFError
            came = True
        return came

    def _more(self) -> bool:
        chunk = self._source.read1(_CHUNK)
        self._rest += chunk
        return bool(chunk)

    def event(self, **fields: Any) -> None:
        """Tell the controller something before the answer."""
        self._line(fields)

    def answer(self, fields: Any, body: bytes = b"") -> None:
        """Answer the request, with raw bytes behind the line where there are any."""
        fields = dict(fields, ok=True)
        if body:
            fields["body"] = len(body)
        self._line(fields, body)

    def refuse(self, code: str, message: str, **fields: Any) -> None:
        """Answer that the request was not carried out."""
        self._line(dict(fields, error=code, message=message))

    def _line(self, fields: Any, body: bytes = b"") -> None:
        self._sink.write(json.dumps(fields).encode("utf-8") + b"\n")
        if body:
            self._sink.write(body)
        self._sink.flush()


def _follows(request: Any) -> int:
    """Return how many raw bytes come behind a request; ValueError where it says what is no number."""
    count = request.get("follows") if isinstance(request, dict) else None
    if count is None:
        return 0
    if type(count) is not int or count < 0:
        raise ValueError("no number of bytes: %r" % (count,))
    return count

"""The words between the controller and the agent, and their version.

A message is one line of JSON, at most MAX_LINE bytes; its field `body`, where present, counts the raw bytes that follow it. The controller sends
requests (`op`); the agent answers each with any number of `{"event": ...}` lines and then one final line: `{"ok": true, ...}`
or `{"error": CODE, "message": ...}`. Requests may be sent before the answers to those before them: one with `"then": true` is carried out only where
the one before it was, else it is refused as `skipped`. A request's field `follows` counts raw bytes behind its line: of a `put` they are the file, from its beginning,
or its encoding number `form`; without them the agent asks for what it lacks by `{"event": "send", "start": ...}`. What was sent unasked and does not
fit is passed over and refused as `unsent`. The agent holds the same numbers in `ota/agent/`; a test compares them.
"""

from __future__ import annotations

from enum import Enum

PROTOCOL_VERSION = 1
MAX_LINE = 4 * 1024 * 1024
MAX_BODY = 1024 * 1024 * 1024


class BlobKind(Enum):
    """Where on the device a blob is kept, by digest, under ota_root."""

    DATASET = "datasets"
    CANDIDATE = "candidates"
    ARTIFACT = "artifacts"
    WHEEL = "wheels"

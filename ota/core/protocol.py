"""The words between the controller and the agent, and their version.

A message is one line of JSON, at most MAX_LINE bytes; its field `body`, where present, counts the raw bytes that follow it. The controller sends
requests (`op`); the agent answers each with any number of `{"event": ...}` lines and then one final line: `{"ok": true, ...}`
or `{"error": CODE, "message": ...}`. The agent holds the same numbers in `ota/agent/`; a test compares them.
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

"""What a release key signs so that a device activates something: one operation, one release, one root, one session."""

from __future__ import annotations

import json
from collections.abc import Callable

Authority = Callable[[bytes], tuple[tuple[str, str], ...]]
"""Signs an order; returns (name, armored)."""


def order_text(operation: str, release: str, *, root: str, nonce: str) -> str:
    """Return the canonical text of an order; `nonce` is the session's, as the device told it."""
    content = {"format": 1, "nonce": nonce, "operation": operation, "release": release, "root": root}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))

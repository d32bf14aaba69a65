"""Orders: what a key of the keyring has to say before this device activates a release, good for one session and used once.

Invariants: no clock is needed, for the nonce is the device's own; a device without a keyring asks for no order; going back by itself needs none.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict

from . import trust
from .dialogue import RefusedError


class Session:
    """What ties orders to one session: a nonce, told in the agent's greeting."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._used = False
        self.nonce = os.urandom(16).hex()

    def require(self, operation: str, release: str, order: Any) -> None:
        """See that one key of the keyring ordered just this, here and in this session: `order` is {text, signatures}.

        Raises:
            RefusedError: `unordered`, `replayed`, `other_order`, and what `trust.require` raises.
        """
        keyring = trust.load(self._root)
        if keyring is None:
            return
        text = order.get("text") if isinstance(order, dict) else None
        if not isinstance(text, str):
            raise RefusedError(
                "unordered",
                "expected a signed order to %s %s, found none; run ota %s with a release key at hand (--keys)"
                % (operation, release, "rollback" if operation == "rollback" else "deploy"),
            )
        signatures = order.get("signatures")
        trust.require(trust.ORDER_NAMESPACE, text.encode("utf-8"), signatures, keyring, threshold=1)
        said = _said(text)
        if said.get("nonce") != self.nonce or self._used:
            raise RefusedError(
                "replayed",
                "expected an order of this session, found one of another or one used before; run the command again",
            )
        wanted = {"format": 1, "nonce": self.nonce, "operation": operation, "release": release}
        if said != dict(wanted, root=self._root):
            raise RefusedError(
                "other_order",
                "expected an order to %s %s in %s, found %s %s in %s; run the command again"
                % (
                    operation,
                    release,
                    self._root,
                    said.get("operation"),
                    said.get("release"),
                    said.get("root"),
                ),
            )
        self._used = True


def _said(text: str) -> Dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}

"""Whether a release may run on this device: signed by whom it trusts, made for a processor like this one, and no older than what ran here before.

Without a keyring nobody vouches for a manifest's counter: then it does not count.
"""

from __future__ import annotations

import platform
from typing import Any, Optional

from . import journal, releases, trust
from .dialogue import RefusedError


def admit(root: str, release: str, manifest: str, signatures: Any, machine: Optional[str] = None) -> None:
    """See that a release may run here, on a `machine` as `uname -m` prints it, this one unless said.

    A release that was confirmed here may come back, however old.

    Raises:
        RefusedError: `incompatible`, `older`; `manifest` where it cannot be read; and what `trust.authorise` raises.
    """
    trust.authorise(root, manifest, signatures)
    content = releases.read_manifest(manifest)
    here, compatible = machine or platform.machine(), content.get("compatible", [])
    if compatible and here not in compatible:
        raise RefusedError(
            "incompatible",
            "release %s is for %s, this device is %s; select with a device like it, or deploy a file with --model"
            % (release, ", ".join(compatible), here),
        )
    if trust.load(root) is None or release in journal.confirmed(root):
        return
    counter, newest = content.get("counter", 0), journal.newest(root)
    if counter < newest:
        raise RefusedError(
            "older",
            "release %s has the counter %d, and one of %d was confirmed here; `ota deploy --reissue` signs it as the newest"
            % (release, counter, newest),
        )

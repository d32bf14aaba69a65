"""Whether a release may run on this device: signed by whom it trusts, made for a processor like this one, and no older than what ran here before.

Without a keyring nobody vouches for a manifest's counter: then it does not count.
"""

from __future__ import annotations

import platform
from typing import Any, Optional

from . import journal, releases, trial, trust
from .dialogue import RefusedError


def admit(
    root: str, release: str, manifest: str, signatures: Any, machine: Optional[str] = None, back: bool = False
) -> None:
    """See that a release may run here, on a `machine` as `uname -m` prints it, this one unless said.

    A release that was confirmed here may come back, however old; so may another where its order says that it is a way `back`.

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
    if back or trust.load(root) is None or release in journal.confirmed(root):
        return
    counter, newest = content.get("counter", 0), _newest(root)
    if counter < newest:
        raise RefusedError(
            "older",
            "release %s has the counter %d, and one of %d was confirmed here; `ota deploy --reissue` signs it as the newest"
            % (release, counter, newest),
        )


def counter_of(root: str, release: str) -> int:
    """Return the counter of a release that is here, 0 where it has none or no keyring vouches for it."""
    return int(releases.manifest_of(root, release).get("counter", 0)) if trust.version(root) else 0


def _newest(root: str) -> int:
    """Return the highest counter that was confirmed here; a power cut may have cost the journal the line of the current release."""
    current = releases.current_of(root)
    if current is None or trial.read(root) is not None:
        return journal.newest(root)
    try:
        trust.authorise(root, *releases.signed(root, current))
    except RefusedError:
        # It came before the keyring, or its keys went since: nobody vouches for what it says.
        return journal.newest(root)
    return max(journal.newest(root), counter_of(root, current))

"""Whether a release may run on this device: signed by whom it trusts, made for a device like this one, and no older than what ran here before.

Without a keyring nobody vouches for a manifest's counter: then it does not count.
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict

from . import journal, releases, trial, trust
from .dialogue import RefusedError

_REVISION = re.compile(r" Rev [0-9.]+\Z")


def admit(root: str, release: str, manifest: str, signatures: Any, back: bool = False) -> None:
    """See that a release may run here.

    A release that was confirmed here may come back, however old; so may another where its order says that it is a way `back`.

    Raises:
        RefusedError: `incompatible`, `older`; `manifest` where it cannot be read; and what `trust.authorise` raises.
    """
    trust.authorise(root, manifest, signatures)
    content = releases.read_manifest(manifest)
    refuse_incompatible(release, content, os.uname().machine, _model() if content.get("boards") else "")
    if back or trust.load(root) is None or release in journal.confirmed(root):
        return
    counter, newest = content.get("counter", 0), _newest(root)
    if counter < newest:
        raise RefusedError(
            "older",
            "release %s has the counter %d, and one of %d was confirmed here; `ota deploy --reissue` signs it as the newest"
            % (release, counter, newest),
        )


def refuse_incompatible(release: str, content: Dict[str, Any], machine: str, model: str) -> None:
    """See that a manifest is for a device of this `machine`, as `uname -m` prints it, and of this `model`; one that names neither is for all."""
    compatible, boards = content.get("compatible", []), content.get("boards", [])
    if compatible and machine not in compatible:
        raise RefusedError(
            "incompatible",
            "release %s is for %s, this device is %s; select with a device like it, or deploy a file with --model"
            % (release, ", ".join(compatible), machine),
        )
    if boards and _kind(model) not in map(_kind, boards):
        raise RefusedError(
            "incompatible",
            "release %s was measured on %s, this device is %s; select with a device like it, or let it go to all with ota deploy --any-board"
            % (release, ", ".join(boards), model or "of no model that it tells"),
        )


def _model() -> str:
    from . import facts

    return facts.model()


def _kind(model: str) -> str:
    """Return a board's model without its revision: one that is replaced by a later one is a board of the same kind."""
    return _REVISION.sub("", model)


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

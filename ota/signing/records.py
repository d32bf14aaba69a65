"""The signatures of records that the project keeps, such as selections, held against its keyrings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ota.core.keyring import SELECTION_NAMESPACE, Keyring
from ota.core.vouched import Vouched, Worth
from ota.signing.keys import signed_by


def vouched(record: bytes, signatures: Iterable[tuple[str, str]], keyrings: Sequence[Keyring]) -> Vouched:
    """Return what the signatures, (name, armored), of a selection's record are worth under the project's keyrings, the oldest first.

    A signature under a name that no keyring knows counts for nothing.
    """
    given = tuple(signatures)
    for keyring in reversed(keyrings):
        good = signed_by(keyring, SELECTION_NAMESPACE, record, given)
        if good:
            worth = Worth.SIGNED if keyring == keyrings[-1] else Worth.FORMER
            return Vouched(worth=worth, keys=good)
    known = {key.name for keyring in keyrings for key in keyring.keys}
    claimed = tuple(sorted({name for name, _ in given} & known))
    return Vouched(worth=Worth.CHANGED, keys=claimed) if claimed else Vouched(worth=Worth.UNSIGNED)

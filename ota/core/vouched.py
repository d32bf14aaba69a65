"""Whether somebody vouches for a record that the project keeps: what its signatures are worth under the project's keyrings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Worth(Enum):
    """What the signatures of a record are worth; `former`: good, by keys that are in the newest keyring no longer; `changed`: by keys of the project, over other content."""

    SIGNED = "signed"
    FORMER = "former"
    UNSIGNED = "unsigned"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """What the signatures of a record are worth, and by whose keys, sorted."""

    worth: Worth
    keys: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What there is to say of a record, without its subject."""
        names = ", ".join(self.keys)
        return {
            Worth.SIGNED: f"signed by {names}",
            Worth.FORMER: f"signed by {names}, in the newest keyring no longer",
            Worth.UNSIGNED: "not signed",
            Worth.CHANGED: f"changed after it was signed by {names}",
        }[self.worth]

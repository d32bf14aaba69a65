"""What a device is asked and answers when a key is limited to its agent."""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.restriction import Restriction, Scope
from ota.remote.bootstrap import start_digest
from ota.remote.dialogue import Fields, Json, number, text

_MOST_LINE = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A key (kind and base64) and what it is limited to; `in_use` says that it let this connection in, `become` whom the agent works as."""

    key: str
    in_use: bool
    become: str | None
    scopes: tuple[Scope, ...]

    @property
    def fields(self) -> Fields:
        """The limit as a request has it."""
        roots: list[Json] = [{"root": scope.root, "commands": list(scope.commands)} for scope in self.scopes]
        return {
            "key": self.key,
            "in_use": self.in_use,
            "become": self.become,
            "roots": roots,
            "start": start_digest().hex,
        }


def restriction_of(fields: Fields, host: str) -> Restriction:
    """Return what a device answers; HostError where it is no such answer."""
    replaced = fields.get("replaced")
    return Restriction(
        file=text(fields, "file", host),
        line=text(fields, "line", host, most=_MOST_LINE),
        sudoers=text(fields, "sudoers", host, most=_MOST_LINE),
        loose=text(fields, "loose", host),
        others=number(fields, "others", host),
        replaced=tuple(str(one)[:200] for one in replaced) if isinstance(replaced, list) else (),
        changed=fields.get("changed") is True,
    )

"""Ansible's host patterns: how a pattern is cut into terms, and what one term matches.

Rules: commas separate terms; without a comma, colons and blanks do, unless the whole text is an address. Order never matters: first
every plain term, then every `&`, then every `!`; where no plain term stands, `all` does. A term may end in a subscript, inclusive at both
ends. A term that matches nothing is an error here, where Ansible only warns: a typing slip must not change who is updated.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ota.core.addresses import split_port
from ota.errors import UsageError

_TERM = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
_SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]+)|([0-9]+)[:-]([0-9]*))\]", re.DOTALL)
_OPEN_START = re.compile(r".+\[:-?[0-9]+\]", re.DOTALL)
_WILD = frozenset(".?*[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscript:
    """A choice among the hosts that a term matched: one `index`, or from `start` to `end` (None: the last), both included."""

    index: int | None = None
    start: int = 0
    end: int | None = None

    def pick(self, names: Sequence[str], term: str) -> tuple[str, ...]:
        """Return the chosen names.

        Raises:
            UsageError: there are too few hosts for a single index.
        """
        if not names:
            return ()
        index = self.start if self.end == 0 else self.index
        if index is None:
            return tuple(names[self.start : None if self.end is None else self.end + 1])
        if not -len(names) <= index < len(names):
            raise UsageError(
                f"the pattern {term!r} asks for a host that is not there", found=_count(len(names))
            )
        return (names[index],)


def split_pattern(pattern: str) -> tuple[str, ...]:
    """Return the terms of a pattern, trimmed, empty ones dropped."""
    if "," in pattern:
        parts = pattern.split(",")
    elif split_port(pattern) is not None:
        parts = [pattern]
    else:
        parts = _TERM.findall(pattern)
    return tuple(part.strip() for part in parts if part.strip())


def ordered_terms(terms: Iterable[str]) -> tuple[str, ...]:
    """Return the terms as they are applied: plain ones (or `all`), then `&`, then `!`."""
    given = tuple(terms)
    plain = tuple(term for term in given if term[0] not in "&!")
    both = tuple(term for term in given if term[0] == "&")
    never = tuple(term for term in given if term[0] == "!")
    return (plain or ("all",)) + both + never


def split_subscript(expression: str) -> tuple[str, Subscript | None]:
    """Return the expression without its subscript, and the subscript; a regular expression (`~`) has none."""
    found = None if expression.startswith("~") else _SUBSCRIPT.fullmatch(expression)
    if not found:
        return expression, None
    rest, index, start, end = found.groups()
    if index:
        return rest, Subscript(index=int(index))
    return rest, Subscript(start=int(start), end=int(end) if end else None)


def matcher(expression: str) -> re.Pattern[str]:
    """Return what matches the names of a term without subscript: a regular expression after `~`, else a glob over the whole name.

    Raises:
        UsageError: the regular expression is malformed.
    """
    try:
        return re.compile(expression[1:] if expression.startswith("~") else fnmatch.translate(expression))
    except re.error as error:
        raise UsageError(
            f"the pattern {expression!r} is not a regular expression",
            found=f"{error.msg} at position {error.pos}",
        ) from error


def looks_at_hosts(expression: str) -> bool:
    """Say whether a term tests the names of hosts even where it matched a group."""
    return expression.startswith("~") or not _WILD.isdisjoint(expression)


def unmatched(term: str, known: Iterable[str]) -> UsageError:
    """Return the error for a term that matches no host and no group, with a guess among the known names."""
    if _OPEN_START.fullmatch(term):
        hint = "write the first index too: [0:1] takes the first two hosts"
    else:
        guess = get_close_matches(term.lstrip("&!"), sorted(known), n=1)
        hint = f"did you mean {guess[0]!r}? " if guess else ""
        hint += "`ota inventory --graph` shows every name; --allow-unmatched passes over such terms"
    return UsageError(f"the pattern {term!r} matches no host and no group", hint=hint)


def _count(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"

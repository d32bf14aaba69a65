"""What a host's name in an inventory may look like: an address with a port, and ranges that stand for many names.

Rules: a name is an IPv4 or IPv6 address or a host name of word characters, hyphens and dots; a range `[start:end:step]` may
stand in place of any part; a port follows a colon, after square brackets where the name is an IPv6 address. Text that is no
such address is a name all the same, without a port.
"""

from __future__ import annotations

import re
from itertools import product
from string import ascii_letters

HOSTS_PER_RANGE = 65_536

_NUMBERS = r"\[[0-9]+:[0-9]+(?::[0-9]+)?\]"
_LETTERS = r"\[[a-z]:[a-z](?::[0-9]+)?\]"
_OCTET = rf"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{{1,2}}|{_NUMBERS})"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_GROUP = r"(?:[0-9a-f]{1,4}|\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\])"
_GROUPS = re.compile(rf"{_GROUP}(?::{_GROUP})*", re.IGNORECASE)
_ONE_GROUP = re.compile(_GROUP, re.IGNORECASE)
_IPV4_IN_IPV6 = re.compile(
    rf"(?:(?:0:){{6}}|::(?:ffff:)?|(?:0:){{5}}ffff:){_GROUP}(?:\.{_GROUP}){{3}}", re.IGNORECASE
)
_PIECE = rf"(?:\w|{_NUMBERS}|{_LETTERS})"
_LABEL = rf"{_PIECE}(?:{_PIECE}|-)*(?<![-_])"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_BRACKETED_PORT = re.compile(r"\[(.+)\]:([0-9]+)")
_PLAIN_PORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)")


class NameFormatError(ValueError):
    """A range in a host's name cannot be read; the message says what is wrong with it."""


def split_port(text: str) -> tuple[str, int | None] | None:
    """Return the name and the port (None where there is none) of an address, or None where `text` is no address."""
    port: int | None = None
    for form in (_BRACKETED_PORT, _PLAIN_PORT):
        found = form.fullmatch(text)
        if found:
            text, port = found[1], int(found[2])
    if _IPV4.fullmatch(text) or _is_ipv6(text) or _HOST_NAME.fullmatch(text):
        return text, port
    return None


def is_ip_address(text: str) -> bool:
    """Say whether a name is an IPv4 or IPv6 address, or a range of them."""
    return bool(_IPV4.fullmatch(text)) or _is_ipv6(text)


def _is_ipv6(text: str) -> bool:
    if _IPV4_IN_IPV6.fullmatch(text):
        return True
    left, gap, right = text.partition("::")
    if any(part and not _GROUPS.fullmatch(part) for part in (left, right)):
        return False
    before, after = (len(_ONE_GROUP.findall(part)) for part in (left, right))
    if not gap:
        return before == 8
    return before <= 6 and after <= 6 and before + after <= 7


def expand_name(text: str) -> tuple[tuple[str, ...], int | None]:
    """Return the host names that a key of `hosts` stands for, in order, and their port.

    Raises:
        NameFormatError: a range is malformed, runs backwards or stands for too many names.
    """
    name, port = split_port(text) or (text, None)
    fixed: list[str] = []
    choices: list[tuple[str, ...]] = []
    total = 1
    while "[" in name:
        head, _, rest = name.partition("[")
        inside, bracket, name = rest.partition("]")
        if not bracket or "]" in head:
            raise NameFormatError(f"the square brackets of {text!r} do not match")
        fixed.append(head)
        choices.append(_expand_range(inside))
        total *= len(choices[-1])
        if total > HOSTS_PER_RANGE:
            raise NameFormatError(f"{text!r} stands for more than {HOSTS_PER_RANGE} hosts")
    return tuple(
        "".join(head + value for head, value in zip(fixed, values, strict=True)) + name
        for values in product(*choices)
    ), port


def _expand_range(inside: str) -> tuple[str, ...]:
    bounds = inside.split(":")
    if len(bounds) not in {2, 3}:
        raise NameFormatError(f"the range [{inside}] is not [start:end] or [start:end:step]")
    start, end = bounds[0] or "0", bounds[1]
    step_text = bounds[2] if len(bounds) == 3 else "1"
    if not end:
        raise NameFormatError(f"the range [{inside}] has no end; an end is never implied")
    if not _is_number(step_text) or int(step_text) == 0:
        raise NameFormatError(f"the step of the range [{inside}] is not a number from 1")
    step = int(step_text)
    if _is_letter(start) and _is_letter(end):
        values = tuple(ascii_letters[ascii_letters.index(start) : ascii_letters.index(end) + 1 : step])
    elif _is_number(start) and _is_number(end):
        values = _numbers(start, end, step, inside)
    else:
        raise NameFormatError(
            f"the ends of the range [{inside}] are neither two numbers nor two single letters"
        )
    if not values:
        raise NameFormatError(f"the range [{inside}] runs backwards and stands for no host")
    return values


def _numbers(start: str, end: str, step: int, inside: str) -> tuple[str, ...]:
    width = len(start) if start[0] == "0" and len(start) > 1 else 0
    if width and width != len(end):
        raise NameFormatError(f"the range [{inside}] begins with a zero, so both ends need the same length")
    if max(len(start), len(end)) > 18 or (int(end) - int(start)) // step >= HOSTS_PER_RANGE:
        raise NameFormatError(f"the range [{inside}] stands for more than {HOSTS_PER_RANGE} hosts")
    return tuple(str(number).zfill(width) for number in range(int(start), int(end) + 1, step))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_letter(text: str) -> bool:
    return len(text) == 1 and text in ascii_letters

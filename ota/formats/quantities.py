"""Numbers as people write them in a playbook: sizes, times, percentages, fractions."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import Annotated, TypeGuard

from pydantic import BeforeValidator

_SIZES = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_TIMES = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)\s*([A-Za-z%]*)\s*", re.ASCII)


def size(value: object) -> int:
    """Return bytes from a number, or from text such as `3 MB` or `900 KiB`; ValueError in words otherwise."""
    number, unit = _split(value, "a size such as 900 KiB or 3 MB")
    factor = _SIZES.get(unit.lower())
    if factor is None or not math.isfinite(number * factor):
        raise ValueError(f"expected a size such as 900 KiB or 3 MB, found {value!r}")
    return round(number * factor)


def seconds(value: object) -> float:
    """Return seconds from a number, or from text such as `500ms`, `30s` or `2m`; ValueError in words otherwise."""
    number, unit = _split(value, "a time such as 30s or 2m")
    factor = _TIMES.get(unit)
    if factor is None:
        raise ValueError(f"expected a time such as 30s or 2m, found {value!r}")
    return number * factor


def share(value: object) -> float:
    """Return a share from a number (0.02) or a percentage (`2%`); ValueError in words otherwise."""
    number, unit = _split(value, "a share such as 0.02 or 2%")
    if unit not in {"", "%"}:
        raise ValueError(f"expected a share such as 0.02 or 2%, found {value!r}")
    return number / 100 if unit else number


def percentage(value: object) -> float:
    """Return a percentage from a number (30) or text (`30%`), 0 to 100; ValueError in words otherwise."""
    number, unit = _split(value, "a percentage such as 30 or 30%")
    if unit not in {"", "%"} or number > 100:
        raise ValueError(f"expected a percentage from 0 to 100, found {value!r}")
    return number


def factor(value: object) -> float:
    """Return a number, or a fraction written out such as `1/127.5`; ValueError in words otherwise."""
    if isinstance(value, str):
        from fractions import Fraction  # noqa: PLC0415 - with decimal, for those alone who write one

        above, _, below = value.partition("/")
        with suppress(ValueError, ZeroDivisionError, OverflowError):
            return float(Fraction(above.strip()) / Fraction(below.strip() or "1"))
    elif _is_finite(value):
        return float(value)
    raise ValueError(f"expected a number or a fraction such as 1/127.5, found {value!r}")


def factors(value: object) -> tuple[float, ...]:
    """Return one number, or a list of them, one for each channel; ValueError in words otherwise."""
    return tuple(factor(one) for one in value) if isinstance(value, list) else (factor(value),)


def _split(value: object, expected: str) -> tuple[float, str]:
    if _is_finite(value) and value >= 0:
        return float(value), ""
    matched = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if matched is None or not _is_finite(float(matched[1])):
        raise ValueError(f"expected {expected}, found {value!r}")
    return float(matched[1]), matched[2]


def _is_finite(value: object) -> TypeGuard[int | float]:
    """Say whether a value is a number that can be reckoned with."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    with suppress(OverflowError):
        return math.isfinite(value)
    return False


Size = Annotated[int, BeforeValidator(size)]
Seconds = Annotated[float, BeforeValidator(seconds)]
Share = Annotated[float, BeforeValidator(share)]
Percentage = Annotated[float, BeforeValidator(percentage)]
Factors = Annotated[tuple[float, ...], BeforeValidator(factors)]

"""Core values to JSON and back, by their own types: frozen dataclasses, tuples, enums, digests, paths and plain values, and nothing else.

What comes back is checked against the types, so a record of another shape is an error and never a value of a wrong type. A field that has a default may be
missing: records that were kept before there was one are still read.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path, PurePath
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class RecordError(ValueError):
    """A record does not have the shape that its type says."""


def to_plain(value: object) -> Any:
    """Return `value` as what JSON can hold."""
    kind: Any = type(value)
    names = _names(kind)
    if names is not None:
        return {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [to_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a record cannot hold {type(value).__name__}")


def from_plain(kind: type[T], plain: object) -> T:
    """Return the `kind` that `plain` describes.

    Raises:
        RecordError: it describes none.
    """
    value: T = _read(kind, plain)
    return value


def _read(kind: Any, plain: object) -> Any:
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return _read_union(get_args(kind), plain)
    if origin is tuple:
        return _read_tuple(get_args(kind), plain)
    if is_dataclass(kind):
        return _read_record(kind, plain)
    return _read_scalar(kind, plain)


def _read_scalar(kind: Any, plain: object) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(plain)
        except ValueError as error:
            raise RecordError(str(error)) from error
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    if kind is PurePath and isinstance(plain, str):
        return Path(plain)
    if isinstance(kind, type) and type(plain) is kind:
        return plain
    raise RecordError(f"expected {kind}, found {plain!r}"[:200])


def _read_union(options: tuple[Any, ...], plain: object) -> Any:
    if plain is None and type(None) in options:
        return None
    (kind,) = (option for option in options if option is not type(None))
    return _read(kind, plain)


def _read_tuple(items: tuple[Any, ...], plain: object) -> tuple[Any, ...]:
    if not isinstance(plain, list):
        raise RecordError(f"expected a list, found {plain!r}"[:200])
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_read(items[0], one) for one in plain)
    if len(items) != len(plain):
        raise RecordError(f"expected {len(items)} values, found {len(plain)}")
    return tuple(_read(kind, one) for kind, one in zip(items, plain, strict=True))


def _read_record(kind: Any, plain: object) -> Any:
    hints = _hints(kind)
    if not isinstance(plain, Mapping) or not set(plain) <= set(hints) or not _needed(kind) <= set(plain):
        raise RecordError(f"expected the fields of {kind.__name__}, found {plain!r}"[:200])
    try:
        return kind(**{name: _read(hints[name], one) for name, one in plain.items()})
    except RecordError:
        raise
    except ValueError as error:
        raise RecordError(str(error)) from error


@cache
def _names(kind: Any) -> tuple[str, ...] | None:
    """Return the fields of a record, None where it is none."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


@cache
def _needed(kind: Any) -> frozenset[str]:
    return frozenset(
        field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING
    )

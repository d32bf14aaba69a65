"""How a candidate's file came to be and what it needs, as the sample log keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import Enum

from ota.core.graph import Graph, OperatorUse
from ota.core.samples import Origin
from ota.core.scheme import SourceKind, Tool, scheme_named
from ota.quantize.recipe import RECIPES
from ota.quantize.rules import RULES

HANDED_IN = "handed in"
"""The tool of a file that nothing was made of."""


def origin_of(scheme: str, graph: Graph, source: SourceKind) -> Origin:
    """Return the origin of the file that `scheme` made of a source of that kind; `graph` is the file's."""
    tool, recipe = _told(scheme, source)
    return Origin(
        scheme=scheme, tool=tool, recipe=recipe, operators=tuple(_words(use) for use in graph.operators)
    )


def _told(scheme: str, source: SourceKind) -> tuple[str, str]:
    """Return which tool made the file and what it was told; a .tflite that was handed in is no converter's work."""
    if scheme in RULES:
        settings, tool = asdict(RULES[scheme]), Tool.QUANTIZER
    elif scheme in RECIPES and source is not SourceKind.TFLITE:
        settings, tool = asdict(RECIPES[scheme]), scheme_named(scheme).tool
    else:
        return HANDED_IN, "{}"
    return tool.value, json.dumps(settings, sort_keys=True, separators=(",", ":"), default=_name)


def _name(value: object) -> str:
    if isinstance(value, Enum):
        return value.name
    raise TypeError(f"no value of a recipe: {value!r}")


def _words(use: OperatorUse) -> str:
    nodes = "1 node" if use.count == 1 else f"{use.count} nodes"
    return f"{use.name} version {use.version}, {nodes}" + (", custom" if use.custom else "")

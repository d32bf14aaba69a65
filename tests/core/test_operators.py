"""What loads where is foretold from the table of probed cells; what was never probed is left to the device."""

from __future__ import annotations

import re

import pytest

from ota.core.graph import Graph, OperatorForm, OperatorUse
from ota.core.operators import LoadPrediction, Loads, loads
from ota.core.operators_forms import FORMS
from ota.core.operators_table import CUSTOM, FIRST_VERSIONS, RUNTIMES, TYPES, VERSIONS
from ota.core.runtime import RUNTIMES as BUILDS

OLD, NEW = "tflite-runtime 2.14.0", "ai-edge-litert 2.3.0"


def graph(
    *uses: OperatorUse, types: tuple[str, ...] = ("float32",), forms: tuple[OperatorForm, ...] = ()
) -> Graph:
    """Return a graph as far as loading is concerned."""
    return Graph(tensors=(), nodes=(), inputs=(), outputs=(), operators=uses, types=types, forms=forms)


def use(name: str, version: int = 1, *, count: int = 1, custom: bool = False) -> OperatorUse:
    """Return the use of an operator."""
    return OperatorUse(name=name, version=version, count=count, custom=custom)


CASES = {
    "a known version": (graph(use("CONV_2D", 7)), OLD, Loads.LOADS, ""),
    "a dynamic range head per channel": (
        graph(use("CONV_2D", 5), use("FULLY_CONNECTED", 12)), OLD, Loads.DOES_NOT_LOAD,
        "FULLY_CONNECTED version 12 is unknown to tflite-runtime 2.14.0, which knows up to 10",
    ),
    "the same where it is known": (graph(use("FULLY_CONNECTED", 12)), NEW, Loads.LOADS, ""),
    "a builtin that is listed counts though no node uses it": (
        graph(use("CONV_2D", 99, count=0)), NEW, Loads.DOES_NOT_LOAD,
        "CONV_2D version 99 is unknown to ai-edge-litert 2.3.0, which knows up to 8",
    ),
    "an operator that came later": (
        graph(use("STABLEHLO_COMPOSITE")), OLD, Loads.DOES_NOT_LOAD, "STABLEHLO_COMPOSITE is unknown to tflite-runtime 2.14.0",
    ),
    "a version before the first": (
        graph(use("BROADCAST_TO", 1)), NEW, Loads.DOES_NOT_LOAD,
        "BROADCAST_TO version 1 is unknown to ai-edge-litert 2.3.0, which knows from 2",
    ),
    "a version of nothing": (
        graph(use("ADD", 0)), NEW, Loads.DOES_NOT_LOAD, "ADD version 0 is unknown to ai-edge-litert 2.3.0, which knows from 1",
    ),
    "a custom operator": (graph(use("ethos-u", custom=True)), NEW, Loads.DOES_NOT_LOAD, "unresolved custom op: ethos-u"),
    "a custom operator called as a builtin": (graph(use("ADD", custom=True)), NEW, Loads.DOES_NOT_LOAD, "unresolved custom op: ADD"),
    "a custom operator that no node uses": (graph(use("ethos-u", count=0, custom=True)), NEW, Loads.LOADS, ""),
    "a custom operator that came later": (
        graph(use("aeq.hadamard_rotation", custom=True)), OLD, Loads.DOES_NOT_LOAD, "unresolved custom op: aeq.hadamard_rotation",
    ),
    "a custom operator that is known": (graph(use("aeq.hadamard_rotation", custom=True)), NEW, Loads.LOADS, ""),
    "a custom operator that depends": (
        graph(use("Mfcc", custom=True)), NEW, Loads.UNKNOWN,
        "whether ai-edge-litert 2.3.0 takes the custom op Mfcc depends on its tensors and options",
    ),
    "an operator that was never tried": (
        graph(use("WHILE")), NEW, Loads.UNKNOWN, "WHILE was never tried under ai-edge-litert 2.3.0",
    ),
    "a runtime that was never tried": (
        graph(use("ADD")), "ai-edge-litert 9.9.9", Loads.UNKNOWN, "what ai-edge-litert 9.9.9 loads was never tried",
    ),
    "a type that came later": (
        graph(types=("float32", "int2")), OLD, Loads.DOES_NOT_LOAD, "tensors of type int2 are unknown to tflite-runtime 2.14.0",
    ),
    "a type without a name": (
        graph(types=("type 99",)), NEW, Loads.UNKNOWN, "tensors of type 99 were never tried under ai-edge-litert 2.3.0",
    ),
    "int4 in an old version of an operator": (
        graph(use("DEQUANTIZE"), forms=(OperatorForm(operator="DEQUANTIZE", form="int4 per channel to float32"),)), OLD,
        Loads.DOES_NOT_LOAD, "tflite-runtime 2.14.0 takes no DEQUANTIZE of int4 per channel to float32",
    ),
    "the same where it is taken": (
        graph(use("DEQUANTIZE"), forms=(OperatorForm(operator="DEQUANTIZE", form="int4 per channel to float32"),)), NEW, Loads.LOADS, "",
    ),
    "a form that was never tried": (
        graph(use("ADD"), forms=(OperatorForm(operator="ADD", form="complex64"),)), NEW, Loads.UNKNOWN,
        "ADD of complex64 was never tried under ai-edge-litert 2.3.0",
    ),
    "what cannot load outweighs what is not known": (
        graph(use("ADD", 99), use("WHILE")), NEW, Loads.DOES_NOT_LOAD,
        "ADD version 99 is unknown to ai-edge-litert 2.3.0, which knows up to 6",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("file", "runtime", "verdict", "reason"), CASES.values(), ids=CASES.keys())
def test_loading_is_foretold_with_the_reason(file: Graph, runtime: str, verdict: Loads, reason: str) -> None:
    """Loads, does not load or unknown, and one clause for each thing that stands against it."""
    foretold = loads(file, runtime)
    assert (foretold.runtime, foretold.verdict, foretold.reason) == (runtime, verdict, reason)


def test_every_reason_is_given() -> None:
    """Two operators that are too new are both named."""
    foretold = loads(graph(use("ADD", 99), use("CONV_2D", 99)), NEW)
    assert foretold == LoadPrediction(
        runtime=NEW,
        verdict=Loads.DOES_NOT_LOAD,
        reasons=(
            "ADD version 99 is unknown to ai-edge-litert 2.3.0, which knows up to 6",
            "CONV_2D version 99 is unknown to ai-edge-litert 2.3.0, which knows up to 8",
        ),
    )


def test_every_row_of_the_tables_has_a_column_for_each_runtime() -> None:
    """Tables are as wide as there are probed runtimes, and speak of the same operators."""
    assert all(len(row) == len(RUNTIMES) for row in (*VERSIONS.values(), *CUSTOM.values(), *TYPES.values()))
    assert set(FIRST_VERSIONS) <= set(VERSIONS)
    assert set(FORMS) == set(VERSIONS)
    patterns = [pattern for row in FORMS.values() for pattern in row]
    assert all(re.fullmatch(rf"[01]{{{len(RUNTIMES)}}}", pattern) for pattern in patterns)


def test_every_runtime_that_a_device_may_get_was_probed() -> None:
    """A build that provisioning installs is a column of the table."""
    assert {build.label for build in BUILDS} <= set(RUNTIMES)


PUBLISHED = {
    "CONV_2D": {"tflite-runtime 2.14.0": 7, "ai-edge-litert 1.4.0": 8, "ai-edge-litert 2.1.6": 8, "ai-edge-litert 2.3.0": 8},
    "FULLY_CONNECTED": {"tflite-runtime 2.14.0": 10, "ai-edge-litert 1.4.0": 13, "ai-edge-litert 2.1.6": 14, "ai-edge-litert 2.3.0": 14},
    "DEQUANTIZE": {"tflite-runtime 2.14.0": 5, "ai-edge-litert 1.4.0": 6, "ai-edge-litert 2.1.6": 8, "ai-edge-litert 2.3.0": 9},
    "TRANSPOSE": {"tflite-runtime 2.14.0": 6, "ai-edge-litert 1.4.0": 7, "ai-edge-litert 2.1.6": 9, "ai-edge-litert 2.3.0": 9},
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table_agrees_with_ceilings_probed_by_others(name: str) -> None:
    """Another probe of the same builds, x86_64 and aarch64, found the same highest versions."""
    assert {label: VERSIONS[name][RUNTIMES.index(label)] for label in PUBLISHED[name]} == PUBLISHED[name]

"""Will a file load under a runtime? Foretold from a table that was made by loading, so that no device time is spent on a file that cannot.

Invariants: LOADS is said only where every operator of the file was seen to load under that very build, in its version and, since makers of files do
not always raise the version, in its form; whatever was never tried is UNKNOWN, and then the device decides. What a build knows is the same on x86_64 and ARM, for the list is compiled in from one source.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ota.core.graph import Graph, OperatorForm, OperatorUse
from ota.core.operators_forms import FORMS
from ota.core.operators_table import CUSTOM, FIRST_VERSIONS, RUNTIMES, TYPES, VERSIONS

_DEPENDING = frozenset(
    {
        "AudioSpectrogram", "Convolution2DTransposeBias", "MaxPoolingWithArgmax2D", "MaxUnpooling2D", "Mfcc", "NumericVerify",
        "TFLite_Detection_PostProcess",
    }
)  # fmt: skip
"""Custom operators that builds bring along, or their XNNPACK delegate takes, depending on tensors and options that were never tried."""


class Loads(Enum):
    """What is foretold."""

    LOADS = "loads"
    DOES_NOT_LOAD = "does not load"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPrediction:
    """Whether a file loads under `runtime`, and why not or why that is not known, one clause each; none where it loads."""

    runtime: str
    verdict: Loads
    reasons: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)


def loads(graph: Graph, runtime: str) -> LoadPrediction:
    """Foretell whether the file of `graph` loads under the build called `runtime`, such as `tflite-runtime 2.14.0`."""
    if runtime not in RUNTIMES:
        return LoadPrediction(
            runtime=runtime, verdict=Loads.UNKNOWN, reasons=(f"what {runtime} loads was never tried",)
        )
    column = RUNTIMES.index(runtime)
    found = [_operator(use, runtime, column) for use in graph.operators]
    found += [_form(form, runtime, column) for form in graph.forms if form.operator in FORMS]
    found += [_type(name, runtime, column) for name in graph.types]
    for verdict in (Loads.DOES_NOT_LOAD, Loads.UNKNOWN):
        reasons = tuple(reason for said, reason in found if said is verdict)
        if reasons:
            return LoadPrediction(runtime=runtime, verdict=verdict, reasons=reasons)
    return LoadPrediction(runtime=runtime, verdict=Loads.LOADS)


_FINE = (Loads.LOADS, "")


def _operator(use: OperatorUse, runtime: str, column: int) -> tuple[Loads, str]:
    """A runtime looks up every builtin operator that a file lists, but a custom one only where a node uses it."""
    if use.custom:
        return _FINE if not use.count else _custom(use.name, runtime, column)
    if use.name not in VERSIONS:
        return (Loads.UNKNOWN, f"{use.name} was never tried under {runtime}")
    most = VERSIONS[use.name][column]
    least = FIRST_VERSIONS.get(use.name, 1)
    if least <= use.version <= most:
        return _FINE
    if not most:
        return (Loads.DOES_NOT_LOAD, f"{use.name} is unknown to {runtime}")
    bound = f"up to {most}" if use.version > most else f"from {least}"
    return (
        Loads.DOES_NOT_LOAD,
        f"{use.name} version {use.version} is unknown to {runtime}, which knows {bound}",
    )


def _form(form: OperatorForm, runtime: str, column: int) -> tuple[Loads, str]:
    for pattern, forms in FORMS[form.operator].items():
        if form.form in forms.split("; "):
            if pattern[column] == "1":
                return _FINE
            return (Loads.DOES_NOT_LOAD, f"{runtime} takes no {form.operator} of {form.form}")
    return (Loads.UNKNOWN, f"{form.operator} of {form.form} was never tried under {runtime}")


def _custom(name: str, runtime: str, column: int) -> tuple[Loads, str]:
    if name in _DEPENDING:
        return (
            Loads.UNKNOWN,
            f"whether {runtime} takes the custom op {name} depends on its tensors and options",
        )
    row = CUSTOM.get(name)
    return _FINE if row and row[column] else (Loads.DOES_NOT_LOAD, f"unresolved custom op: {name}")


def _type(name: str, runtime: str, column: int) -> tuple[Loads, str]:
    row = TYPES.get(name)
    if row is None:
        return (Loads.UNKNOWN, f"tensors of {name} were never tried under {runtime}")
    return _FINE if row[column] else (Loads.DOES_NOT_LOAD, f"tensors of type {name} are unknown to {runtime}")

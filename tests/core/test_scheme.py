"""The tables of schemes and metrics."""

from __future__ import annotations

import re

import pytest

from ota.core.metric import METRICS, metric_named
from ota.core.scheme import AS_IS, BASELINE, SCHEMES, SourceKind, Tool, scheme_named


def test_schemes_have_names_of_their_own_and_the_baseline_is_first() -> None:
    """Names are unique words, L's baseline leads the table and calibrates on nothing."""
    names = [scheme.name for scheme in SCHEMES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{,23}", name) for name in names)
    assert names[0] == BASELINE
    assert not SCHEMES[0].representative


def test_the_published_transformations_are_all_there() -> None:
    """U0 to U4 of the published method are schemes, each once."""
    assert sorted(scheme.published for scheme in SCHEMES if scheme.published) == [
        "U0",
        "U1",
        "U2",
        "U3",
        "U4",
    ]


def test_the_quantizers_schemes_start_from_anything() -> None:
    """Every scheme starts from a trained network; from a float .tflite start the baseline and all that the quantizer makes."""
    for scheme in SCHEMES:
        assert {SourceKind.KERAS, SourceKind.SAVED_MODEL} <= scheme.starts_from
        from_tflite = scheme.name == BASELINE or scheme.tool is Tool.QUANTIZER
        assert (SourceKind.TFLITE in scheme.starts_from) == from_tflite


def test_there_are_twelve_schemes_without_the_converter() -> None:
    """The quantizer's schemes and the baseline are twelve at least."""
    assert sum(scheme.tool is Tool.QUANTIZER for scheme in SCHEMES) >= 11


def test_a_lower_form_is_a_scheme_that_starts_from_as_much() -> None:
    """A lower form is an entry of SCHEMES by the same tool, without a lower form of its own and no more demanding."""
    for scheme in SCHEMES:
        if scheme.lower_form:
            lower = scheme_named(scheme.lower_form)
            assert lower.tool is scheme.tool
            assert lower.starts_from == scheme.starts_from
            assert lower.representative <= scheme.representative
            assert not lower.lower_form


def test_a_scheme_is_found_by_its_name() -> None:
    """Every entry and AS_IS are found; AS_IS is none that a playbook may ask for; another name is a KeyError."""
    assert [scheme_named(scheme.name) for scheme in SCHEMES] == list(SCHEMES)
    assert scheme_named("as_is") is AS_IS
    assert AS_IS not in SCHEMES
    with pytest.raises(KeyError):
        scheme_named("int4")


def test_a_metric_is_found_by_its_name() -> None:
    """Every entry is found, and any top_k from 2."""
    assert [metric_named(metric.name) for metric in METRICS] == list(METRICS)
    third = metric_named("top_3")
    assert (third.name, third.higher_is_better, third.classification) == ("top_3", True, True)
    assert third.summary == "share of samples whose class is among the first 3"


@pytest.mark.parametrize(
    "name",
    ["", "top_1", "top_0", "top_", "top_x", "top_-2", "top_02", "top_\uff15", "top_5\n", "Accuracy", "f1"],
)
def test_what_is_no_metric_is_a_key_error(name: str) -> None:
    """A misspelt metric is not taken for another."""
    with pytest.raises(KeyError):
        metric_named(name)

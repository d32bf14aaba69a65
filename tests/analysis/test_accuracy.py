"""Paired accuracy: values from the literature, bounds that err on the safe side, and how many more samples would decide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from ota.analysis.accuracy import (
    MOST_SAMPLES,
    drop_bound,
    drop_lower_bound,
    error_drop_bounds,
    exceeds,
    mcnemar_exact,
    samples_needed,
    tango_z,
    wilson,
)


def test_wilson_gives_the_published_table_its_interval() -> None:
    """967 of 975 right, printed as 99.18 %, is known to 98.4 to 99.6 %; no sample says nothing."""
    found = wilson(967, 975)
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.9918, 0.9839, 0.9958)
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
    assert (wilson(20, 20).high, round(wilson(20, 20).low, 3)) == (1.0, 0.839)


@pytest.mark.parametrize(
    ("lost", "gained", "p"), [(1, 7, 0.0703125), (0, 0, 1.0), (0, 6, 0.03125), (5, 5, 1.0)]
)
def test_mcnemar_is_the_exact_binomial_tail(lost: int, gained: int, p: float) -> None:
    """1 against 7 discordant pairs (airway responsiveness, Bentur et al. 2009) have p = 0.0703; equal counts have 1."""
    assert mcnemar_exact(lost, gained) == pytest.approx(p)


def test_tango_s_interval_is_the_published_one() -> None:
    """Without the correction the two-sided interval for 1 and 7 of 21 pairs is -0.517 to -0.026 (Fagerland, Lydersen & Laake 2014)."""
    upper = drop_bound(1, 7, 21, confidence=0.975, continuity=0)
    lower = drop_lower_bound(1, 7, 21, confidence=0.975, continuity=0)
    assert (round(lower, 3), round(upper, 3)) == (-0.517, -0.026)


def test_tango_s_own_example() -> None:
    """One of 44 pairs discordant (disinfection of contact lenses, Tango 1998): z = 2.449 against a difference of 0.1, upper bound 0.059."""
    assert tango_z(1, 0, 44, -0.1) == pytest.approx(2.449, abs=5e-4)
    assert drop_bound(0, 1, 44, confidence=0.975, continuity=0) == pytest.approx(0.0594, abs=5e-5)


@pytest.mark.parametrize("samples", [50, 149, 478, 1000])
@pytest.mark.parametrize(("limit", "discordance"), [(0.02, 0.02), (0.02, 0.1), (0.005, 0.05), (0.002, 0.2)])
def test_a_loss_at_the_limit_is_accepted_in_at_most_five_percent(
    samples: int, limit: float, discordance: float
) -> None:
    """Over all outcomes, weighted by their exact probability, a true loss equal to the limit passes in at most 5 %."""
    lost, gained = (discordance + limit) / 2, (discordance - limit) / 2
    chance, most = 0.0, -1
    for count in range(int(samples * gained + 6 * np.sqrt(samples * gained + 1)) + 1):
        while drop_bound(most + 1, count, samples) <= limit:
            most += 1
        weight = special.bdtr(count, samples, gained) - (
            special.bdtr(count - 1, samples, gained) if count else 0.0
        )
        chance += weight * (special.bdtr(most, samples - count, lost / (1 - gained)) if most >= 0 else 0.0)
    assert chance <= 0.05


@settings(max_examples=200, deadline=None, derandomize=True)
@given(lost=st.integers(0, 60), gained=st.integers(0, 60), extra=st.integers(0, 2000))
def test_bounds_are_ordered_and_move_with_the_counts(lost: int, gained: int, extra: int) -> None:
    """The bounds enclose what was found, one more lost answer never lowers the upper bound, one more gained never raises it."""
    samples = lost + gained + extra + 2
    upper, lower = drop_bound(lost, gained, samples), drop_lower_bound(lost, gained, samples)
    assert lower <= (lost - gained) / samples <= upper
    assert drop_bound(lost + 1, gained, samples) >= upper - 1e-9
    assert drop_bound(lost, gained + 1, samples) <= upper + 1e-9


@pytest.mark.parametrize(
    ("lost", "gained", "samples"), [(0, 0, 50), (2, 1, 200), (9, 2, 478), (40, 2, 300), (4, 0, 150)]
)
def test_the_samples_that_are_said_to_decide_do(lost: int, gained: int, samples: int) -> None:
    """With that many more at the observed rates one bound is beyond the limit, up to whole counts; where it is 0 one is already."""
    limit = 0.02
    more = samples_needed(lost, gained, samples, limit)
    scale = (samples + more) / samples
    grown = (round(lost * scale), round(gained * scale), samples + more)
    assert drop_bound(*grown) <= limit * 1.05 or drop_lower_bound(*grown) >= limit * 0.95
    assert (more == 0) == (
        drop_bound(lost, gained, samples) <= limit or drop_lower_bound(lost, gained, samples) > limit
    )


def test_a_loss_on_the_limit_is_never_decided() -> None:
    """Two lost of a hundred under a limit of 2 % lie on it: no number of samples at that rate decides."""
    assert samples_needed(2, 0, 100, 0.02) == MOST_SAMPLES


def test_a_hopeless_loss_is_seen_early() -> None:
    """Thirty of a hundred lost exceed a limit of 2 % beyond doubt, three do not."""
    assert exceeds(30, 0, 100, 0.02, level=0.001)
    assert not exceeds(3, 0, 100, 0.02, level=0.001)


def test_the_bounds_of_an_error_enclose_its_change() -> None:
    """An error that is 10 % larger on every sample is known exactly; with noise the bounds enclose it; one sample bounds nothing."""
    base = np.random.RandomState(2).gamma(2.0, size=300)
    point, low, high = error_drop_bounds(1.1 * base, base, seed=1)
    assert (round(point, 9), round(low, 9), round(high, 9)) == (0.1, 0.1, 0.1)
    noisy = base * (1.1 + 0.3 * np.random.RandomState(3).standard_normal(300))
    point, low, high = error_drop_bounds(noisy, base, seed=1)
    assert low < point < high < 0.2
    assert error_drop_bounds(base[:1], base[:1], seed=1)[2] > 1e6

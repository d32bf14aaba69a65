"""Resamples, sequential levels, the transfer line and the latency ratios: calibrated, reproducible, robust."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ota.analysis.deltas import change, latency_delta, quality_delta
from ota.analysis.distributions import t_quantile
from ota.analysis.latency import baseline_of, latencies_of, percentile_ms, without_bursts
from ota.analysis.resampling import resampled_means
from ota.analysis.sequential import nominal_levels
from ota.analysis.transfer import transfers_of
from ota.core.metric import metric_named
from ota.core.objective import Formula, Objective, Weights
from ota.core.release import Digest
from ota.core.samples import TimedTransfer
from ota.core.terms import Figures, terms_of
from tests.analysis.sessions import NEW, OLD, contender, host_log


@pytest.mark.parametrize("blocks", [5, 10, 40])
def test_the_widened_resamples_cover_as_often_as_they_say(blocks: int) -> None:
    """The 95 % interval over blocks of normal noise covers the truth in 93 to 97 %, from five blocks on."""
    noise = np.random.RandomState(4).standard_normal((blocks, 1500))
    _, draws = resampled_means(noise, 9, 1000)
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    assert 0.93 <= np.mean((low <= 0) & (high >= 0)) <= 0.97


def test_a_contender_with_one_block_borrows_the_spread_of_the_others() -> None:
    """One value has no spread of its own: its resamples are neither fixed nor infinite."""
    values = np.random.RandomState(5).standard_normal((6, 3))
    values[1:, 2] = np.nan
    means, draws = resampled_means(values, 1, 500)
    assert means[2] == values[0, 2]
    assert 0.2 < draws[:, 2].std() < 5


def test_looking_often_spends_no_more_than_the_level() -> None:
    """A t test at the levels of looks 5 to 40 calls noise different in at most 5.5 % of paths for a level of 4.5 %, where 5 % at every look does in over 15 %."""
    paths = np.random.RandomState(6).standard_normal((4000, 40))
    levels = dict(zip(range(5, 41), nominal_levels(5, 40, 0.045), strict=True))
    spent, naive = np.zeros(4000, bool), np.zeros(4000, bool)
    for blocks, level in levels.items():
        part = paths[:, :blocks]
        t = np.abs(part.mean(axis=1)) / (part.std(axis=1, ddof=1) / np.sqrt(blocks))
        spent |= t > t_quantile(1 - level / 2, blocks - 1)
        naive |= t > t_quantile(0.975, blocks - 1)
    assert spent.mean() <= 0.055
    assert naive.mean() > 0.15
    assert nominal_levels(40, 40, 0.05) == pytest.approx((0.05,))


def timed(*pairs: tuple[int, float]) -> tuple[TimedTransfer, ...]:
    """Return transfers of (bytes, seconds)."""
    return tuple(
        TimedTransfer(digest=Digest.of(str(pair).encode()), bytes=pair[0], seconds=pair[1]) for pair in pairs
    )


def test_the_line_ignores_one_wild_transfer() -> None:
    """Seconds are 0.1 + bytes * 2e-7; one transfer that took ten times as long moves nothing."""
    pairs = [(size, 0.1 + size * 2e-7) for size in (100_000, 300_000, 600_000, 900_000, 1_500_000, 3_000_000)]
    pairs[2] = (600_000, 3.0)
    found = transfers_of(timed(*pairs), (600_000, 3_000_000), resamples=200, seed=1)
    assert found is not None
    assert found.seconds == pytest.approx([0.22, 0.7], rel=0.02)


def test_without_three_sizes_a_file_s_own_time_counts() -> None:
    """Two sizes make no line: times as they are; a file that nobody timed leaves no term."""
    found = transfers_of(timed((10, 1.0), (20, 5.0), (20, 3.0)), (10, 20), resamples=5, seed=1)
    assert found is not None
    assert found.seconds.tolist() == [1.0, 4.0]
    assert found.resampled.std(axis=0).tolist() == [0.0, 0.0]
    assert transfers_of(timed((10, 1.0)), (10, 30), resamples=5, seed=1) is None
    assert transfers_of((), (10, 30), resamples=5, seed=1) is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 10**7), st.floats(0.0, 100.0)), min_size=3, max_size=12))
def test_no_transfer_is_negative(pairs: list[tuple[int, float]]) -> None:
    """Whatever was timed, overhead and seconds per byte are not negative."""
    sizes = (1, 10**7)
    found = transfers_of(timed(*pairs), sizes, resamples=50, seed=1)
    if found is not None:
        assert (found.seconds >= 0).all()
        assert (found.resampled >= 0).all()
        assert found.seconds[1] >= found.seconds[0] - 1e-9


def test_a_burst_over_a_turn_moves_a_ratio_little() -> None:
    """A turn that took three times as long moves the mean of ten log ratios by less than a percent and a half, not by eleven."""
    clean = 0.015 * np.random.RandomState(8).standard_normal((10, 5))
    hit = clean.copy()
    hit[3, 2] += np.log(3)
    moved = without_bursts(hit)[:, 2].mean() - clean[:, 2].mean()
    assert 0 < moved < 0.015
    assert np.abs(without_bursts(clean) - clean).max() < 0.005
    assert np.isnan(without_bursts(np.where(np.arange(50).reshape(10, 5) == 7, np.nan, clean))[1, 2])


def test_the_baseline_is_float32_under_the_preferred_runtime() -> None:
    """Of float32 under two runtimes and two numbers of threads the preferred runtime with the fewest threads is the baseline, ratio 1 in every block."""
    ms = {contender("float32", OLD): 9.0, contender("float32", NEW, 4): 4.0, contender("float32", NEW): 10.0}
    log = host_log(ms)
    baseline = baseline_of(log)
    assert baseline == contender("float32", NEW)
    found = latencies_of(log, baseline)
    assert found.contenders[0] == baseline
    assert not found.log_ratio[:, 0].any()
    assert baseline_of(host_log({contender("int8"): 1.0})) is None


def test_a_tail_needs_samples_and_has_its_order_statistics() -> None:
    """p90 of 1..1000 ms is 901 with ranks that a binomial count gives; fewer samples than are needed give none."""
    found = percentile_ms([n * 1_000_000 for n in range(1, 1001)], 0.9, needs=200)
    assert found is not None
    assert found.value == 901
    assert 878 <= found.low <= 884
    assert 916 <= found.high <= 921
    assert percentile_ms([1] * 199, 0.9, needs=200) is None


FIGURE = st.floats(0.01, 1e4)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    size=FIGURE, ratio=FIGURE, base_ms=FIGURE, seconds=FIGURE,
    right=st.integers(0, 500), base_right=st.integers(0, 500),
    formula=st.sampled_from(list(Formula)), name=st.sampled_from(["accuracy", "mse"]),
)  # fmt: skip
def test_the_formula_on_arrays_is_the_scalar_one(
    size: float, ratio: float, base_ms: float, seconds: float, right: int, base_right: int, formula: Formula, name: str
) -> None:  # fmt: skip
    """Each delta by `ota.core.terms` equals the one that the analysis computes on arrays."""
    metric = metric_named(name)
    own = Figures(
        size_bytes=size, latency_ms=base_ms * ratio, quality=right / 500, transfer_s=seconds, samples=500
    )
    base = Figures(size_bytes=7.0, latency_ms=base_ms, quality=base_right / 500, transfer_s=3.0, samples=500)
    terms = {
        t.name: t.delta for t in terms_of(own, base, Objective(formula=formula, weights=Weights()), metric)
    }
    arrays = {
        "size": float(change(np.array(size), np.array(7.0), formula)),
        "latency": float(latency_delta(np.log(ratio), formula)),
        "accuracy": float(
            quality_delta(np.array([right / 500]), np.array([base_right / 500]), 500, formula, metric).delta[
                0
            ]
        ),
        "transfer": float(change(np.array(seconds), np.array(3.0), formula)),
    }
    for term, delta in terms.items():
        assert delta == pytest.approx(arrays[term], rel=1e-9, abs=1e-9)

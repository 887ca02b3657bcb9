"""Weighted densities and percentiles against scipy, numpy and naive loops."""

import time

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from dustcast.figures import density


def cloud(n, seed=0):
    rng = np.random.default_rng(seed)
    second = rng.random(n) < 0.3
    x = np.where(second, 29.0, 20.0) + rng.normal(0, 1.5, n)
    y = 0.7 * x + rng.normal(0, 1.0, n)
    return x, y, rng.gamma(1.0, 1.0, n) + 0.01


def test_kde_equals_scipy():
    x, y, weights = cloud(800)
    expected = gaussian_kde([x, y], weights=weights)
    np.testing.assert_allclose(density.kde(x, y, weights), expected([x, y]), rtol=1e-6)
    at = np.meshgrid(np.linspace(10, 35, 7), np.linspace(5, 30, 5))
    np.testing.assert_allclose(
        density.kde(x, y, weights, at=at).ravel(),
        expected(np.array([a.ravel() for a in at])),
        rtol=1e-6,
        atol=1e-12,
    )


def test_kde_on_a_grid_equals_the_sum():
    x, y, weights = cloud(4000)
    weights[:50] *= 20.0
    exact = density.kde(x, y, weights, exact_below=10**9)
    gridded = density.kde(x, y, weights, exact_below=0)
    assert np.abs(gridded - exact).max() < 0.01 * exact.max()
    far = density.kde(x, y, weights, at=([1e4], [1e4]), exact_below=0)
    assert far[0] == 0.0


def test_kde_integrates_to_one():
    x, y, weights = cloud(5000)
    grid_x, grid_y = np.linspace(10, 40, 200), np.linspace(5, 35, 220)
    total = density.kde(x, y, weights, at=np.meshgrid(grid_x, grid_y)).sum()
    assert total * (grid_x[1] - grid_x[0]) * (grid_y[1] - grid_y[0]) == pytest.approx(1, abs=3e-3)


def test_kde_of_a_hundred_thousand_points_is_fast():
    x, y, weights = cloud(100_000)
    start = time.process_time()
    values = density.kde(x, y, weights)
    assert time.process_time() - start < 5.0
    some = np.arange(0, x.size, 5000)
    expected = density.kde(x, y, weights, at=(x[some], y[some]), exact_below=10**9)
    assert np.abs(values[some] - expected).max() < 0.01 * values.max()


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_kde_of_few_points(n):
    x, y, weights = cloud(n)
    values = density.kde(x, y, weights)
    assert values.shape == (n,)
    assert np.all(np.isfinite(values))


@pytest.mark.parametrize("exact_below", [0, 10**9])
def test_kde_of_a_line_and_of_a_spot(exact_below):
    line = np.linspace(0, 1, 50)
    for x, y in ((line, 2 * line), (line, np.ones(50)), (np.ones(50), np.ones(50))):
        values = density.kde(x, y, exact_below=exact_below)
        assert np.all(np.isfinite(values))
        assert np.all(values > 0)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [0.0, 0.0], [1.0, np.nan], [1.0]])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        density.kde([0.0, 1.0], [0.0, 1.0], weights)


def test_quantiles_of_equal_weights_are_those_of_numpy():
    values = np.random.default_rng(1).normal(size=101)
    wanted = [0.0, 0.16, 0.5, 0.84, 1.0]
    np.testing.assert_allclose(
        density.weighted_quantile(values, wanted), np.quantile(values, wanted, method="hazen")
    )


def test_a_weight_of_zero_leaves_out():
    assert density.weighted_quantile([5.0, 1.0, 2.0], 0.5, [0.0, 1.0, 1.0]) == 1.5
    assert density.weighted_quantile([7.0], [0.1, 0.9]) == pytest.approx([7.0, 7.0])


def test_weights_count_as_repetition():
    rng = np.random.default_rng(2)
    values, counts = rng.normal(size=2000), rng.integers(1, 4, 2000)
    wanted = [0.16, 0.5, 0.84]
    expected = np.quantile(np.repeat(values, counts), wanted)
    np.testing.assert_allclose(
        density.weighted_quantile(values, wanted, counts), expected, atol=0.003
    )


def test_contours_enclose_their_share():
    x, y, weights = cloud(3000)
    at_points = density.kde(x, y, weights)
    levels = density.contour_levels(at_points, weights)
    assert levels[0] > levels[1] > levels[2]
    for level, fraction in zip(levels, density.CONTOUR_FRACTIONS):
        share = weights[at_points >= level].sum() / weights.sum()
        assert share == pytest.approx(fraction, abs=2e-3)


def test_running_bins_are_as_wide_and_as_full_as_promised():
    by, _, weights = cloud(5000)
    bins = density.running_bins(by, weights)
    width = (by.max() - by.min()) / 60
    assert np.all(np.diff(bins.centre) >= 0)
    total = weights.sum()
    for members in bins.members():
        assert members.size >= 80
        assert weights[members].sum() / total >= 0.03 * (1 - 1e-9)
    spans = np.array([np.ptp(by[members]) for members in bins.members()])
    assert spans.min() <= 2.5 * width
    # No member of a bin's range is left out, whatever its weight.
    for members in bins.members():
        inside = (by >= by[members].min()) & (by <= by[members].max())
        assert set(np.flatnonzero(inside)) == set(members)
    assert set(np.concatenate(list(bins.members()))) == set(range(by.size))


@pytest.mark.parametrize("n", [1, 2, 8, 30, 100, 400])
def test_running_bins_of_small_samples(n):
    by = np.random.default_rng(n).normal(size=n)
    bins = density.running_bins(by)
    assert bins.centre.size >= 1
    assert all(members.size >= min(n, 5, 80) for members in bins.members())
    if n >= 30:
        assert bins.centre.size > 3


def test_running_bins_of_equal_values_are_one():
    bins = density.running_bins(np.full(500, 3.0))
    assert bins.centre == pytest.approx([3.0])
    assert density.running_bins([]).centre.size == 0


def test_binned_statistics_equal_naive_loops():
    by, values, weights = cloud(1200, seed=3)
    bins = density.running_bins(by, weights)
    centre, quantiles = density.binned_quantiles(by, values, weights=weights)
    _, rms = density.binned_rms(by, values, weights)
    for i, members in enumerate(bins.members()):
        pairs = sorted(zip(values[members], weights[members]))
        total = sum(weight for _, weight in pairs)
        sums, positions = 0.0, []
        for _, weight in pairs:
            positions.append((sums + weight / 2) / total)
            sums += weight
        expected = np.interp([0.16, 0.5, 0.84], positions, [value for value, _ in pairs])
        np.testing.assert_allclose(quantiles[:, i], expected, rtol=1e-10)
        mean = sum(weights[j] * by[j] for j in members) / total
        assert centre[i] == pytest.approx(mean, rel=1e-9)
        square = sum(weights[j] * values[j] ** 2 for j in members) / total
        assert rms[i] == pytest.approx(np.sqrt(square), rel=1e-10)


def test_rank_in_bin_equals_a_naive_loop():
    by, values, weights = cloud(300, seed=4)
    bins = density.running_bins(by, weights)
    ranks = density.rank_in_bin(by, values, weights)
    members = list(bins.members())
    for j in range(0, by.size, 7):
        nearest = members[int(np.argmin(np.abs(bins.centre - by[j])))]
        mine = weights[nearest]
        below = mine[values[nearest] < values[j]].sum()
        equal = mine[values[nearest] == values[j]].sum()
        assert ranks[j] == pytest.approx((below + equal / 2) / mine.sum(), abs=1e-12)


def test_ranks_are_uniform():
    rng = np.random.default_rng(0)
    by = rng.normal(size=4000)
    ranks = density.rank_in_bin(by, rng.normal(size=4000) * np.exp(by))
    assert np.histogram(ranks, bins=5, range=(0, 1))[0] == pytest.approx(800, rel=0.1)

"""Star formation histories against loops over the formulas and CIGALE's own numbers."""

import math

import best_models
import numpy as np
import pytest

from dustcast.sed import sfh
from dustcast.tables import DataError


def truncated_by_hand(tau, age, trunc, ratio):
    """SFR(t) = t exp(-t/tau) / tau^2, in the last `trunc` Myr `ratio` times the level before."""
    rates = [t * math.exp(-t / tau) / tau**2 for t in range(age)]
    level = rates[age - trunc - 1]
    for t in range(age - trunc, age):
        rates[t] = ratio * level
    total = math.fsum(rates)
    return [rate / total / 1e6 for rate in rates]


@pytest.mark.parametrize(
    ("tau", "age", "trunc", "ratio"),
    [(500, 2000, 200, 0.01), (20000, 12000, 200, 10.0), (2600.5, 100, 98, 0.0), (50, 3, 1, 2.0)],
)
def test_delayed_truncated_by_hand(tau, age, trunc, ratio):
    rates = sfh.delayed_truncated(tau, age, trunc, ratio)
    np.testing.assert_allclose(rates, truncated_by_hand(tau, age, trunc, ratio), rtol=1e-12)
    assert rates.shape == (age,)
    assert rates.sum() * 1e6 == pytest.approx(1.0, rel=1e-12)


def test_whole_numbers_given_as_floats():
    np.testing.assert_array_equal(
        sfh.delayed_truncated(500.0, 2000.0, 200.0, 0.1), sfh.delayed_truncated(500, 2000, 200, 0.1)
    )


def test_delayed_with_a_burst_by_hand():
    tau, age, tau_burst, age_burst, fraction = 700, 1000, 30, 120, 0.2
    main = [t * math.exp(-t / tau) for t in range(age)]
    burst = [math.exp(-t / tau_burst) for t in range(age_burst)]
    expected = [rate / math.fsum(main) * (1 - fraction) / 1e6 for rate in main]
    for t, rate in enumerate(burst):
        expected[age - age_burst + t] += rate / math.fsum(burst) * fraction / 1e6
    rates = sfh.delayed(tau, age, tau_burst, age_burst, fraction)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert rates.sum() * 1e6 == pytest.approx(1.0, rel=1e-12)


def test_delayed_without_a_burst():
    rates = sfh.delayed(700, 1000, 30, 5000, 0.0)  # the age of no burst is no matter
    main = np.arange(1000) * np.exp(-np.arange(1000) / 700)
    np.testing.assert_allclose(rates, main / main.sum() / 1e6, rtol=1e-12)
    # The peak lies at tau.
    assert np.argmax(rates) == 700


@pytest.mark.parametrize(
    ("age", "trunc"), [(200, 200), (200, 199), (100, 200), (1000, 0), (1000, -5)]
)
def test_truncation_outside_the_history_is_refused(age, trunc):
    message = (
        rf"^sfhdelayedtrunc: age_trunc {trunc} Myr must lie between 0 and age {age} Myr less 1$"
    )
    with pytest.raises(DataError, match=message):
        sfh.delayed_truncated(500, age, trunc, 0.1)


def test_impossible_bursts_are_refused():
    for fraction in (1.0, -0.1, math.nan):
        with pytest.raises(DataError, match=r"f_burst .* must lie between 0 and 1"):
            sfh.delayed(500, 1000, 30, 20, fraction)
    with pytest.raises(DataError, match="age_burst 1001 Myr must lie between 0 and age_main 1000"):
        sfh.delayed(500, 1000, 30, 1001, 0.1)


def test_other_impossible_values_are_refused():
    with pytest.raises(DataError, match=r"r_sfr -0\.1 must not be negative"):
        sfh.delayed_truncated(500, 1000, 200, -0.1)
    for tau in (0, -5, math.nan):
        with pytest.raises(DataError, match=f"tau_main {tau} Myr must be above 0"):
            sfh.delayed_truncated(tau, 1000, 200, 0.1)
        with pytest.raises(DataError, match=f"tau_main {tau} Myr must be above 0"):
            sfh.delayed(tau, 1000, 30, 20, 0.1)
    with pytest.raises(DataError, match="age 1 Myr must be 2 Myr or more"):
        sfh.delayed(500, 1, 30, 20, 0.0)


def test_rates_of_the_published_models(data):
    """`best.sfh.*` of 715 galaxies, to rounding."""
    best = best_models.best_models(data)
    rows = range(len(best["sfh.sfr"]))
    assert len(rows) == 715
    made = {}
    for row in rows:
        key = tuple(best[f"sfh.{name}"][row] for name in ("tau_main", "age", "age_trunc", "r_sfr"))
        rates = made.setdefault(key, sfh.delayed_truncated(*key)) * best["sfh.integrated"][row]
        assert rates[-1] == pytest.approx(best["sfh.sfr"][row], rel=1e-12)
        assert rates[-10:].mean() == pytest.approx(best["sfh.sfr10Myrs"][row], rel=1e-12)
        assert rates[-100:].mean() == pytest.approx(best["sfh.sfr100Myrs"][row], rel=1e-12)
    assert len(made) > 50

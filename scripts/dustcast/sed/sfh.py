"""Star formation histories on CIGALE's grid of 1 Myr cells.

Names and conventions are those of CIGALE's modules (Boquien et al. 2019, Sect. 4.1).
"""

from __future__ import annotations

import numpy as np

from dustcast.tables import DataError


def delayed_truncated(tau_main, age, age_trunc, r_sfr):
    """Return a delayed star formation history with a recent step (`sfhdelayedtrunc`).

    SFR(t) = t / tau^2 exp(-t / tau) up to `age_trunc` before now; from then on it is `r_sfr`
    times its last value (Ciesla et al. 2016, Eq. 3).

    Parameters
    ----------
    tau_main : float
        Time of the peak in Myr.
    age : float
        Time since the first star in Myr, a whole number of cells.
    age_trunc : float
        Time since the step in Myr.
    r_sfr : float
        Star formation rate after the step over that before it.

    Returns
    -------
    ndarray of shape (age,)
        Star formation rate in Msun/yr in cells of 1 Myr, oldest first, for 1 Msun formed.
    """
    age, age_trunc = int(age), int(age_trunc)
    # In the first Myr nothing forms yet: a step right after it scales nothing.
    if not 0 < age_trunc < age - 1:
        raise DataError(
            f"sfhdelayedtrunc: age_trunc {age_trunc} Myr must lie between 0 and age {age} Myr "
            "less 1"
        )
    if not r_sfr >= 0:
        raise DataError(f"sfhdelayedtrunc: r_sfr {r_sfr} must not be negative")
    # The level that the step scales is that of the cell before it: this reproduces `sfh.sfr` of
    # 714 published models to rounding, the level of the cell itself only to 2e-3.
    rate = _delayed(tau_main, age)
    rate[age - age_trunc :] = r_sfr * rate[age - age_trunc - 1]
    return rate / (rate.sum() * 1e6)


def delayed(tau_main, age_main, tau_burst, age_burst, f_burst):
    """Return a delayed star formation history with an exponential burst (`sfhdelayed`).

    Parameters
    ----------
    tau_main, age_main : float
        Time of the peak and time since the first star in Myr.
    tau_burst, age_burst : float
        e-folding time and age of the burst in Myr.
    f_burst : float
        Mass fraction that formed in the burst, from 0 to below 1.

    Returns
    -------
    ndarray of shape (age_main,)
        Star formation rate in Msun/yr in cells of 1 Myr, oldest first, for 1 Msun formed.
    """
    age_main, age_burst = int(age_main), int(age_burst)
    if not 0 <= f_burst < 1:
        raise DataError(f"sfhdelayed: f_burst {f_burst} must lie between 0 and 1")
    rate = _delayed(tau_main, age_main)
    rate /= rate.sum()
    if f_burst > 0:
        if not 0 < age_burst <= age_main:
            raise DataError(
                f"sfhdelayed: age_burst {age_burst} Myr must lie between 0 and age_main "
                f"{age_main} Myr"
            )
        burst = np.exp(-np.arange(age_burst) / tau_burst)
        rate[age_main - age_burst :] += f_burst / (1 - f_burst) * burst / burst.sum()
    return rate / (rate.sum() * 1e6)


def _delayed(tau, age):
    """Return t / tau^2 exp(-t / tau) at t = 0, 1, ... age - 1 Myr."""
    if not tau > 0:
        raise DataError(f"the star formation history's tau_main {tau} Myr must be above 0")
    if age < 2:
        raise DataError(f"the star formation history's age {age} Myr must be 2 Myr or more")
    time = np.arange(age, dtype=float)
    return time * np.exp(-time / tau) / tau**2

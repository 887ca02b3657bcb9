"""Distances and ages with CIGALE's cosmology (WMAP7), and what they leave of a grid."""

from __future__ import annotations

import dataclasses

import numpy as np

from dustcast.tables import DataError
from dustcast.units import GRID_DISTANCE_PC

# Parameters of the star formation histories that hold the age of the oldest stars in Myr.
AGES = {"sfhdelayedtrunc": "age", "sfhdelayedbq": "age_main", "sfhdelayed": "age_main"}


def luminosity_distance(redshift):
    """Return luminosity distances in Mpc; 10 pc at redshift 0, as CIGALE has it.

    Parameters
    ----------
    redshift : array_like
        Not negative.

    Returns
    -------
    ndarray
        Same shape.
    """
    from astropy.cosmology import WMAP7

    redshift = np.atleast_1d(np.asarray(redshift, dtype=float))
    found = np.full(redshift.shape, GRID_DISTANCE_PC / 1e6)
    far = redshift > 0
    if far.any():
        found[far] = WMAP7.luminosity_distance(redshift[far]).to_value("Mpc")
    return found


def universe_age(redshift):
    """Return the age of the universe at a redshift in Myr."""
    from astropy.cosmology import WMAP7

    return float(WMAP7.age(redshift).to_value("Myr"))


def without_older_models(spec, redshift):
    """Return a grid without the models whose stars are older than the universe.

    Parameters
    ----------
    spec : dustcast.sed.grid.GridSpec
        The grid.
    redshift : float
        Where its models are.

    Returns
    -------
    GridSpec

    Raises
    ------
    DataError
        If none is left.
    """
    limit, key = universe_age(redshift), AGES[spec.modules["sfh"]]
    sfh = spec.parameters["sfh"]
    ages = tuple(age for age in sfh[key] if age <= limit)
    if not ages:
        raise DataError(
            f"all ages of the grid are above that of the universe at redshift {redshift:g}, "
            f"{limit:.0f} Myr: add younger ones to {spec.modules['sfh']}.{key}"
        )
    return dataclasses.replace(spec, parameters=spec.parameters | {"sfh": sfh | {key: ages}})

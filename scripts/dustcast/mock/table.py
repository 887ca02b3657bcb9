"""A synthetic sample without images: integrated photometry of galaxies whose dust is known.

Each galaxy is the sum of a few models of a grid that lie near each other, so that it is not
itself a model of the grid. Its dust follows its stars, with scatter: what a model can learn.
"""

from __future__ import annotations

import numpy as np

from dustcast.bands import band_table
from dustcast.tables import DataError, Table
from dustcast.units import grid_scale

N_COMPONENTS = 3
# How the parameters of a galaxy follow its activity z (standard normal; recent star formation
# over the past): median, slope in z and scatter, in log10 but for those of LINEAR. The galaxies
# are plausible, not a fit to any survey.
LINEAR = frozenset({"powerlaw_slope", "qhac", "qpah", "E_BVs_old_factor"})
RELATIONS = {
    "tau_main": (3.4, 0.25, 0.2),
    "age": (3.9, -0.05, 0.1),
    "r_sfr": (-0.6, 0.5, 0.3),
    "E_BVs_young": (-0.8, 0.25, 0.35),
    "E_BVs_old_factor": (0.5, 0.0, 0.15),
    "powerlaw_slope": (-0.25, 0.0, 0.15),
    "qhac": (0.17, 0.0, 0.06),
    "qpah": (2.5, 0.0, 0.9),
    "umin": (0.1, -0.1, 0.2),
    "gamma": (-2.0, 0.3, 0.4),
}
# Early types: little dust, heated by old stars (the warm mode of Nersesian et al. 2019).
EARLY_BELOW = -0.8
EARLY_SHIFTS = {"E_BVs_young": -0.4, "umin": 0.7}
COMPONENT_SCATTER = 0.3

STELLAR_MASS_LOG = (10.0, 0.6)  # mean and standard deviation of log10(M / Msun formed)
# Share of galaxies without the bands of an instrument, as wide as in DustPedia.
ABSENT = {"GALEX": 0.25, "SDSS": 0.3, "Spitzer": 0.6, "PACS": 0.3}
NOISE = 0.03  # error beside the calibration, as a fraction of the flux


def simulate(grid, galaxies, *, seed):
    """Draw the galaxies' models and observe them.

    Parameters
    ----------
    grid : FactorisedGrid
        Models to sum.
    galaxies : list of Galaxy
        Names and distances.
    seed : int
        Seed of everything random.

    Returns
    -------
    fluxes : Table
        galaxy, `<band>` and `<band>_err` in mJy, NaN where an instrument did not observe.
    truth : Table
        galaxy, and the true dust.luminosity, stellar.lum (W), dust.mass (kg), stellar.m_star
        (Msun) and dust.umin (weighted by dust mass), each with the column name of a fit
        (``bayes.*``) and an error of 0.
    """
    rng = np.random.default_rng(seed)
    count = len(galaxies)
    stellar = _nodes(grid.stellar_parameters)
    dusty = _nodes(grid.dust_parameters)
    activity = rng.normal(size=count)
    early = activity < EARLY_BELOW
    central = {}
    for name, (median, slope, scatter) in RELATIONS.items():
        values = median + slope * activity + scatter * rng.normal(size=count)
        central[name] = values + EARLY_SHIFTS.get(name, 0.0) * early
    mass = 10 ** rng.normal(*STELLAR_MASS_LOG, size=count)
    share = rng.dirichlet(np.full(N_COMPONENTS, 3.0), size=count)
    quantities = {quantity.name: quantity for quantity in grid.quantities}

    flux = np.zeros((count, len(grid.bands)))
    sums = dict.fromkeys(("dust.luminosity", "stellar.lum", "dust.mass", "stellar.m_star"), 0.0)
    weighted_umin = 0.0
    for component in range(N_COMPONENTS):
        near = {
            name: values + COMPONENT_SCATTER * RELATIONS[name][2] * rng.normal(size=count)
            for name, values in central.items()
        }
        i, j = _nearest(stellar, near), _nearest(dusty, near)
        scale = share[:, component] * mass
        flux += scale[:, None] * (
            grid.stellar_flux[i] + grid.luminosity[i, None] * grid.dust_flux[j]
        )
        parts = {}
        for name in sums:
            quantity = quantities[name]
            part = scale * quantity.stellar[i]
            parts[name] = part if quantity.dust is None else part * quantity.dust[j]
            sums[name] = sums[name] + parts[name]
        weighted_umin = weighted_umin + parts["dust.mass"] * grid.dust_parameters["dust.umin"][j]
    sums["dust.umin"] = weighted_umin / np.maximum(sums["dust.mass"], np.finfo(float).tiny)

    distance = np.array([galaxy.distance for galaxy in galaxies])
    names = np.array([galaxy.galaxy for galaxy in galaxies], dtype=object)
    known = band_table()
    flux /= grid_scale(distance)[:, None]
    observed = {"galaxy": names}
    absent = {instrument: rng.random(count) < part for instrument, part in ABSENT.items()}
    for column, band in enumerate(grid.bands):
        error = flux[:, column] * np.hypot(_calibration(known[band]), NOISE)
        value = flux[:, column] + error * rng.normal(size=count)
        gone = absent.get(band.split("_")[0], np.zeros(count, dtype=bool))
        observed[band] = np.where(gone, np.nan, value)
        observed[f"{band}_err"] = np.where(gone, np.nan, error)
    truth = {"galaxy": names}
    for name, values in sums.items():
        truth[f"bayes.{name}"] = values
        truth[f"bayes.{name}_err"] = np.zeros(count)
    return Table(observed), Table(truth)


def _calibration(band):
    """Return a band's calibration uncertainty as a fraction; that of MIPS 160 if unknown."""
    return band.calibration if np.isfinite(band.calibration) else 0.12


def _nodes(parameters):
    """Return the parameters that the relations know, on their scale: name to array of models."""
    found = {}
    for name, values in parameters.items():
        short = name.split(".", 1)[1]
        if short not in RELATIONS:
            continue
        # log10 of 0 is far below every draw, which is where no dust and no hot grains belong.
        with np.errstate(divide="ignore"):
            found[short] = values if short in LINEAR else np.log10(values)
        found[short] = np.maximum(found[short], -4.0)
    if not found:
        raise DataError("the mock needs a grid of sfhdelayedtrunc, dustatt_calzleit and themis")
    return found


def _nearest(nodes, wanted):
    """Return the index of the model whose parameters are nearest, axis by axis."""
    match = np.ones((len(next(iter(wanted.values()))), len(next(iter(nodes.values())))), dtype=bool)
    for name, values in nodes.items():
        levels = np.unique(values)
        index = np.abs(levels[:, None] - wanted[name]).argmin(axis=0)
        match &= values == levels[index][:, None]
    return match.argmax(axis=1)

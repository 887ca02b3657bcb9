"""Bayesian fits of a photometry table: CIGALE's columns in and out of the fit engine."""

from __future__ import annotations

import numpy as np

from dustcast.sed import engine
from dustcast.sed.spec import FactorisedGrid, Quantity
from dustcast.tables import DataError, Table
from dustcast.units import grid_scale

# Kept of the photometry in a table of fits, so that its rows can be joined and plotted.
KEYS = ("id", "galaxy", "scale")


def fit_table(photometry, grid, bands, options=None, *, progress=None):
    """Fit every row of a photometry table.

    Parameters
    ----------
    photometry : Table
        Columns of INTERFACES: id, galaxy, scale, distance (Mpc), then `<band>` and `<band>_err`
        in mJy; NaN is missing, a negative error marks an upper limit.
    grid : FactorisedGrid
        The models; its bands may be more than those that are fitted, and get a Bayesian flux.
    bands : list of str
        Bands that the fit sees.
    options : engine.FitOptions, optional
        How models are weighed and counted.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    Table
        `KEYS`, then CIGALE's columns: ``bayes.<quantity>`` and ``bayes.<band>`` (posterior mean)
        with ``_err`` (standard deviation), ``best.<quantity>``, ``best.<band>``,
        ``best.chi_square``, ``best.reduced_chi_square``, and ``n_bands``. Fluxes are in mJy as
        observed; extensive quantities are the object's own, at its distance. Rows that cannot be
        fitted are left out and listed in ``meta["exclusions"]``; a table that has no rows says why
        in ``meta["reason"]``.

    Raises
    ------
    DataError
        If a band is missing from the table or the grid, ids repeat, or a value is infinite.
    """
    photometry = _with_columns(photometry, bands)
    _check(photometry, grid, bands)
    n = photometry.n_rows
    flux = np.full((n, len(grid.bands)), np.nan)
    error = np.full((n, len(grid.bands)), np.nan)
    for band in bands:
        column = grid.bands.index(band)
        flux[:, column] = photometry[band]
        error[:, column] = photometry[f"{band}_err"]
    result = engine.fit(grid, flux, error, options, progress=progress)

    scale = grid_scale(np.asarray(photometry["distance"], dtype=float))
    columns = {key: photometry[key] for key in KEYS}
    units = {}
    for index, quantity in enumerate(grid.quantities):
        own = scale if quantity.power else 1.0
        name = quantity.name
        columns[f"bayes.{name}"] = result.mean[:, index] * own
        columns[f"bayes.{name}_err"] = result.std[:, index] * own
        columns[f"best.{name}"] = result.best_quantity(grid, name) * own
        for prefix, suffix in (("bayes", ""), ("bayes", "_err"), ("best", "")):
            units[f"{prefix}.{name}{suffix}"] = quantity.unit
    best_flux = result.best_flux(grid)
    for index, band in enumerate(grid.bands):
        columns[f"bayes.{band}"] = result.band_mean[:, index]
        columns[f"bayes.{band}_err"] = result.band_std[:, index]
        columns[f"best.{band}"] = best_flux[:, index]
        for name in (f"bayes.{band}", f"bayes.{band}_err", f"best.{band}"):
            units[name] = "mJy"
    columns["best.chi_square"] = result.chi2
    columns["best.reduced_chi_square"] = result.reduced_chi2
    columns["n_bands"] = result.n_bands
    fitted = result.status == engine.FITTED
    reasons = {
        engine.NO_BAND: "no flux in a band that the fit sees",
        engine.NO_MODEL: "no model of positive mass fits: negative fluxes dominate",
    }
    # Pixels of a galaxy share a row.
    exclusions = dict.fromkeys(
        (str(photometry["galaxy"][row]), "", str(photometry["scale"][row]), "fit_sed", reason)
        for row in np.flatnonzero(~fitted)
        for reason in [reasons[int(result.status[row])]]
    )
    meta = {"exclusions": [list(row) for row in exclusions], "grid": grid.meta}
    if not fitted.any():
        reason = photometry.meta.get("reason", "the photometry table is empty")
        meta["reason"] = "; ".join({row[-1]: None for row in exclusions}) or reason
    return Table(columns, units=units, meta=meta).rows(fitted)


def warm_up():
    """Compile the engine by fitting a few observations with a grid of a few models.

    numba keeps what it compiles on disk; jobs that start afterwards load it.
    """
    rng = np.random.default_rng(0)
    bands = ("GALEX_FUV", "WISE_3.4", "WISE_12", "PACS_100", "SPIRE_250")
    stellar, dusty = rng.uniform(0.5, 2.0, (40, 5)), rng.uniform(0.5, 2.0, (30, 5))
    dusty[:, :2] = 0.0
    quantities = (
        Quantity("stellar.m_star", 1, "solMass", stellar=np.ones(40)),
        Quantity("dust.umin", 0, "", dust=rng.uniform(0.1, 10.0, 30)),
    )
    grid = FactorisedGrid(bands, stellar, rng.uniform(0.1, 1.0, 40), dusty, quantities)
    flux = 1e3 * (stellar[:4] + 0.5 * dusty[:4])
    for method in ("pruned", "screen"):
        engine.fit(grid, flux, 0.1 * flux, engine.FitOptions(method=method))


def _with_columns(photometry, bands):
    """Return the table; one without rows gets the columns that it may lack."""
    if photometry.n_rows:
        return photometry
    wanted = (*KEYS, "distance", *(band + end for band in bands for end in ("", "_err")))
    columns = {name: np.empty(0, dtype=object if name in KEYS else float) for name in wanted}
    return Table(columns, meta=photometry.meta)


def _check(photometry, grid, bands):
    """Raise `DataError` if a photometry table cannot be fitted."""
    where = "the photometry table"
    missing = [name for name in (*KEYS, "distance") if name not in photometry]
    missing += [name for band in bands for name in (band, f"{band}_err") if name not in photometry]
    if missing:
        raise DataError(f"{where} lacks the column {missing[0]}: make it anew")
    strange = [band for band in bands if band not in grid.bands]
    if strange:
        raise DataError(f"the grid has no fluxes in {strange[0]}: add the band to the run")
    unique, counts = np.unique(np.asarray(photometry["id"], dtype=str), return_counts=True)
    if np.any(counts > 1):
        raise DataError(f"{where} has the id {unique[counts > 1][0]} twice: remove one row")
    distance = np.asarray(photometry["distance"], dtype=float)
    wrong = ~(distance > 0) | ~np.isfinite(distance)
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        raise DataError(
            f"{where} gives {photometry['galaxy'][row]} a distance of {distance[row]} Mpc: it must "
            "be above 0"
        )
    for band in bands:
        for name in (band, f"{band}_err"):
            infinite = np.isinf(np.asarray(photometry[name], dtype=float))
            if infinite.any():
                row = np.flatnonzero(infinite)[0]
                raise DataError(
                    f"{where} has an infinite {name} for {photometry['id'][row]}: leave the field "
                    "empty if the flux is missing"
                )

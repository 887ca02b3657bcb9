"""Bayesian fits of a photometry table: CIGALE's columns in and out of the fit engine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from dustcast.provenance import code_hash, versions
from dustcast.sed import engine
from dustcast.sed.spec import FactorisedGrid, Quantity
from dustcast.tables import DataError, Table, read_parts, read_table, write_parts, write_table
from dustcast.units import grid_scale

# Kept of the photometry in a table of fits, so that its rows can be joined and plotted.
KEYS = ("id", "galaxy", "scale")

# Rows between two checkpoints: a minute of work on one core, and some megabytes of results.
CHUNK_ROWS = 2048


def fit_table(photometry, grid, bands, options=None, *, logs=(), marginals=(), progress=None):
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
    logs : sequence of str
        Quantities of which mean and standard deviation of log10 are wanted too: columns
        ``bayes.<quantity>_log`` and ``bayes.<quantity>_log_err``.
    marginals : sequence of str
        Parameters of the grid whose whole posterior is wanted: a column
        ``pdf.<parameter>=<value>`` with the probability of each of its values.
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
        If a band is missing from the table or the grid, ids repeat, a value is infinite, or a
        parameter is unknown.
    """
    photometry = _with_columns(photometry, bands)
    _check(photometry, grid, bands)
    _check_ids(photometry["id"])
    prepared = _prepare(grid, options, logs, marginals)
    return _fit(photometry, prepared, bands, progress)


def fit_file(
    photometry,
    output,
    grid,
    bands,
    options=None,
    *,
    logs=(),
    marginals=(),
    meta=None,
    progress=None,
):
    """Fit a photometry table of any length from file to file, a chunk of rows at a time.

    Finished chunks are kept in a folder beside the output, whose name holds a hash of all that
    the result depends on. A fit that was interrupted continues there, one of anything else never
    uses them, and they go when the output is in place. The output is the same, byte for byte,
    however often the work was interrupted.

    Parameters
    ----------
    photometry, output : str or Path
        Parquet tables, in and out; their columns are those of `fit_table`. If the output is
        already there and was made of the same, nothing is done.
    grid, bands, options, logs, marginals
        See `fit_table`.
    meta : dict, optional
        Provenance for the output.
    progress : callable, optional
        Called as ``progress(done, total)`` with the number of rows of this call: those that were
        fitted before an interruption do not count.

    Raises
    ------
    DataError
        As `fit_table`; the whole table is checked before the first fit.
    """
    photometry, output = Path(photometry), Path(output)
    options = options or engine.FitOptions()
    ids, chunks = [], 0
    for part in read_parts(photometry, CHUNK_ROWS):
        _check(_with_columns(part, bands), grid, bands)
        ids.extend(part.get("id", ()))
        chunks += 1
    _check_ids(ids)

    key = _key(photometry, grid, bands, options, [*logs, *marginals])
    if output.is_file() and next(read_parts(output, 1)).meta.get("fit") == key:
        return
    folder = output.with_name(f".{output.name}.{key}.chunks")
    for stale in output.parent.glob(f".{output.name}.*.chunks"):
        if stale != folder:
            shutil.rmtree(stale)
    paths = [folder / f"{number:06d}.parquet" for number in range(chunks)]
    waiting = {number for number, path in enumerate(paths) if not path.is_file()}
    total = sum(min(CHUNK_ROWS, len(ids) - number * CHUNK_ROWS) for number in waiting)
    if len(waiting) < chunks:
        print(f"continuing: {len(ids) - total} of {len(ids)} rows were fitted before", flush=True)
    prepared = _prepare(grid, options, logs, marginals) if waiting else None
    before = 0
    for number, part in enumerate(read_parts(photometry, CHUNK_ROWS)):
        if number not in waiting:
            continue
        tell = None
        if progress is not None:

            def tell(done, _, before=before):
                progress(before + done, total)

        part = _with_columns(part, bands)
        write_table(paths[number], _fit(part, prepared, bands, tell))
        before += part.n_rows

    whole = dict(meta or {}) | {"grid": grid.meta, "fit": key}
    metas = [next(read_parts(path, 1)).meta for path in paths]
    exclusions = dict.fromkeys(tuple(row) for part in metas for row in part["exclusions"])
    whole["exclusions"] = [list(row) for row in exclusions]
    if all("reason" in part for part in metas):
        whole["reason"] = "; ".join({part["reason"]: None for part in metas})
    write_parts(output, map(read_table, paths), meta=whole)
    shutil.rmtree(folder)


def _prepare(grid, options, logs, marginals):
    """Return the engine made ready for a grid."""
    known = [*grid.stellar_parameters, *grid.dust_parameters]
    for name in marginals:
        if name not in known:
            raise DataError(
                f"the grid has no parameter {name} to give the posterior of: use {', '.join(known)}"
            )
    return engine.prepare(grid, options, want_log=logs, want_marginals=marginals)


def _fit(photometry, prepared, bands, progress):
    """Fit the rows of a table that was checked."""
    grid = prepared.grid
    n = photometry.n_rows
    flux = np.full((n, len(grid.bands)), np.nan)
    error = np.full((n, len(grid.bands)), np.nan)
    for band in bands:
        column = grid.bands.index(band)
        flux[:, column] = photometry[band]
        error[:, column] = photometry[f"{band}_err"]
    result = prepared.fit(flux, error, progress=progress)

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
        if name in prepared.want_log:
            columns[f"bayes.{name}_log"] = result.log_mean[:, index] + np.log10(own)
            columns[f"bayes.{name}_log_err"] = result.log_std[:, index]
    best_flux = result.best_flux(grid)
    for index, band in enumerate(grid.bands):
        columns[f"bayes.{band}"] = result.band_mean[:, index]
        columns[f"bayes.{band}_err"] = result.band_std[:, index]
        columns[f"best.{band}"] = best_flux[:, index]
        for name in (f"bayes.{band}", f"bayes.{band}_err", f"best.{band}"):
            units[name] = "mJy"
    for name, (values, probability) in result.marginals.items():
        columns |= {f"pdf.{name}={v:g}": probability[:, k] for k, v in enumerate(values)}
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

    numba keeps what it compiles on disk; jobs that start afterwards load it. All that they call has
    to be there: a kernel that a job compiles itself differs from the loaded one in the last bits.
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
        options = engine.FitOptions(method=method)
        engine.fit(grid, flux, 0.1 * flux, options, want_log=["dust.umin"])


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


def _check_ids(ids):
    """Raise `DataError` if an id stands twice."""
    unique, counts = np.unique(np.asarray(ids, dtype=str), return_counts=True)
    if np.any(counts > 1):
        raise DataError(
            f"the photometry table has the id {unique[counts > 1][0]} twice: remove one row"
        )


def _key(photometry, grid, bands, options, asked):
    """Return a hash of all that a fit of a file depends on."""
    digest = hashlib.sha256()
    with open(photometry, "rb") as handle:
        digest.update(hashlib.file_digest(handle, "sha256").digest())
    arrays = [grid.stellar_flux, grid.luminosity, grid.dust_flux]
    arrays += [part for q in grid.quantities for part in (q.stellar, q.dust) if part is not None]
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    # The number of threads changes no result.
    settings = {k: v for k, v in dataclasses.asdict(options).items() if k != "threads"}
    others = [
        grid.bands,
        [(q.name, q.power, q.stellar is None, q.dust is None) for q in grid.quantities],
        grid.meta,
        list(bands),
        settings,
        asked,
        CHUNK_ROWS,
        code_hash("sed"),
        versions("numpy", "scipy", "numba", "pyarrow"),
    ]
    digest.update(json.dumps(others, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]

"""CIGALE's pdf_analysis: an input table in, its tables of results out, fitted by our engine."""

from __future__ import annotations

import dataclasses
import shutil
import zlib
from pathlib import Path

import numpy as np

from dustcast.sed import cosmology
from dustcast.sed.cigale import read_input, write_results
from dustcast.sed.engine import FitOptions
from dustcast.sed.fit import fit_file
from dustcast.sed.grid import build_grid, model_spectra
from dustcast.tables import DataError, Table, atomic, places, read_table, write_table
from dustcast.units import MJY_W_M2_HZ, PARSEC_M, SPEED_OF_LIGHT

# Seed of the noise of the mock analysis.
MOCK_SEED = 0

# Spectra of best models that are in memory together.
SPECTRA_AT_A_TIME = 64

# Where the results hold the parameters of the attenuation modules.
SCREEN_COLUMNS = {
    "E_BVs_young": "attenuation.E_BVs.stellar.young",
    "E_BVs_old_factor": "attenuation.ebvs_old_factor",
    "Av_young": "attenuation.Av.stellar.young",
    "Av_old_factor": "attenuation.ebvs_old_factor",
    "E_BV_lines": "attenuation.E_BV_lines",
    "E_BV_factor": "attenuation.E_BV_factor",
    "powerlaw_slope": "attenuation.powerlaw_slope",
    "uv_bump_amplitude": "attenuation.uv_bump_amplitude",
}


def run(
    configuration,
    output,
    *,
    options=None,
    filters=None,
    themis=None,
    marginals=(),
    progress=None,
):
    """Do what a pcigale.ini asks for.

    Writes ``results`` and ``observations``, with the mock analysis ``results_mock`` and
    ``observations_mock``, each as ``.fits`` and ``.txt``, and if asked for the best model of each
    object, ``{id}_best_model.fits``. What is finished when the work is
    interrupted is kept in ``{output}/.dustcast`` and used by the next call.

    Parameters
    ----------
    configuration : dustcast.sed.configuration.Configuration
        As read from a pcigale.ini.
    output : str or Path
        Folder of the results.
    options : FitOptions, optional
        Method, tolerance and threads; the configuration sets the rest.
    filters, themis : str or Path, optional
        Folders of CIGALE's transmission curves and of the THEMIS tables.
    marginals : sequence of str
        Parameters of the grid whose whole posterior is a set of columns
        ``pdf.<parameter>=<value>`` of the results.
    progress : callable, optional
        Returns a counter (called as ``counter(done, total)``) for a number of SEDs and a label.

    Returns
    -------
    list of str
        What was left out, one sentence each.

    Raises
    ------
    DataError
        If the table is wrong, lacks a band, or the grid is.
    """
    output = Path(output)
    options = dataclasses.replace(
        options or FitOptions(),
        additional_error=configuration.additional_error,
        upper_limits=configuration.upper_limits,
    )
    table = _observations(configuration)
    if configuration.save_best_sed:
        _check_best_models(configuration.spec)
    work = output / ".dustcast"
    analyse = _Analysis(configuration, options, filters, themis, marginals, progress)
    fits = analyse(table, work / "fits", "SEDs fitted")
    observed = with_additional_error(table, configuration.names, options.additional_error)
    write_results(output / "observations", observations_table(observed, configuration))
    write_results(output / "results", results_table(table, fits, configuration))
    if configuration.save_best_sed:
        save_best_models(output, table, fits, configuration.spec, themis=themis)
    if configuration.mock:
        mock = mock_observations(observed, fits, configuration.names)
        # Its errors hold the additional error already.
        analyse.options = dataclasses.replace(options, additional_error=0.0)
        again = analyse(mock, work / "mock", "mock SEDs fitted")
        write_results(output / "observations_mock", observations_table(mock, configuration))
        write_results(output / "results_mock", results_table(mock, again, configuration))
    shutil.rmtree(work)
    fitted = set(fits["id"])
    lost = {row[0]: row[-1] for row in fits.meta["exclusions"]}
    return [f"{name}: {lost.get(name, 'not fitted')}" for name in table["id"] if name not in fitted]


def _observations(configuration):
    """Return the input table with redshift, model_redshift and distance of every object."""
    table = read_input(configuration.data_file, key="data_file")
    where = configuration.data_file
    for band, name in configuration.names.items():
        if band not in table:
            raise DataError(f"{where} has no column {name}, which bands names: add or remove it")
    n = table.n_rows
    if configuration.redshift is not None:
        table["redshift"] = np.full(n, configuration.redshift)
    if "redshift" not in table:
        raise DataError(f"{where} has no column redshift: add it, 0 for nearby galaxies")
    wrong = ~(table["redshift"] >= 0)
    if wrong.any():
        name = table["id"][wrong][0]
        raise DataError(f"{where}: {name} has no redshift of 0 or more: remove its row or give one")
    decimals = configuration.redshift_decimals
    models = table["redshift"] if decimals < 0 else np.round(table["redshift"], decimals)
    table["model_redshift"] = models
    given = table.get("distance", np.full(n, np.nan))
    table["distance"] = np.where(
        np.isfinite(given), given, cosmology.luminosity_distance(table["redshift"])
    )
    for band in configuration.names:
        flux, error = table[band], table[f"{band}_err"]
        known = np.isfinite(flux) & np.isfinite(error) & (error != 0)
        table[band] = np.where(known, flux, np.nan)
        table[f"{band}_err"] = np.where(known, error, np.nan)
    return table


class _Analysis:
    """Fits of tables of observations, each redshift with the grid of its own."""

    def __init__(self, configuration, options, filters, themis, marginals, progress):
        self.configuration, self.options = configuration, options
        self.filters, self.themis = filters, themis
        self.marginals, self.progress = marginals, progress

    def __call__(self, table, folder, label):
        """Return the fits of a table as `fit_table` gives them, of all redshifts together."""
        configuration = self.configuration
        bands = list(configuration.names)
        parts = []
        for redshift in np.unique(table["model_redshift"]):
            grid = build_grid(
                cosmology.without_older_models(configuration.spec, redshift),
                list(dict.fromkeys([*bands, *configuration.fluxes])),
                filters_folder=self.filters,
                themis_folder=self.themis,
                redshift=float(redshift),
            )
            rows = table.rows(table["model_redshift"] == redshift)
            logs = _logarithms(configuration.variables, grid)
            paths = [folder / f"{kind}_{redshift:g}.parquet" for kind in ("photometry", "fits")]
            write_table(paths[0], _photometry(rows, bands))
            counter = self.progress(rows.n_rows, label) if self.progress else None
            fit_file(
                *paths,
                grid,
                bands,
                self.options,
                logs=logs,
                marginals=self.marginals,
                progress=counter,
            )
            parts.append(read_table(paths[1]))
        return _together(parts)


def _logarithms(variables, grid):
    """Return the quantities whose logarithm is among the variables."""
    known = {q.name for q in grid.quantities}
    for name in variables:
        if name.removesuffix("_log") not in known:
            raise DataError(
                f"variables names {name}, which dustcast does not estimate: use "
                f"{', '.join(sorted(known))}"
            )
    return [name.removesuffix("_log") for name in variables if name.endswith("_log")]


def _photometry(rows, bands):
    """Return the photometry table of some objects."""
    columns = {
        "id": rows["id"],
        "galaxy": rows["id"],
        "scale": np.full(rows.n_rows, "global", dtype=object),
        "distance": _fitted_distance(rows),
    }
    columns |= {band + end: rows[band + end] for band in bands for end in ("", "_err")}
    return Table(columns)


def _fitted_distance(rows):
    """Return the distance in Mpc that makes models of the rounded redshift those of the true one.

    The flux density of the models is that at the rounded redshift; CIGALE corrects it by the
    distances and by 1 + z.
    """
    dimming = (1.0 + rows["model_redshift"]) / (1.0 + rows["redshift"])
    return rows["distance"] * np.sqrt(dimming)


def _together(parts):
    """Return the fits of several redshifts as one table."""
    # The posterior of an age that a redshift's grid lacks is 0.
    columns = {
        name: np.concatenate([part.get(name, np.zeros(part.n_rows)) for part in parts])
        for name in dict.fromkeys(name for part in parts for name in part)
    }
    exclusions = [row for part in parts for row in part.meta["exclusions"]]
    meta = parts[0].meta | {"exclusions": exclusions}
    return Table(columns, units=parts[0].units, meta=meta)


def with_additional_error(table, bands, additional_error):
    """Return a table of fluxes whose errors hold CIGALE's `additionalerror`.

    sigma^2 = error^2 + (additional_error flux)^2; an upper limit keeps its error.
    """
    found = Table(table, units=table.units, meta=table.meta)
    for band in bands:
        flux, error = table[band], table[f"{band}_err"]
        whole = np.hypot(error, additional_error * flux)
        found[f"{band}_err"] = np.where(error > 0, whole, error)
    return found


def mock_observations(observed, fits, bands, seed=MOCK_SEED):
    """Return observations of the best models: what a fit of them finds is what the data constrain.

    Parameters
    ----------
    observed : Table
        id, `<band>` and `<band>_err` in mJy, the additional error included.
    fits : Table
        id and ``best.<band>``.
    bands : iterable of str
        Bands that were fitted.
    seed : int
        The noise of an object depends on this and its id alone.

    Returns
    -------
    Table
        As `observed`, with the best model's flux plus Gaussian noise of the error where a flux
        was measured. Upper limits stay as they are. Objects without a fit have no flux.
    """
    found = Table(observed, units=observed.units, meta=observed.meta)
    bands = list(bands)
    fitted = np.isin(observed["id"].astype(str), fits["id"].astype(str))
    noise = np.array(
        [
            np.random.default_rng([seed, zlib.crc32(str(name).encode())]).normal(size=len(bands))
            for name in observed["id"]
        ]
    )
    for column, band in enumerate(bands):
        error = observed[f"{band}_err"]
        drawn = _aligned(fits, f"best.{band}", observed["id"]) + noise[:, column] * error
        found[band] = np.where((error < 0) & fitted, observed[band], drawn)
    return found


def _check_best_models(spec):
    """Raise `DataError` if the results do not tell which models are the best."""
    for key, values in spec.parameters["attenuation"].items():
        if key not in SCREEN_COLUMNS and len(values) > 1:
            raise DataError(
                f"save_best_sed needs one value of {key}: give one, or set save_best_sed to False"
            )


def save_best_models(output, table, fits, spec, *, themis=None):
    """Write the spectrum of each object's best model as CIGALE does: ``{id}_best_model.fits``.

    Parameters
    ----------
    output : str or Path
        The folder.
    table : Table
        The observations: id, redshift, model_redshift, distance.
    fits : Table
        Their fits, with ``best.<quantity>``.
    spec : GridSpec
        The models.
    themis : str or Path, optional
        Folder of the THEMIS tables.

    Notes
    -----
    Columns: ``wavelength`` (observed, nm), ``Fnu`` (mJy), ``L_lambda_total`` and its components
    (W/nm, per nm of observed wavelength as CIGALE has them).
    """
    from astropy.table import Column
    from astropy.table import Table as AstropyTable

    of_fit = places(fits["id"], table["id"])
    fitted = np.flatnonzero(of_fit >= 0)
    for first in range(0, len(fitted), SPECTRA_AT_A_TIME):
        rows = fitted[first : first + SPECTRA_AT_A_TIME]
        best = fits.rows(of_fit[rows])
        wavelength, components = model_spectra(
            spec, _best_parameters(spec, best), themis_folder=themis
        )
        for k, row in enumerate(rows):
            shift = 1.0 + table["model_redshift"][row]
            metres = _fitted_distance(table)[row] * 1e6 * PARSEC_M
            scale = best["best.sfh.integrated"][k] / shift
            parts = {name: scale * spectra[k] for name, spectra in components.items()}
            total = sum(parts.values())
            observed = wavelength * shift
            nm_per_s = SPEED_OF_LIGHT * 1e9
            fnu = total / (4 * np.pi * metres**2) * observed**2 / nm_per_s / MJY_W_M2_HZ
            columns = [
                Column(observed, name="wavelength", unit="nm"),
                Column(fnu, name="Fnu", unit="mJy"),
                Column(total, name="L_lambda_total", unit="W / nm"),
                *(Column(values, name=name, unit="W / nm") for name, values in parts.items()),
            ]
            name = str(table["id"][row]).replace("/", "_")
            with atomic(Path(output) / f"{name}_best_model.fits") as temporary:
                AstropyTable(columns).write(temporary, format="fits")


def _best_parameters(spec, best):
    """Return the parameters of the best models, by step."""
    n = best.n_rows
    screen = {
        key: best[f"best.{SCREEN_COLUMNS[key]}"] if key in SCREEN_COLUMNS else np.full(n, values[0])
        for key, values in spec.parameters["attenuation"].items()
    }
    return {
        "sfh": {key: best[f"best.sfh.{key}"] for key in spec.parameters["sfh"]},
        "attenuation": screen,
        "dust": {key: best[f"best.dust.{key}"] for key in spec.parameters["dust"]},
    }


def _aligned(fits, column, ids):
    """Return a column of the fits in the order of `ids`, NaN where there is no fit."""
    value_of = dict(zip(fits["id"], fits[column]))
    return np.array([value_of.get(name, np.nan) for name in ids], dtype=float)


def observations_table(observed, configuration):
    """Return observations under CIGALE's names: id, redshift, distance, bands with errors."""
    columns = {name: observed[name] for name in ("id", "redshift", "distance")}
    units = {"distance": "Mpc"}
    for band, name in configuration.names.items():
        for end in ("", "_err"):
            columns[name + end] = observed[band + end]
            units[name + end] = "mJy"
    return Table(columns, units=units)


def results_table(table, fits, configuration):
    """Return fits as CIGALE's table of results: one row an object of the input, NaN if not fitted.

    Parameters
    ----------
    table : Table
        The observations: id, redshift, model_redshift, distance.
    fits : Table
        As from `dustcast.sed.fit.fit_table`.
    configuration : Configuration
        Names of the bands, variables.

    Returns
    -------
    Table
        id; ``bayes.<variable>`` and ``_err`` sorted by name; ``best.chi_square``,
        ``best.reduced_chi_square``; ``best.<quantity>`` and ``best.<band>``;
        ``pdf.<parameter>=<value>`` if the fits have them.
    """
    names = {**{band: band for band in configuration.fluxes}, **configuration.names}
    own = dict.fromkeys(f"best.{band}" for band in names)
    quantities = [n[5:] for n in fits if n.startswith("best.") and n not in own]
    quantities = [n for n in quantities if n not in ("chi_square", "reduced_chi_square")]
    variables = list(configuration.variables) or quantities
    wanted = {name: name for name in variables} | {
        band: names[band] for band in configuration.fluxes
    }
    columns, units = {"id": table["id"]}, {}

    def add(ours, theirs):
        columns[theirs] = _aligned(fits, ours, table["id"])
        units[theirs] = fits.units.get(ours, "")

    for ours, theirs in sorted(wanted.items(), key=lambda pair: pair[1]):
        add(f"bayes.{ours}", f"bayes.{theirs}")
        add(f"bayes.{ours}_err", f"bayes.{theirs}_err")
    for name in ("best.chi_square", "best.reduced_chi_square"):
        add(name, name)
    constants, constant_units = _constants(table, configuration)
    fitted = np.isin(table["id"].astype(str), fits["id"].astype(str))
    # The gas has the screen of its stars.
    alike = {
        f"best.attenuation.E_BVs.nebular.{part}_{end}": f"best.attenuation.E_BVs.stellar.{end}"
        for part in ("continuum", "lines")
        for end in ("old", "young")
        if f"attenuation.E_BVs.stellar.{end}" in quantities
    }
    best = {f"best.{name}": f"best.{name}" for name in quantities} | alike
    for name in sorted([*best, *constants]):
        if name in constants:
            columns[name] = np.where(fitted, constants[name], np.nan)
            units[name] = constant_units.get(name, "")
        else:
            add(best[name], name)
    for band, name in names.items():
        add(f"best.{band}", f"best.{name}")
    for name in fits:
        if name.startswith("pdf."):
            add(name, name)
    return Table(columns, units=units, meta=fits.meta)


def _constants(table, configuration):
    """Return what CIGALE's table of best models says beside the quantities of the grid."""
    parameters = configuration.spec.parameters
    n = table.n_rows
    ssp, gas = parameters["ssp"], parameters["nebular"]
    fixed = {
        "best.stellar.imf": 0.0,  # no pcigale.ini asks for another that we have
        "best.stellar.metallicity": ssp["metallicity"][0],
        "best.stellar.old_young_separation_age": ssp["separation_age"][0],
        **{
            f"best.nebular.{key}": gas[key][0] for key in ("logU", "f_esc", "f_dust", "lines_width")
        },
    }
    screen = parameters["attenuation"]
    for key in ("uv_bump_wavelength", "uv_bump_width"):
        if len(screen[key]) == 1:
            fixed[f"best.attenuation.{key}"] = screen[key][0]
    values = {name: np.full(n, value) for name, value in fixed.items()}
    redshifts = table["model_redshift"]
    ages = {z: cosmology.universe_age(z) for z in np.unique(redshifts)}
    values["best.universe.redshift"] = redshifts
    values["best.universe.age"] = np.array([ages[z] for z in redshifts])
    values["best.universe.luminosity_distance"] = (
        cosmology.luminosity_distance(redshifts) * 1e6 * PARSEC_M
    )
    units = {
        "best.universe.age": "Myr",
        "best.universe.luminosity_distance": "m",
        "best.stellar.old_young_separation_age": "Myr",
        "best.nebular.lines_width": "km / s",
        "best.attenuation.uv_bump_wavelength": "nm",
        "best.attenuation.uv_bump_width": "nm",
    }
    return values, units

"""Features, targets and weights: from two fits and the photometry to what a model reads.

The inputs of a model are Bayesian fluxes of the short (ultraviolet to mid-infrared) fit, so that
every band exists for every sample whatever was observed: colours to WISE 3.4 and the brightness
of WISE 3.4 (Dobbels & Baes 2021, section 2.2). The targets are Bayesian values of the full fit.
"""

from __future__ import annotations

import numpy as np

from dustcast.bands import REFERENCE_BAND
from dustcast.tables import DataError, Table, read_table
from dustcast.temperature import dust_temperature, log_umin
from dustcast.units import (
    DUST_TEMPERATURE_EXPONENT,
    MJY_SR_PER_MJY_ARCSEC2,
    MJY_W_M2_HZ,
    PARSEC_M,
    SOLAR_LUMINOSITY_W,
    SOLAR_MASS_KG,
)

TARGETS = ("sLd", "sMd", "Td")
"""Specific dust luminosity (dex), specific dust mass (dex), dust temperature (K)."""

TARGET_UNITS = {"sLd": "dex", "sMd": "dex", "Td": "K"}
GEOMETRIC_TD = "Td_geometric"
"""Column of the temperature of the geometric mean of Umin, where the truth is a fit."""

MAX_REDUCED_CHI2 = 10.0
"""Fits worse than this tell nothing of the galaxy (Dobbels et al. 2020 drop them too)."""


class FeatureTable(Table):
    """A table of features that remembers which samples it left out.

    Attributes
    ----------
    exclusions : Table
        Columns id, galaxy, reason: the samples that were dropped.
    """

    def __init__(self, columns=(), *, units=None, meta=None, exclusions=None):
        super().__init__(columns, units=units, meta=meta)
        self.exclusions = Table() if exclusions is None else exclusions

    def exclusion_rows(self, scale):
        """Return the exclusions as the rows of sample/exclusions.csv."""
        excluded = zip(self.exclusions.get("galaxy", ()), self.exclusions.get("reason", ()))
        return [[str(name), "", scale, "build_features", str(why)] for name, why in excluded]


def choose_geometric(table):
    """Make the temperature of the geometric mean of Umin the Td of a table, in place.

    Raises
    ------
    DataError
        If the table has none.
    """
    if GEOMETRIC_TD not in table:
        raise DataError("temperature is geometric, which a fit gives: let truth be one, as full")
    for end in ("", "_err"):
        table[f"Td{end}"] = table.pop(f"{GEOMETRIC_TD}{end}")


def sample_weights(galaxy, scale=None):
    """Return weights that give every galaxy the same say, however many samples it has.

    Parameters
    ----------
    galaxy : array_like of str, shape (n,)
        Galaxy of each sample.
    scale : array_like of str, shape (n,), optional
        Scale of each sample. With it, 1 / n(galaxy, scale): for metrics and plots of one scale.
        Without it, 1 / n(galaxy): for training and for what pools several scales.

    Returns
    -------
    numpy.ndarray, shape (n,)
        The weights of one galaxy (at one scale) sum to 1.
    """
    _, group = np.unique(np.asarray(galaxy, dtype=str), return_inverse=True)
    if scale is not None:
        _, level = np.unique(np.asarray(scale, dtype=str), return_inverse=True)
        _, group = np.unique(group * (level.max(initial=0) + 1) + level, return_inverse=True)
    return 1.0 / np.bincount(group, minlength=1)[group]


def targets_from_fit(full):
    """Return the targets of a full fit, with errors.

    Parameters
    ----------
    full : Table
        CIGALE's columns ``bayes.dust.luminosity`` (W), ``bayes.dust.mass`` (kg),
        ``bayes.stellar.lum`` (W), ``bayes.stellar.m_star`` (Msun), ``bayes.dust.umin``, each with
        ``_err``.

    Returns
    -------
    Table
        sLd, sMd (dex), Td, Td_geometric (K) and their ``_err``; not finite where the fit gives no
        positive mean.

    Notes
    -----
    Td is that of the mean of Umin, as in the paper, Td_geometric that of exp(<ln Umin>)
    (`log_umin`). Where the far-infrared is faint the posterior of Umin reaches over the decades of
    its prior, and the mean is what the hot end says.

    A ratio is the ratio of the linear Bayesian means, as in the official DustPedia table, which
    has nothing else. Errors propagate to first order as if numerator and denominator were
    independent: sigma(log10 a/b) = sqrt((sigma_a/a)^2 + (sigma_b/b)^2) / ln 10, and
    sigma(Td) = Td sigma(umin) / (5.79 umin).
    """
    dust, dust_err = _mean_and_relative_error(full, "bayes.dust.luminosity")
    star, star_err = _mean_and_relative_error(full, "bayes.stellar.lum")
    mass, mass_err = _mean_and_relative_error(full, "bayes.dust.mass")
    m_star, m_star_err = _mean_and_relative_error(full, "bayes.stellar.m_star")
    umin, umin_err = _mean_and_relative_error(full, "bayes.dust.umin")
    temperature = dust_temperature(umin)
    log, log_err = log_umin(full)
    geometric = dust_temperature(np.exp(log))
    return Table(
        {
            "sLd": np.log10(dust / star),
            "sLd_err": np.hypot(dust_err, star_err) / np.log(10),
            "sMd": np.log10(mass / SOLAR_MASS_KG / m_star),
            "sMd_err": np.hypot(mass_err, m_star_err) / np.log(10),
            "Td": temperature,
            "Td_err": temperature * umin_err * DUST_TEMPERATURE_EXPONENT,
            GEOMETRIC_TD: geometric,
            f"{GEOMETRIC_TD}_err": geometric * log_err * DUST_TEMPERATURE_EXPONENT,
        },
        units=_target_units((*TARGETS, GEOMETRIC_TD)),
    )


def official_truth(path):
    """Read the targets of whole galaxies from DustPedia's official CIGALE results.

    Parameters
    ----------
    path : str or Path
        See `official_fit`.

    Returns
    -------
    Table
        id (``{galaxy}/global``), sLd, sMd (dex), Td (K), and ``_err`` as in `targets_from_fit`.
    """
    fit = official_fit(path)
    targets = targets_from_fit(fit)
    return Table({"id": fit["id"]} | dict(targets), units=targets.units)


def official_fit(path):
    """Read DustPedia's official CIGALE results under the names and units of a fit.

    Parameters
    ----------
    path : str or Path
        dustpedia_cigale_results_final_version.csv (Nersesian et al. 2019), in solar units; its
        Lbolo is the unattenuated stellar luminosity.

    Returns
    -------
    Table
        id (``{galaxy}/global``) and what `targets_from_fit` reads, with errors.

    Raises
    ------
    DataError
        If a column is missing or a value is not a number.
    """
    names = {
        "bayes.dust.luminosity": "Ldust",
        "bayes.stellar.lum": "Lbolo",
        "bayes.dust.mass": "Mdust",
        "bayes.stellar.m_star": "Mstar",
        "bayes.dust.umin": "Umin",
    }
    columns = {}
    table = read_table(path, required=("id", *(f"{name}_err" for name in names.values())))
    for ours, theirs in names.items():
        for end in ("", "_err"):
            header = f"{theirs}_err" if end else _official_header(table, theirs, path)
            values = table[header]
            if values.dtype.kind not in "if":
                raise DataError(f"{path}: the column {header} holds what is not a number")
            columns[ours + end] = values.astype(float)
    units = {
        "bayes.dust.luminosity": SOLAR_LUMINOSITY_W,
        "bayes.stellar.lum": SOLAR_LUMINOSITY_W,
        "bayes.dust.mass": SOLAR_MASS_KG,
    }
    for name, unit in units.items():
        for end in ("", "_err"):
            columns[name + end] = columns[name + end] * unit
    sample_id = np.array([f"{name}/global" for name in table["id"]], dtype=object)
    return Table({"id": sample_id} | columns)


def _official_header(table, name, path):
    """Return the column of a quantity, whose unit is part of its name (``Ldust__Lsol``)."""
    found = [column for column in table if column == name or column.startswith(f"{name}__")]
    if not found:
        raise DataError(f"{path} lacks the column {name}: it has {', '.join(table)}")
    return found[0]


def build_features(
    short,
    full,
    photometry,
    bands,
    *,
    reference=REFERENCE_BAND,
    observed=False,
    flux_errors=False,
    w1="surface_brightness",
    truth=None,
    max_reduced_chi2=MAX_REDUCED_CHI2,
):
    """Return the inputs, targets and weights of the samples of one scale.

    Parameters
    ----------
    short : Table
        Short fit: id, ``bayes.<band>`` in mJy for each of `bands`, ``best.reduced_chi_square``.
    full : Table or None
        Full fit, for the targets (see `targets_from_fit`). None where the targets come from
        `truth`, or where there is no far-infrared data at all: targets are then NaN.
    photometry : Table
        Samples, in the order of the output: id, galaxy, scale, distance (Mpc), pixel_scale_pc,
        area_arcsec2 (of the pixel, or of the summed ellipse), and with `observed` also ``<band>``
        and ``<band>_err`` in mJy (NaN missing, negative error an upper limit).
    bands : list of str
        Input bands, with `reference` among them.
    reference : str
        Band that the colours refer to.
    observed : bool
        Add what the photometry says beyond the Bayesian fluxes: ``o_<band>`` =
        log10(observed / Bayesian flux) and ``e_<band>`` = log10(error / Bayesian flux), NaN where
        nothing positive was measured.
    flux_errors : bool
        Add ``s_<band>`` = log10(error / flux) of the Bayesian fluxes, for which `short` needs
        ``bayes.<band>_err``.
    w1 : {"surface_brightness", "luminosity"}
        Meaning of the column log_w1: log10 of the surface brightness of `reference` in MJy/sr, or
        log10 of its luminosity in W/Hz (as in Dobbels et al. 2020).
    truth : Table, optional
        Targets from elsewhere: id, sLd, sMd, Td and their ``_err`` (NaN if absent).
    max_reduced_chi2 : float
        Samples that either fit describes worse than this are left out.

    Returns
    -------
    FeatureTable
        Columns id, galaxy, scale, weight, ``c_<band>``, log_w1, log_scale, with `observed`
        ``o_<band>`` and ``e_<band>``, with `flux_errors` ``s_<band>``, sLd, sLd_err,
        sMd, sMd_err, Td, Td_err, and with `full` Td_geometric, Td_geometric_err. Its attribute
        `exclusions` lists id, galaxy and reason of each sample that was left out.

    Raises
    ------
    DataError
        If a table lacks a column, an id occurs twice, or an option is unknown.
    """
    if w1 not in ("surface_brightness", "luminosity"):
        raise DataError(f"features: w1 is {w1!r}: give surface_brightness or luminosity")
    if reference not in bands:
        raise DataError(f"features: the reference band {reference} is none of the input bands")
    brightness_column = "area_arcsec2" if w1 == "surface_brightness" else "distance"
    wanted = ["id", "galaxy", "scale", "pixel_scale_pc", brightness_column]
    wanted += [band + end for band in bands for end in ("", "_err")] if observed else []
    _require(photometry, wanted, "the photometry table")
    names = [f"bayes.{band}{end}" for band in bands for end in ("", "_err")[: 1 + flux_errors]]
    _require(short, ["id", *names], "the short fit")

    sample_id = np.asarray(photometry["id"], dtype=object)
    _index(sample_id, "the photometry table")
    reasons = _Reasons(len(sample_id))
    short = _aligned(short, sample_id, "the short fit", reasons)
    flux = np.array([_positive(short[f"bayes.{band}"]) for band in bands])
    flux = flux.reshape(len(bands), -1)
    reference_flux = flux[bands.index(reference)]

    columns = {
        f"c_{band}": np.log10(flux[k] / reference_flux)
        for k, band in enumerate(bands)
        if band != reference
    }
    if w1 == "luminosity":
        distance = _positive(photometry["distance"]) * 1e6 * PARSEC_M
        brightness = 4 * np.pi * distance**2 * reference_flux * MJY_W_M2_HZ
    else:
        area = _positive(photometry["area_arcsec2"])
        brightness = reference_flux / area * MJY_SR_PER_MJY_ARCSEC2
    columns["log_w1"] = np.log10(brightness)
    needed = np.all([np.isfinite(column) for column in columns.values()], axis=0)
    reasons.add(~needed, f"no Bayesian flux of every input band, or no {brightness_column}")
    # The scale is needed only by models of several scales, which check it themselves.
    columns["log_scale"] = np.log10(_positive(photometry["pixel_scale_pc"]))
    if observed:
        columns |= _observed_features(photometry, bands, flux)
    if flux_errors:
        columns |= {
            f"s_{band}": np.log10(_positive(short[f"bayes.{band}_err"]) / mean)
            for band, mean in zip(bands, flux)
        }
    reasons.add(*_bad_fit(short, max_reduced_chi2, "short fit"))

    targets, units = _targets(full, truth, sample_id, reasons, max_reduced_chi2)
    columns |= targets
    keep = reasons.none()
    galaxy = np.asarray(photometry["galaxy"], dtype=object)[keep]
    scale = np.asarray(photometry["scale"], dtype=object)[keep]
    labels = {
        "id": sample_id[keep],
        "galaxy": galaxy,
        "scale": scale,
        "weight": sample_weights(galaxy, scale),
    }
    units |= {"log_w1": "dex(MJy/sr)" if w1 == "surface_brightness" else "dex(W/Hz)"}
    units |= {"log_scale": "dex(pc)"}
    return FeatureTable(
        labels | {name: column[keep] for name, column in columns.items()},
        units=units,
        meta={"reference": reference, "w1": w1, "observed": bool(observed)},
        exclusions=reasons.table(sample_id, photometry["galaxy"]),
    )


def add_context(features, photometry, galaxies):
    """Add what a sample's place tells: r_r25 and the Hubble stage of its galaxy, in place.

    Parameters
    ----------
    features : Table
        From `build_features`.
    photometry : Table
        id and r_r25 of the same samples; without r_r25 it is NaN.
    galaxies : Table
        galaxy and hubble_stage (NaN where unknown).
    """
    radius = photometry.get("r_r25", np.full(photometry.n_rows, np.nan))
    radius = dict(zip(photometry["id"], np.asarray(radius, float)))
    stage = dict(zip(galaxies["galaxy"], np.asarray(galaxies["hubble_stage"], float)))
    features["r_r25"] = np.array([radius[name] for name in features["id"]], float)
    features["hubble_stage"] = np.array([stage[name] for name in features["galaxy"]], float)


def concatenate(tables):
    """Return the features of several scales as one table, with the columns that all share.

    Raises
    ------
    DataError
        If the tables mean different things by log_w1 or the colours.
    """
    tables = [table for table in tables if table]
    if not tables:
        return Table()
    first = tables[0]
    for table in tables[1:]:
        if any(table.meta.get(key) != first.meta.get(key) for key in ("reference", "w1")):
            raise DataError("features of several scales differ in their reference band or log_w1")
    names = [name for name in first if all(name in table for table in tables)]
    return Table(
        {name: np.concatenate([table[name] for table in tables]) for name in names},
        units=first.units,
        meta=first.meta,
    )


class _Reasons:
    """The first reason for which each sample is left out."""

    def __init__(self, n_rows):
        self._reason = np.full(n_rows, "", dtype=object)

    def add(self, rows, reason):
        self._reason[np.asarray(rows) & (self._reason == "")] = reason

    def none(self):
        return self._reason == ""

    def table(self, sample_id, galaxy):
        out = ~self.none()
        galaxy = np.asarray(galaxy, dtype=object)
        return Table({"id": sample_id[out], "galaxy": galaxy[out], "reason": self._reason[out]})


def _require(table, names, what):
    missing = [name for name in names if name not in table]
    if missing:
        raise DataError(f"{what} lacks the column {', '.join(missing)}: run the step before anew")


def _index(sample_id, what):
    """Return the row of each id, which must be unique."""
    rows = {name: row for row, name in enumerate(sample_id)}
    if len(rows) < len(sample_id):
        names, counts = np.unique(np.asarray(sample_id, dtype=str), return_counts=True)
        raise DataError(f"{what} has the id {names[counts > 1][0]} more than once: keep one")
    return rows


def _aligned(table, sample_id, what, reasons):
    """Return the numeric columns of `table` in the order of `sample_id`, NaN where it lacks one."""
    _require(table, ["id"], what)
    rows = _index(table["id"], what)
    row = np.array([rows.get(name, -1) for name in sample_id], dtype=int)
    reasons.add(row < 0, f"no row in {what}")
    aligned = Table()
    for name, column in table.items():
        column = np.asarray(column)
        if column.dtype.kind in "fiu":
            aligned[name] = np.full(len(row), np.nan)
            aligned[name][row >= 0] = column[row[row >= 0]]
    return aligned


def _target_units(names):
    """Return the unit of each target and of its error."""
    return {
        name + end: TARGET_UNITS[name.partition("_")[0]] for name in names for end in ("", "_err")
    }


def _positive(values):
    """Return finite positive values, NaN for all others: logarithms are taken next."""
    values = np.asarray(values, float)
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _mean_and_relative_error(fit, name):
    """Return a Bayesian mean (NaN unless positive) and its relative error (NaN if not given)."""
    _require(fit, [name], "the full fit")
    mean = _positive(fit[name])
    error = np.asarray(fit.get(name + "_err", np.full(len(mean), np.nan)), float)
    return mean, np.where(error >= 0, error, np.nan) / mean


def _bad_fit(fit, limit, what):
    """Return where the reduced chi2 is over the limit (never where it is undefined), and why."""
    chi2 = fit.get("best.reduced_chi_square", np.full(fit.n_rows, np.nan))
    return chi2 > limit, f"{what}: reduced chi2 > {limit:g}"


def _observed_features(photometry, bands, bayes_flux):
    """Return o_<band> and e_<band>: what was measured, in units of the Bayesian flux."""
    ratio, precision = {}, {}
    for band, expected in zip(bands, bayes_flux):
        error = np.asarray(photometry[band + "_err"], float)
        measured = np.isfinite(np.asarray(photometry[band], float)) & (error > 0)
        ratio[f"o_{band}"] = np.log10(
            _positive(np.where(measured, photometry[band], np.nan)) / expected
        )
        precision[f"e_{band}"] = np.log10(_positive(np.where(measured, error, np.nan)) / expected)
    return ratio | precision


def _targets(full, truth, sample_id, reasons, max_reduced_chi2):
    """Return target columns in the order of `sample_id`, and their units."""
    given = TARGETS if full is None else (*TARGETS, GEOMETRIC_TD)
    units = _target_units(given)
    names = list(units)
    if truth is not None:
        _require(truth, ["id", *TARGETS], "the table of true values")
        found = _aligned(truth, sample_id, "the table of true values", reasons)
    elif full is not None:
        full = _aligned(full, sample_id, "the full fit", reasons)
        reasons.add(*_bad_fit(full, max_reduced_chi2, "full fit"))
        found = targets_from_fit(full)
    else:
        return {name: np.full(len(sample_id), np.nan) for name in names}, units
    columns = {name: found.get(name, np.full(len(sample_id), np.nan)) for name in names}
    finite = np.all([np.isfinite(columns[name]) for name in TARGETS], axis=0)
    reasons.add(~finite, "no finite target")
    return columns, units

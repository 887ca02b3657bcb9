"""Own fits against the published results of the same galaxies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dustcast.bands import band_of_name
from dustcast.tables import DataError, Table, read_csv
from dustcast.temperature import dust_temperature
from dustcast.units import (
    SOLAR_LUMINOSITY_W,
    SOLAR_MASS_KG,
)

CHI2_LIMIT = 3.0
# Quantity, column of the official table, column of a fit and its unit in the official table's.
COMPARED = (
    ("log_Ldust", "Ldust__Lsol", "bayes.dust.luminosity", SOLAR_LUMINOSITY_W),
    ("log_Mdust", "Mdust__Msol", "bayes.dust.mass", SOLAR_MASS_KG),
    ("Tdust", "Tdust__K", "bayes.dust.umin", None),
    ("log_Mstar", "Mstar__Msol", "bayes.stellar.m_star", 1.0),
    ("log_SFR", "SFR__Msol_per_yr", "bayes.sfh.sfr", 1.0),
)


def compare(fit, official_path):
    """Compare a fit with DustPedia's official CIGALE table (Nersesian et al. 2019).

    Parameters
    ----------
    fit : Table
        From `dustcast.sed.fit.fit_table`, one row a galaxy.
    official_path : str or Path
        dustpedia_cigale_results_final_version.csv.

    Returns
    -------
    values : Table
        galaxy, quantity, own, official (log10 in solar units, or K) and the fit's reduced_chi2.
    statistics : Table
        quantity, subset (all, or chi2_below_3 in both), n, median_offset and rms of own minus
        official, the rms about 0.
    """
    official = {row["id"]: row for row in read_official(official_path)}
    rows = [index for index, name in enumerate(fit["galaxy"]) if name in official]
    names = fit["galaxy"][rows]
    own_chi2 = fit["best.reduced_chi_square"][rows]
    official_chi2 = np.array([float(official[name]["red_chi2"]) for name in names])
    good = (own_chi2 < CHI2_LIMIT) & (official_chi2 < CHI2_LIMIT)
    values, statistics = [], []
    for quantity, theirs, ours, unit in COMPARED:
        published = np.array([float(official[name][theirs]) for name in names])
        own = fit[ours][rows]
        if unit is None:
            own = dust_temperature(own)
        else:
            with np.errstate(divide="ignore"):
                own, published = np.log10(own / unit), np.log10(published)
        known = np.isfinite(own) & np.isfinite(published)
        for subset, chosen in (("all", known), ("chi2_below_3", known & good)):
            statistics.append((quantity, subset, *offset_and_rms((own - published)[chosen])))
        columns = (names, np.full(len(names), quantity, dtype=object), own, published, own_chi2)
        values.append([column[known] for column in columns])
    labels = ("galaxy", "quantity", "own", "official", "reduced_chi2")
    return (
        Table({name: np.concatenate(parts) for name, parts in zip(labels, zip(*values))}),
        _statistics_table(statistics),
    )


def compare_fluxes(fit, results_path):
    """Compare Bayesian fluxes with those of a CIGALE run.

    Parameters
    ----------
    fit : Table
        Short fit, one row a galaxy.
    results_path : str or Path
        results.txt of CIGALE, fields separated by single blanks.

    Returns
    -------
    Table
        quantity (the band), subset, n, median_offset and rms of log10 own / theirs, the rms about
        the median: a constant offset is a difference of templates, not of galaxies.
    """
    path = Path(results_path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: run the rule that fetches it") from None
    header = lines[0].split(" ") if lines else []
    theirs = {line.split(" ", 1)[0]: line.split(" ") for line in lines[1:]}
    if header[:1] != ["id"] or any(len(row) != len(header) for row in theirs.values()):
        raise DataError(f"{path} is not a whole results table of CIGALE: fetch it anew")
    rows = [index for index, name in enumerate(fit["galaxy"]) if name in theirs]
    statistics = []
    for column, name in enumerate(header):
        band = band_of_name(name.removeprefix("bayes."))
        if not name.startswith("bayes.") or band is None or f"bayes.{band}" not in fit:
            continue
        published = np.array([float(theirs[fit["galaxy"][row]][column]) for row in rows])
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = np.log10(fit[f"bayes.{band}"][rows] / published)
        difference = difference[np.isfinite(difference)]
        count, median, _ = offset_and_rms(difference)
        scatter = float(np.sqrt(np.mean((difference - median) ** 2))) if count else np.nan
        statistics.append((band, "all", count, median, scatter))
    return _statistics_table(statistics)


def read_official(path):
    """Read the official table; every value that is compared must be a number.

    Returns
    -------
    list of dict of str to str
    """
    columns = [column for _, column, _, _ in COMPARED]
    rows = read_csv(path, required=("id", "red_chi2", *columns))
    for row in rows:
        for column in (*columns, "red_chi2"):
            try:
                float(row[column])
            except ValueError:
                raise DataError(
                    f"{path}: {column} of {row['id']} is {row[column]!r}: a number is needed"
                ) from None
    return rows


def offset_and_rms(difference):
    """Return number, median and root mean square of differences (NaN if there are none)."""
    if not len(difference):
        return 0, np.nan, np.nan
    return len(difference), float(np.median(difference)), float(np.sqrt(np.mean(difference**2)))


def _statistics_table(rows):
    """Return rows of statistics as a table."""
    names = ("quantity", "subset", "n", "median_offset", "rms")
    columns = {name: [row[k] for row in rows] for k, name in enumerate(names)}
    text = {name: np.array(columns[name], dtype=object) for name in ("quantity", "subset")}
    return Table({name: text.get(name, np.array(values)) for name, values in columns.items()})

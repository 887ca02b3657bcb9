"""DustPedia's aperture photometry (Clark et al. 2018) and official fits (Nersesian et al. 2019)."""

from __future__ import annotations

import numpy as np

from dustcast.sample import SERIOUS_FLAGS
from dustcast.tables import DataError, Table, places, read_csv, read_table
from dustcast.temperature import dust_temperature

JY_TO_MJY = 1e3


def read_photometry(path, bands):
    """Read DustPedia's table of aperture photometry.

    Parameters
    ----------
    path : str or Path
        DustPedia_Aperture_Photometry_2.2.csv: name, and a band's flux and error in Jy with a flag.
    bands : list of str
        Bands to read; those that the table lacks are left out.

    Returns
    -------
    Table
        galaxy, and `<band>`, `<band>_err` in mJy; NaN where empty or seriously flagged.

    Raises
    ------
    DataError
        If the table is not such a one.
    """
    rows = read_csv(path, required=("name",))
    columns = {"galaxy": np.array([row["name"] for row in rows], dtype=object)}
    for band in bands:
        if not rows or band not in rows[0]:
            continue
        if f"{band}_err" not in rows[0]:
            raise DataError(f"{path} has the band {band} without {band}_err: fetch it anew")
        flags = [row.get(f"{band}_flag", "") for row in rows]
        flagged = np.array([bool(SERIOUS_FLAGS & set(flag)) for flag in flags])
        for name in (band, f"{band}_err"):
            values = np.array([_number(row, name, path) for row in rows]) * JY_TO_MJY
            columns[name] = np.where(flagged, np.nan, values)
    return Table(columns)


def read_population(photometry, official, bands):
    """Read the observed colours and the official dust properties of the DustPedia galaxies.

    Parameters
    ----------
    photometry : str or Path
        As for `read_photometry`.
    official : str or Path
        dustpedia_cigale_results_final_version.csv.
    bands : list of str

    Returns
    -------
    Table
        As `read_photometry` returns it, of the galaxies that both tables have, and sLd, sMd (dex),
        Td (K).

    Raises
    ------
    DataError
        If a table is not such a one.
    """
    seen = read_photometry(photometry, bands)
    names = ("Ldust__Lsol", "Lbolo__Lsol", "Mdust__Msol", "Mstar__Msol", "Umin")
    fits = read_table(official, required=("id", *names))
    fits = fits.rows(np.all([np.isfinite(fits[name]) for name in names], axis=0))
    dust_lum, lum, dust_mass, m_star, umin = (fits[name] for name in names)
    rows = places(fits["id"], seen["galaxy"])
    seen, rows = seen.rows(rows >= 0), rows[rows >= 0]
    targets = {
        "sLd": np.log10(dust_lum / lum),
        "sMd": np.log10(dust_mass / m_star),
        "Td": dust_temperature(umin),
    }
    return Table(dict(seen) | {name: values[rows] for name, values in targets.items()})


def _number(row, name, path):
    """Return a field as a number, NaN if it is empty."""
    text = row.get(name, "")
    try:
        return float(text) if text else np.nan
    except ValueError:
        raise DataError(
            f"{path}: {name} of {row['name']} is {text!r}: a number is needed"
        ) from None

"""Transmission curves of the bands and the exact integrals of spectra over them.

A band measures the mean flux density over its curve, quoted at its pivot wavelength (the
convention of CIGALE; Boquien et al. 2019, Sect. 4.3):

    <F_lambda> = int T F_lambda dlambda / int T dlambda
    F_nu       = <F_lambda> lambda_p^2 / c
    lambda_p^2 = int T dlambda / int T lambda^-2 dlambda

where T is the response per unit *energy*. Curves that give the response per photon are multiplied
by the wavelength when they are read, so a `Filter` always holds T. With this pivot wavelength a
source of constant F_nu has exactly that F_nu in each band.

The curve of each band is named in ``resources/filters/curves.csv``.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dustcast.tables import DataError, read_csv

FILTER_FOLDER = Path(__file__).resolve().parents[3] / "resources" / "filters"

# Exact by definition (SI; IAU 2012 for the parsec).
SPEED_OF_LIGHT = 299792458.0  # m/s
PARSEC = 648000.0 / np.pi * 149597870700.0  # m
AREA_10PC = 4.0 * np.pi * (10.0 * PARSEC) ** 2  # m2
MJY = 1e-29  # W m-2 Hz-1


@dataclass(frozen=True)
class Filter:
    """Transmission curve of a band.

    Attributes
    ----------
    name : str
        Band id, for example ``SPIRE_250``.
    wavelength_nm : ndarray of shape (n,)
        Strictly increasing wavelengths. The curve is linear between them and zero outside.
    transmission : ndarray of shape (n,)
        Response per unit energy, on any scale, not negative.
    """

    name: str
    wavelength_nm: np.ndarray
    transmission: np.ndarray

    @property
    def width_nm(self):
        """Integral of the transmission over wavelength in nm."""
        return np.trapezoid(self.transmission, self.wavelength_nm)

    @property
    def pivot_nm(self):
        """Pivot wavelength in nm, with both integrals exact for a piecewise linear curve."""
        low, high = self.wavelength_nm[:-1], self.wavelength_nm[1:]
        slope = np.diff(self.transmission) / (high - low)
        constant = self.transmission[:-1] - slope * low
        inverse_square = np.sum(constant * (1 / low - 1 / high) + slope * np.log(high / low))
        return float(np.sqrt(self.width_nm / inverse_square))

    @property
    def mjy_per_flux_density(self):
        """Factor from <L_lambda> in W/nm to F_nu in mJy at 10 pc."""
        # F_lambda per nm to per m is 1e9; the pivot wavelength is needed in m.
        return 1e9 * (1e-9 * self.pivot_nm) ** 2 / SPEED_OF_LIGHT / AREA_10PC / MJY


def load_curves(bands, folder=None):
    """Read the transmission curves of bands.

    Parameters
    ----------
    bands : list of str
        Band ids (DustPedia names), for example ``["GALEX_FUV", "SPIRE_250"]``.
    folder : str or Path, optional
        Folder of CIGALE's filter files ``*.dat``: three header lines ``# name``, ``# photon`` or
        ``# energy``, ``# description``, then wavelength in Angstrom and transmission. The curve
        of a band is found by the name in the first line, of any generation of CIGALE. By default
        the curves of astro-sedpy are used, and for SPIRE the extended-source curves that ship
        with dustcast.

    Returns
    -------
    dict of str to Filter
        In the order of `bands`.

    Raises
    ------
    DataError
        If a band is unknown, has no curve, or its file cannot be read.

    Notes
    -----
    The default curves and CIGALE 0.12's have the same pivot wavelengths within 0.7%, but for SDSS
    g, r, i and z (-2.2%, -1.2%, -2.2% and -1.5%): sedpy has the 2.5 m survey camera that took the
    images, CIGALE the primed system of the photometric telescope. To reproduce published CIGALE
    results give CIGALE's curves. Only these include Planck and IRAS. Fluxes of dust are lower in
    the default curves than in CIGALE's by 0.3% in PACS 160 and SPIRE 250, 0.8% in SPIRE 350 and
    0.9% in SPIRE 500 (medians of the best models of 712 DustPedia galaxies).
    """
    table = curve_table()
    unknown = [band for band in bands if band not in table]
    if unknown:
        raise DataError(
            f"the band {unknown[0]} is not known: the bands are {', '.join(table)} "
            f"({FILTER_FOLDER / 'curves.csv'})"
        )
    if folder is None:
        return {band: _default_curve(band, table[band]) for band in bands}
    return _folder_curves(bands, table, Path(folder))


@lru_cache(maxsize=1)
def curve_table():
    """Return the rows of resources/filters/curves.csv by band id (dict of str to dict)."""
    rows = read_csv(
        FILTER_FOLDER / "curves.csv",
        required=("band", "default", "type", "cigale", "note"),
    )
    return {row["band"]: row for row in rows}


def projection(filters, wavelength_nm):
    """Return the matrix that takes a spectrum to fluxes at 10 pc.

    The integrals are exact for spectra and transmission curves that are linear between their
    own wavelengths. A spectrum is zero outside its wavelengths.

    Parameters
    ----------
    filters : dict of str to Filter
        As from `load_curves`.
    wavelength_nm : array_like of shape (n_w,)
        Strictly increasing wavelengths of the spectrum.

    Returns
    -------
    ndarray of shape (n_w, n_band)
        mJy per (W/nm): ``flux_mjy = l_lambda @ projection(filters, wavelength_nm)``.

    Raises
    ------
    ValueError
        If the wavelengths do not increase strictly.
    """
    wavelength = _increasing(wavelength_nm, "wavelength_nm")
    matrix = np.zeros((len(wavelength), len(filters)))
    for column, curve in enumerate(filters.values()):
        low = max(wavelength[0], curve.wavelength_nm[0])
        high = min(wavelength[-1], curve.wavelength_nm[-1])
        if low >= high:
            continue
        nodes = np.union1d(wavelength, curve.wavelength_nm)
        nodes = nodes[(nodes >= low) & (nodes <= high)]
        transmission = np.interp(nodes, curve.wavelength_nm, curve.transmission)
        # int f T over an interval where both are linear, exactly:
        # h/6 [f0 (2 T0 + T1) + f1 (T0 + 2 T1)]
        step = np.diff(nodes) / 6
        weight = np.zeros(len(nodes))
        weight[:-1] += step * (2 * transmission[:-1] + transmission[1:])
        weight[1:] += step * (transmission[:-1] + 2 * transmission[1:])
        # f at a node is the linear interpolation between its neighbours in the spectrum.
        left = np.clip(np.searchsorted(wavelength, nodes, side="right") - 1, 0, len(wavelength) - 2)
        part = (nodes - wavelength[left]) / (wavelength[left + 1] - wavelength[left])
        np.add.at(matrix[:, column], left, weight * (1 - part))
        np.add.at(matrix[:, column], left + 1, weight * part)
        matrix[:, column] *= curve.mjy_per_flux_density / curve.width_nm
    return matrix


def line_projection(filters, line_wavelength_nm):
    """Return the matrix that takes line luminosities to fluxes at 10 pc.

    Parameters
    ----------
    filters : dict of str to Filter
        As from `load_curves`.
    line_wavelength_nm : array_like of shape (n_line,)
        Wavelengths of the lines, in any order; lines are narrow against every curve.

    Returns
    -------
    ndarray of shape (n_line, n_band)
        mJy per W of line luminosity.
    """
    lines = np.asarray(line_wavelength_nm, dtype=float)
    columns = [
        np.interp(lines, curve.wavelength_nm, curve.transmission, left=0.0, right=0.0)
        * (curve.mjy_per_flux_density / curve.width_nm)
        for curve in filters.values()
    ]
    return np.stack(columns, axis=-1) if columns else np.zeros((len(lines), 0))


def band_flux(filters, wavelength_nm, l_lambda):
    """Return the fluxes of spectra in bands, seen from 10 pc.

    Parameters
    ----------
    filters : dict of str to Filter
        As from `load_curves`.
    wavelength_nm : array_like of shape (n_w,)
        Strictly increasing wavelengths.
    l_lambda : array_like of shape (..., n_w)
        Luminosity per unit wavelength in W/nm.

    Returns
    -------
    ndarray of shape (..., n_band)
        F_nu in mJy at the pivot wavelength of each band.
    """
    return np.asarray(l_lambda) @ projection(filters, wavelength_nm)


def _default_curve(band, row):
    """Return the default curve of a band from astro-sedpy or from resources/filters."""
    source, _, name = row["default"].partition(":")
    if source == "file":
        return _curve(band, FILTER_FOLDER / name, row["type"])
    if source != "sedpy":
        raise DataError(
            f"the band {band} has no default transmission curve: give a folder with CIGALE's "
            f"curve {row['cigale'].split(';')[0]}, or leave the band out"
        )
    spec = importlib.util.find_spec("sedpy")
    if spec is None:
        raise DataError(
            f"the transmission curve of {band} is part of the package astro-sedpy, which is not "
            "installed: install it, or give a folder of CIGALE's curves"
        )
    return _curve(band, Path(spec.origin).parent / "data" / "filters" / f"{name}.par", row["type"])


def _folder_curves(bands, table, folder):
    """Return the curves of bands from a folder of CIGALE's filter files."""
    if not folder.is_dir():
        raise DataError(f"the folder of transmission curves {folder} does not exist")
    found = {}
    for path in sorted(folder.glob("*.dat")):
        header = _header(path)
        if header is None:
            continue
        name, kind = header
        if name in found:
            raise DataError(
                f"{folder} has two transmission curves named {name}, {found[name][0].name} and "
                f"{path.name}: remove one"
            )
        found[name] = (path, kind)
    curves = {}
    for band in bands:
        names = table[band]["cigale"].split(";")
        matches = [found[name] for name in names if name in found]
        if not matches:
            raise DataError(
                f"{folder} has no transmission curve of {band}: a .dat file is needed whose first "
                f"line is '# {names[0]}' (or {', '.join(names[1:])})"
            )
        path, kind = matches[0]
        curves[band] = _curve(band, path, kind)
    return curves


def _header(path):
    """Return name and type from the header of a CIGALE filter file, None if it is another file."""
    with open(path, encoding="utf-8", errors="replace") as handle:
        lines = [handle.readline() for _ in range(2)]
    if not all(line.startswith("#") for line in lines):
        return None
    name, kind = (line.lstrip("#").strip() for line in lines)
    return (name, kind) if kind in ("photon", "energy") else None


def _curve(band, path, kind):
    """Read a curve of two columns, Angstrom and transmission, as a Filter in energy units."""
    if not path.is_file():
        raise DataError(f"the transmission curve of {band}, {path}, does not exist")
    try:
        rows = np.loadtxt(path, usecols=(0, 1), ndmin=2, comments="#")
    except (ValueError, IndexError) as fault:
        raise DataError(
            f"{path} is not a transmission curve of two columns ({fault}): fetch it anew"
        ) from None
    if len(rows) < 2 or not np.all(np.isfinite(rows)) or np.any(rows[:, 0] <= 0):
        raise DataError(
            f"{path} holds no usable transmission curve: wavelengths in Angstrom above zero and "
            "finite transmissions are needed, at least two"
        )
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if np.any(np.diff(rows[:, 0]) == 0):
        raise DataError(f"{path} has a wavelength twice: remove one of the rows")
    # Measured curves scatter around zero outside the band.
    transmission = np.clip(rows[:, 1], 0.0, None)
    if kind == "photon":
        transmission = transmission * rows[:, 0]
    # One zero is kept at each end, so that the curve still falls to zero where it did.
    inside = np.nonzero(transmission > 0)[0]
    if len(inside) == 0:
        raise DataError(f"{path} is zero at all wavelengths: fetch the curve anew")
    keep = slice(max(inside[0] - 1, 0), inside[-1] + 2)
    return Filter(band, rows[keep, 0] / 10.0, transmission[keep] / transmission.max())


def _increasing(values, name):
    """Return values as a float array; they must increase strictly."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.all(np.diff(values) > 0):
        raise ValueError(f"{name} must be one-dimensional and increase strictly")
    return values

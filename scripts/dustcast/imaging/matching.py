"""Kernels that bring images from one PSF to another: found, or made, and checked.

A kernel is used only if the source PSF convolved with it is the target PSF within limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dustcast.bands import kernel_names
from dustcast.imaging.numerics import fft_convolve
from dustcast.imaging.psf import find_psf
from dustcast.sample import LARGEST_PSF_EXCESS
from dustcast.tables import DataError, atomic

# Limits of the check: residual over the target's peak, encircled energy, and the negative part of
# the kernel, which goes with the noise that it amplifies.
LARGEST_RESIDUAL = 0.01
LARGEST_ENERGY_ERROR = 0.02
LARGEST_NEGATIVE = 1.0

# How far PSFs are taken to go, the same for all targets: an image has one PSF, and a kernel that
# knew less of it than another would find the rest of its light in the core. SPIRE's beams are known
# to 280"; beyond 180" lie 3% to 4% of their energy.
REACH_ARCSEC = 180.0
# Of a narrow target no more than so many widths, of a wide one no less.
REACH_FWHM = (5.0, 40.0)
# Its own pixel resolves the target this finely, or the source if that is coarser.
STEPS_A_TARGET, STEPS_A_SOURCE = 12.0, 5.0
# Wiener regularisations, in shares of the source's peak power: the strongest that leaves this share
# of the limits is taken, because a weaker one amplifies noise.
REGULARIZATIONS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
WANTED = 0.5
# Frequencies at which a kernel passes less than this may be left out.
PASSED_NOTHING = 1e-4


@dataclass(frozen=True)
class Kernel:
    """A convolution kernel on a grid of its own.

    Attributes
    ----------
    values : ndarray of shape (n, n)
        Odd n, sum 1, centred.
    step : float
        Pixel size in arcsec.
    origin : str
        ``wiener``, ``identity``, or the name of a file.
    residual : float
        Largest difference between convolved source and target, over the target's peak.
    energy_error : float
        Largest difference of their encircled energies.
    """

    values: np.ndarray
    step: float
    origin: str
    residual: float = math.nan
    energy_error: float = math.nan

    @property
    def is_identity(self):
        """Whether images are left as they are."""
        return self.origin == "identity"

    @property
    def reach(self):
        """Distance in arcsec from the centre to the edge."""
        return self.step * (len(self.values) // 2)

    @property
    def error(self):
        """The larger of residual and energy error, each in units of its limit."""
        return max(self.residual / LARGEST_RESIDUAL, self.energy_error / LARGEST_ENERGY_ERROR)

    @property
    def negative(self):
        """Sum of the weights below 0, without its sign."""
        return float(-self.values.clip(max=0).sum())

    def highest_frequency(self):
        """Return the frequency, per arcsec, beyond which the kernel passes nothing."""
        import scipy.fft

        n = scipy.fft.next_fast_len(2 * len(self.values))
        passed = np.abs(scipy.fft.rfft2(self.values, s=(n, n)))
        fy, fx = scipy.fft.fftfreq(n, self.step), scipy.fft.rfftfreq(n, self.step)
        beyond = np.hypot(fy[:, None], fx)[passed > PASSED_NOTHING]
        return float(beyond.max())

    def sampled(self, step_y, step_x):
        """Return the kernel's weights on the pixels of an image, of sum 1.

        Parameters
        ----------
        step_y, step_x : float
            Pixel size of the image in arcsec along its rows and columns.

        Returns
        -------
        ndarray
            Odd shape. Where the image's pixel cannot follow the kernel, weights are means over
            pixels, else values at their centres: a mean would broaden the kernel.
        """
        from scipy import ndimage

        axes = []
        for step in (step_y, step_x):
            half = math.ceil(self.reach / step)
            axes.append(np.arange(-half, half + 1) * step)
        frequency = math.hypot(0.5 / step_y, 0.5 / step_x)
        means = max(step_y, step_x) > 3 * self.step and frequency < self.highest_frequency() / 2
        points = 5 if means else 1
        inner = (np.arange(points) - points // 2) / points
        rows, columns = (
            (axis[:, None] + inner * step).ravel() / self.step + len(self.values) // 2
            for axis, step in zip(axes, (step_y, step_x))
        )
        grid = np.meshgrid(rows, columns, indexing="ij")
        weights = ndimage.map_coordinates(self.values, grid, order=5, mode="constant", cval=0.0)
        weights = weights.reshape(len(axes[0]), points, len(axes[1]), points).mean(axis=(1, 3))
        return weights / weights.sum()


IDENTITY = Kernel(np.ones((1, 1)), 1.0, "identity", 0.0, 0.0)


def find_kernel(band, target, *, pixel, folder=None, made=None):
    """Return the kernel that brings a band's image to a target PSF.

    Parameters
    ----------
    band : str
        Band of the image.
    target : str
        Target PSF: a band or ``Gauss_{fwhm}``.
    pixel : float
        Pixel size of the image in arcsec.
    folder : str or Path, optional
        Folder of kernels of Aniano et al. (2011), looked into first.
    made : str or Path, optional
        File of `write_kernels`, made with that folder. What it does not hold is found as without.

    Returns
    -------
    Kernel
        The identity for the target band itself, for a band that is wider than the target by a
        few percent (`LARGEST_PSF_EXCESS`), and for one so little narrower that the kernel would
        be narrower than the image's pixel.

    Raises
    ------
    DataError
        If the target is narrower than the band, or no kernel passes the check.
    """
    if band == target:
        return IDENTITY
    source_fwhm, target_fwhm = find_psf(band).fwhm, find_psf(target).fwhm
    if source_fwhm > LARGEST_PSF_EXCESS * target_fwhm:
        raise DataError(
            f'the PSF of {band} ({source_fwhm:.2f}") is wider than the target {target} '
            f'({target_fwhm:.2f}"): leave the band out or name a wider one in images.target_psf'
        )
    if target_fwhm**2 - source_fwhm**2 < pixel**2:
        return IDENTITY
    found = _made_kernel(made, band, target) if made else None
    return found or _new_kernel(band, target, folder)


def _new_kernel(band, target, folder):
    """Return the kernel that is published, or else made."""
    path = kernel_file(folder, band, target) if folder else None
    return read_kernel(path, band, target) if path else make_kernel(band, target)


def write_kernels(path, pairs, *, folder=None, progress=None):
    """Find the kernels of a run once, for all its galaxies, and write them to one file.

    Parameters
    ----------
    path : str or Path
        FITS file: an extension for each pair, named ``{band}_to_{target}``, with the pixel size in
        degrees and what the check found. A pair that has no kernel has an extension without
        pixels that says why.
    pairs : iterable of (str, str)
        Band and target PSF. A band that is wider, or whose PSF nobody knows, has no kernel and is
        left out.
    folder : str or Path, optional
        Folder of kernels of Aniano et al. (2011), looked into first.
    progress : callable, optional
        Called after each pair.
    """
    from astropy.io import fits

    hdus = fits.HDUList([fits.PrimaryHDU()])
    for band, target in sorted(set(pairs)):
        if _is_narrower(band, target):
            hdu = fits.ImageHDU(name=f"{band}_to_{target}")
            try:
                kernel = _new_kernel(band, target, folder)
            except DataError as fault:
                hdu.header["DC_WHY"] = str(fault)
            else:
                hdu.data = kernel.values
                degrees = kernel.step / 3600
                for key, value in (("CDELT1", -degrees), ("CDELT2", degrees)):
                    hdu.header[key] = (value, "[deg] pixel size")
                hdu.header["DC_STEP"] = (kernel.step, "[arcsec] pixel size")
                hdu.header["DC_KERN"] = (kernel.origin, "how it was found")
                hdu.header["DC_RESID"] = (kernel.residual, "residual over the peak")
                hdu.header["DC_ENERG"] = (kernel.energy_error, "error of encircled energy")
            hdus.append(hdu)
        if progress:
            progress()
    with atomic(path) as temporary:
        hdus.writeto(temporary)


def _is_narrower(band, target):
    """Return whether both PSFs are known and the band's is the narrower."""
    try:
        return find_psf(band).fwhm < find_psf(target).fwhm
    except DataError:
        return False


def _made_kernel(path, band, target):
    """Return a kernel of a file of `write_kernels`, None if it has none for the pair."""
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            try:
                hdu = hdus[f"{band}_to_{target}"]
            except KeyError:
                return None
            cards = hdu.header
            if "DC_WHY" in cards:
                raise DataError(cards["DC_WHY"])
            numbers = (float(cards[key]) for key in ("DC_RESID", "DC_ENERG"))
            return Kernel(
                hdu.data.astype(float), float(cards["DC_STEP"]), cards["DC_KERN"], *numbers
            )
    except (OSError, KeyError, TypeError, AttributeError) as fault:
        raise DataError(f"{path} cannot be read ({fault}): delete it and run again") from None


def reach_of(target):
    """Return how far from the centre, in arcsec, PSFs are known where `target` is aimed at."""
    least, most = (widths * find_psf(target).fwhm for widths in REACH_FWHM)
    return min(most, max(REACH_ARCSEC, least))


def make_kernel(source, target, *, reach=None):
    """Return the Wiener kernel from one PSF to another.

    Parameters
    ----------
    source, target : str
        Names of PSFs.
    reach : float, optional
        Distance in arcsec from the centre to the edge.

    Raises
    ------
    DataError
        If it does not pass the check.
    """
    from photutils.psf_matching import make_wiener_kernel

    narrow, wide = find_psf(source), find_psf(target)
    reach = reach or reach_of(target)
    step = max(wide.fwhm / STEPS_A_TARGET, narrow.fwhm / STEPS_A_SOURCE)
    half = math.ceil(reach / step)
    # A second reach around keeps what the transform wraps around away from the kernel.
    n = 4 * half + 1
    source_image, target_image = (
        _padded(psf.image(step, 2 * half + 1), n) for psf in (narrow, wide)
    )
    inner = slice(half, 3 * half + 1)
    tried = []
    for regularization in REGULARIZATIONS:
        values = make_wiener_kernel(source_image, target_image, regularization=regularization)
        kernel = Kernel(_tapered(values[inner, inner]), step, "wiener")
        residual, energy_error = mismatch(kernel, source, target)
        tried.append(Kernel(kernel.values, step, "wiener", residual, energy_error))
        if tried[-1].error <= WANTED:
            break
    best = min(tried, key=lambda kernel: kernel.error)
    return _accepted(best, f"the kernel made from {source} to {target}")


def _padded(image, n):
    """Return a centred image with zeros around it."""
    return np.pad(image, (n - len(image)) // 2)


def _tapered(values):
    """Return a kernel that ends smoothly on the inscribed circle, of sum 1."""
    half = len(values) // 2
    axis = np.arange(-half, half + 1) / half
    radius = np.hypot(axis[:, None], axis)
    taper = 0.5 * (1 + np.cos(np.pi * np.clip((radius - 0.9) / 0.1, 0, 1)))
    values = values * taper
    return values / values.sum()


def kernel_file(folder, band, target):
    """Return the file of a published kernel, the one of higher resolution first; None without."""
    names = kernel_names()
    start, end = names.get(band), names.get(target, target)
    for resolution in ("HiRes", "LoRes"):
        for suffix in (".fits", ".fits.gz"):
            path = Path(folder) / f"Kernel_{resolution}_{start}_to_{end}{suffix}"
            if start and path.is_file():
                return path
    return None


def read_kernel(path, source, target):
    """Read a kernel file: recentred on its peak, of sum 1, cut to what its target needs.

    Parameters
    ----------
    path : str or Path
        FITS file whose header has CD1_1 or CDELT1 in degrees.
    source, target : str
        Names of the PSFs between which it leads.

    Returns
    -------
    Kernel

    Raises
    ------
    DataError
        If the file cannot be read, has no pixel size, pixels that are not square, no clear peak,
        or does not pass the check.
    """
    from astropy.io import fits

    path = Path(path)
    try:
        with fits.open(path, memmap=False) as hdus:
            values, header = hdus[0].data, hdus[0].header
    except (OSError, IndexError, TypeError, ValueError) as fault:
        raise DataError(f"{path} is not a kernel ({fault}): fetch it anew") from None
    if values is None or values.ndim != 2 or not np.all(np.isfinite(values)):
        raise DataError(f"{path} is not a kernel: an image of finite numbers is needed")
    steps = [abs(header.get(f"CD{k}_{k}", header.get(f"CDELT{k}", 0.0))) * 3600 for k in (1, 2)]
    if not steps[0] > 0 or abs(steps[1] / steps[0] - 1) > 1e-3:
        raise DataError(
            f"{path}: CD1_1, CD2_2 (or CDELT1, CDELT2) must give one pixel size in degrees"
        )
    # The reference pixel of the published files is off by one: the peak tells the centre.
    centre = np.unravel_index(np.argmax(values), values.shape)
    room = min(min(c, n - 1 - c) for c, n in zip(centre, values.shape))
    half = math.ceil(reach_of(target) / steps[0])
    if room < min(half, 0.4 * min(values.shape)):
        raise DataError(
            f"{path}: the peak at pixel {centre[1] + 1}, {centre[0] + 1} is not near the centre: "
            "recentre the kernel"
        )
    half = min(half, room)
    window = tuple(slice(c - half, c + half + 1) for c in centre)
    weights = _tapered(values[window].astype(float))
    residual, energy_error = mismatch(Kernel(weights, steps[0], path.name), source, target)
    # A wrong pixel size leads to a wrong PSF, so the message names it.
    where = f'{path} (pixels of {steps[0]:.4g}" by CD1_1 or CDELT1)'
    return _accepted(Kernel(weights, steps[0], path.name, residual, energy_error), where)


def _accepted(kernel, where):
    """Return a kernel that passes the check; raise `DataError` for one that does not."""
    if kernel.error > 1 or kernel.negative > LARGEST_NEGATIVE:
        raise DataError(
            f"{where} leaves a residual of {kernel.residual:.2%} of the peak and "
            f"{kernel.energy_error:.2%} of encircled energy, and has a negative part of "
            f"{kernel.negative:.2f} (limits {LARGEST_RESIDUAL:.0%}, {LARGEST_ENERGY_ERROR:.0%} and "
            f"{LARGEST_NEGATIVE:g}): use a wider target, or another kernel"
        )
    return kernel


def mismatch(kernel, source, target):
    """Compare the source PSF convolved with a kernel to the target PSF.

    Returns
    -------
    residual : float
        Largest difference over the target's peak.
    energy_error : float
        Largest difference of the encircled energies.
    """
    n = len(kernel.values)
    # The source may be finer than the kernel's pixel: its image is a mean over pixels, and so is
    # the target's, which leaves the comparison unchanged.
    found = fft_convolve(kernel.values, find_psf(source).image(kernel.step, n), mode="same")
    return compare(found, find_psf(target).image(kernel.step, n))


def compare(found, expected):
    """Return the largest difference over the peak, and that of the encircled energies.

    Parameters
    ----------
    found, expected : ndarray of shape (n, n)
        Centred PSFs on one grid. Both are compared with sum 1 within the inscribed circle.
    """
    n = len(expected)
    axis = np.arange(n) - n // 2
    radius = np.hypot(axis[:, None], axis)
    inside = radius <= n // 2
    found, expected = (image * inside / image[inside].sum() for image in (found, expected))
    residual = float(np.abs(found - expected).max() / expected.max())
    order = np.argsort(radius[inside])
    energies = [np.cumsum(image[inside][order]) for image in (found, expected)]
    return residual, float(np.abs(energies[0] - energies[1]).max())

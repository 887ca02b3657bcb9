"""One band of one galaxy on the grids of all its scales: convolved, resampled, with errors."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np

from dustcast.bands import band_table
from dustcast.imaging import errors, resampling
from dustcast.imaging.convolution import STRIDES, Convolver, choose_stride
from dustcast.imaging.filling import FilledImage
from dustcast.imaging.matching import IDENTITY, find_kernel
from dustcast.imaging.psf import find_psf
from dustcast.sample import GLOBAL, common_psf
from dustcast.tables import DataError

# The convolved image keeps at least this many pixels in the width of its PSF, and in one of the
# cube: fewer change a cube by more than 1e-3 of its peak.
PIXELS_A_WIDTH = 5.0
# Pixels of the whole galaxy's grid in the width of the coarsest PSF. Pixels as small as the native
# ones of SPIRE 500 would shift a centroid by a tenth of a pixel.
GLOBAL_PIXELS_A_WIDTH = 2.0
# Sky begins outside this many times the D25 ellipse, and one PSF width further.
SKY_FROM_D25 = 1.25

ERROR_PARTS = ("RMS", "CAL", "EXT", "POIS")


@dataclass(frozen=True)
class Settings:
    """How images become cubes: the section `images` of the configuration.

    Attributes
    ----------
    resampling : str
        Kernel of the adaptive method, ``hann`` or ``gaussian``.
    field : float
        Least side of a grid in units of D25.
    sky_pixels : int
        Least number of pixels between the D25 circle and each edge of a grid.
    min_cover : float
        Share of a pixel that the image must cover.
    poisson : bool
        Whether photon noise counts where the gain is known.
    kernels : str or None
        Folder of kernels of Aniano et al. (2011).
    made : str or None
        File with the kernels of the run (`dustcast.imaging.matching.write_kernels`). Not of the
        configuration: it saves time and changes nothing.
    """

    resampling: str = "hann"
    field: float = 1.5
    sky_pixels: int = 12
    min_cover: float = 0.9
    poisson: bool = False
    kernels: str | None = None
    made: str | None = None


@dataclass(frozen=True)
class Scale:
    """A scale of a galaxy: a target PSF and a pixel.

    Attributes
    ----------
    name : str
        ``18arcsec``, ``1kpc``, ``global``, ...
    target : str
        Name of the PSF.
    pixel : float
        In arcsec.
    bands : tuple of str
        Bands that take part.
    """

    name: str
    target: str
    pixel: float
    bands: tuple[str, ...]


@dataclass
class Layer:
    """A band at a scale. Planes are of shape (n, n), in MJy/sr; None where `why` says so.

    Attributes
    ----------
    flux : ndarray
        NaN where the image does not cover the pixel; interpolated under stars.
    parts : dict of str to ndarray
        Errors by `ERROR_PARTS`.
    cover, star : ndarray
        Shares of the pixel that the image covers and that star masks cover.
    info : dict
        Numbers for the header.
    why : str
        Why there is nothing.
    """

    flux: np.ndarray | None = None
    parts: dict = field(default_factory=dict)
    cover: np.ndarray | None = None
    star: np.ndarray | None = None
    info: dict = field(default_factory=dict)
    why: str = ""


def scale_of(row):
    """Return the scale of a row of the plan.

    The whole galaxy has the coarsest PSF of its bands and pixels that resolve it.
    """
    target, bands = common_psf(row)
    if row["scale"] != GLOBAL:
        return Scale(row["scale"], target, float(row["pixel_arcsec"]), bands)
    return Scale(GLOBAL, target, find_psf(target).fwhm / GLOBAL_PIXELS_A_WIDTH, bands)


def grid_of(galaxy, scale, settings):
    """Return the grid of a galaxy at a scale."""
    return resampling.galaxy_grid(
        galaxy, scale.pixel, field=settings.field, sky_pixels=settings.sky_pixels
    )


@functools.lru_cache(maxsize=256)
def _kernel(band, target, pixel, folder, made):
    """Return a kernel, its check remembered, for a job that needs it at several scales."""
    return find_kernel(band, target, pixel=pixel, folder=folder, made=made)


def make_layers(clean, scales, galaxy, settings, workers=1):
    """Bring a clean image to the PSFs and grids of several scales.

    The image is read and transformed once for all.

    Parameters
    ----------
    clean : dustcast.imaging.images.CleanImage
        With an image.
    scales : list of Scale
        Those that take the band.
    galaxy : dustcast.sample.Galaxy
    settings : Settings
    workers : int
        Threads of the transforms.

    Returns
    -------
    dict of str to Layer
        By the name of the scale.
    """
    band = clean.cards["DC_BAND"]
    layers, ready, steps = _ready(clean.wcs, clean.data.shape, band, scales, galaxy, settings)
    if not ready:
        return layers
    part = _common([one.part for one in ready])
    image = FilledImage(clean.data[part], clean.stars[part])
    convolver = _convolver(image, ready, steps, workers)
    for one in ready:
        try:
            layers[one.scale.name] = _layer(
                clean, image, part, convolver, one, steps, galaxy, settings
            )
        except DataError as fault:
            layers[one.scale.name] = Layer(why=str(fault))
    return layers


def planes_at(images, shape, wcs, psf, scales, galaxy, settings):
    """Bring maps without noise or stars to several scales, as `make_layers` brings images.

    Maps of one shape share the kernels and the geometry of the resampling, which takes longest.

    Parameters
    ----------
    images : iterable of array_like of shape (ny, nx)
        Arrays, or what reads rows as they do, each taken once. They are covered everywhere.
    shape : tuple of int
        (ny, nx).
    wcs : astropy.wcs.WCS
        Of all.
    psf : str
        Name of their PSF.
    scales : list of Scale
    galaxy : dustcast.sample.Galaxy
    settings : Settings

    Returns
    -------
    dict of str to (ndarray of shape (n_image, n, n), or None)
        Surface brightness by the name of the scale, NaN beyond the maps; None where `make_layers`
        would say why there is nothing.
    """
    planes, ready, steps = _ready(wcs, shape, psf, scales, galaxy, settings)
    planes = dict.fromkeys(planes)
    if not ready:
        return planes
    part = _common([one.part for one in ready])
    shape = tuple(rows.stop - rows.start for rows in part)
    values = {one.scale.name: [] for one in ready}
    for image in images:
        image = np.asarray(image[part[0]])[:, part[1]]
        convolver = _convolver(image, ready, steps, 1)
        for one in ready:
            kernel, stride = one.kernel, one.stride
            values[one.scale.name].append(
                image
                if kernel.is_identity
                else convolver.convolve(kernel.sampled(*(stride * steps)), stride)
            )
    for one in ready:
        cover = resampling.share_of_blocks(
            lambda rows: np.full((rows.stop - rows.start, shape[1]), True), shape, one.stride
        )
        stack = np.stack([*(plane * cover for plane in values[one.scale.name]), cover])
        own = resampling.part_of(wcs, part, one.stride)
        stack = resampling.resample(stack, own, one.grid, settings.resampling)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.where(stack[-1] >= settings.min_cover, stack[:-1] / stack[-1], np.nan)
        sky = _sky(one, galaxy) & np.isfinite(found).all(axis=0)
        planes[one.scale.name] = found if sky.sum() >= errors.LEAST_SKY_PIXELS else None
    return planes


@dataclass(frozen=True)
class _Ready:
    """A scale to which an image can be brought: kernel, grid, part of the image, stride."""

    scale: Scale
    kernel: object
    grid: resampling.Grid
    part: tuple
    stride: int


def _ready(wcs, shape, psf, scales, galaxy, settings):
    """Return layers that say why there is nothing, the scales that are ready, and pixel sizes."""
    from astropy.wcs.utils import proj_plane_pixel_scales

    steps = 3600 * proj_plane_pixel_scales(wcs)[::-1]
    pixel = pixel_of(steps)
    layers, ready = {}, []
    for scale in scales:
        try:
            kernel = _kernel(psf, scale.target, round(pixel, 4), settings.kernels, settings.made)
        except DataError as fault:
            layers[scale.name] = Layer(why=str(fault))
            continue
        grid = grid_of(galaxy, scale, settings)
        part = resampling.footprint(wcs, shape, grid, kernel.reach)
        if part is None:
            layers[scale.name] = Layer(why="the image does not cover the galaxy")
            continue
        ready.append(_Ready(scale, kernel, grid, part, _stride(wcs, kernel, scale, steps.max())))
    return layers, ready, steps


def _sky(one, galaxy):
    """Return which pixels of the grid of a scale are sky, stars apart."""
    radius = one.grid.elliptical_radius(galaxy.pa, galaxy.axis_ratio)
    return radius > SKY_FROM_D25 * galaxy.d25_arcsec / 2 + find_psf(one.scale.target).fwhm


def _common(parts):
    """Return the least part of an image that holds all parts."""
    return tuple(
        slice(min(part[axis].start for part in parts), max(part[axis].stop for part in parts))
        for axis in (0, 1)
    )


def _convolver(image, ready, steps, workers):
    """Return an image transformed for the kernels that need it, None if none does."""
    needed = [one for one in ready if not one.kernel.is_identity]
    if not needed:
        return None
    reach = max(one.kernel.reach for one in needed)
    return Convolver(
        image,
        reach=tuple(math.ceil(reach / step) + max(STRIDES) for step in steps),
        strides=[one.stride for one in needed],
        workers=workers,
    )


def _stride(wcs, kernel, scale, step):
    """Return the stride at which a convolved image still holds all that passes the kernel."""
    if kernel.is_identity or wcs.has_distortion:
        return 1
    finest = min(find_psf(scale.target).fwhm, scale.pixel) / PIXELS_A_WIDTH
    return choose_stride(step, min(finest, 0.5 / kernel.highest_frequency()))


def _layer(clean, image, part, convolver, one, steps, galaxy, settings):
    """Return one band at one scale."""
    scale, kernel, grid, stride = one.scale, one.kernel, one.grid, one.stride
    shape = tuple(rows.stop - rows.start for rows in part)
    band, data, stars = clean.cards["DC_BAND"], clean.data[part], clean.stars[part]

    def covered(rows):
        return np.isfinite(data[rows]) | stars[rows]

    target = find_psf(scale.target)
    # Here and not where cubes are stacked: this job has loaded reproject anyway.
    broadened = resampling.effective_fwhm(target, scale.pixel, settings.resampling)
    cover = resampling.share_of_blocks(covered, shape, stride)
    if not cover.any():
        raise DataError("the image has no valid pixel near the galaxy")
    weights = np.ones((1, 1))
    if kernel.is_identity:
        values = np.asarray(image[:], dtype=float)
        valid = np.isfinite(values)
    else:
        weights = kernel.sampled(*(stride * steps))
        values = convolver.convolve(weights, stride)
        valid = np.where(np.isfinite(values), cover, 0)
    planes = [np.where(valid > 0, values, 0) * valid, valid, cover]
    planes.append(resampling.share_of_blocks(lambda rows: stars[rows], shape, stride))
    wcs = resampling.part_of(clean.wcs, part, stride)
    planes = resampling.resample(np.stack(planes), wcs, grid, settings.resampling)
    cover, star = planes[2:]
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = np.where(cover >= settings.min_cover, planes[0] / planes[1], np.nan)
    if not np.isfinite(flux).any():
        raise DataError("the image does not cover the galaxy")
    sky = _sky(one, galaxy) & (star < 0.5)
    where = f"{band} of {galaxy.galaxy} at {scale.name}"
    known = band_table()[band]
    rms = errors.background_rms(flux, sky, where)
    parts = {
        "RMS": np.where(np.isfinite(flux), rms, np.nan),
        "CAL": errors.calibration_error(flux, known.calibration),
        "EXT": errors.extinction_error(flux, known.extinction, _number(clean, "DC_EBVERR")),
    }
    gain = _number(clean, "DC_GAIN")
    if settings.poisson and gain > 0:
        share = resampling.noise_share(
            weights, stride * pixel_of(steps), stride, scale.pixel, settings.resampling
        )
        parts["POIS"] = errors.photon_error(flux, gain, share)
    source = find_psf(band)
    info = {
        "DC_PSF": (scale.target, "target PSF"),
        "DC_EFWHM": (broadened, "[arcsec] measured width in the cube"),
        "DC_KERN": (kernel.origin, "how the PSF was reached"),
        "DC_RESID": (kernel.residual, "residual of the kernel over the peak"),
        "DC_ENERG": (kernel.energy_error, "error of its encircled energy"),
        "DC_SFWHM": (source.fwhm, "[arcsec] width of the PSF of the image"),
        "DC_WIDER": (
            kernel is IDENTITY and source.fwhm > target.fwhm and band != scale.target,
            "kept although wider than the target",
        ),
        "DC_RMS": (rms, "[MJy/sr] scatter of the sky"),
        "DC_STRID": (stride, "every so many pixels of the image kept"),
    }
    return Layer(flux=flux, parts=parts, cover=cover, star=star, info=info)


def _number(clean, keyword):
    """Return a number of a clean image's header, 0 where it is not known."""
    return float(clean.cards.get(keyword) or 0.0)


def pixel_of(steps):
    """Return the side of a square of the area of a pixel."""
    return float(math.sqrt(steps[0] * steps[1]))

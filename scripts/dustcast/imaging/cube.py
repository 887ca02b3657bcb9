"""FITS files of convolved layers and of cubes.

Extensions and header keywords are those of docs/interfaces.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dustcast.bands import band_table
from dustcast.imaging.errors import total_error
from dustcast.imaging.layers import ERROR_PARTS, Layer, grid_of
from dustcast.imaging.psf import find_psf
from dustcast.imaging.resampling import Grid, effective_fwhm
from dustcast.tables import DataError, atomic

UNIT = "MJy/sr"
NO_COVER, STAR, OUTSIDE = 1, 2, 4
# A pixel is a star's if a mask covers more than this share of it.
STAR_SHARE = 0.5


def write_layers(path, band, layers, why=""):
    """Write the layers of a band, `convolved/{galaxy}/{band}.fits`.

    Parameters
    ----------
    path : str or Path
    band : str
    layers : dict of str to dustcast.imaging.layers.Layer
        By the name of the scale; empty for a band without an image.
    why : str
        Why there is none.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header["DC_BAND"] = (band, "band")
    primary.header["DC_OK"] = (bool(layers), "whether there is an image")
    if why:
        _long(primary.header, "DC_WHY", why)
    hdus = fits.HDUList([primary])
    for scale, layer in layers.items():
        planes = {"FLUX": layer.flux, **layer.parts, "COVER": layer.cover, "STAR": layer.star}
        for name, plane in planes.items():
            data = None if plane is None else plane.astype(np.float32)
            if data is None and name != "FLUX":
                continue
            hdu = fits.ImageHDU(data, name=f"{scale.upper()}_{name}")
            if name == "FLUX":
                hdu.header["DC_OK"] = (not layer.why, "whether the band takes part")
                if layer.why:
                    _long(hdu.header, "DC_WHY", layer.why)
                for key, (value, comment) in layer.info.items():
                    if not (isinstance(value, float) and not math.isfinite(value)):
                        hdu.header[key] = (value, comment)
            if name not in ("COVER", "STAR"):
                hdu.header["BUNIT"] = UNIT
            hdus.append(hdu)
    with atomic(path) as temporary:
        hdus.writeto(temporary)


def read_layer(path, scale):
    """Read one scale of a band's convolved file.

    Returns
    -------
    Layer
        With the reason in `why` where the band has nothing at this scale.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            name = scale.upper()
            if f"{name}_FLUX" not in hdus:
                why = hdus[0].header.get("DC_WHY")
                absent = {"DC_IMAGE": (False, "whether there is an image")} if why else {}
                return Layer(why=str(why or f"not convolved for {scale}"), info=absent)
            main = hdus[f"{name}_FLUX"]
            if not main.header["DC_OK"]:
                return Layer(why=str(main.header["DC_WHY"]))
            info = {
                card.keyword: (card.value, card.comment)
                for card in main.header.cards
                if card.keyword.startswith("DC_")
            }
            return Layer(
                flux=main.data,
                parts={
                    part: hdus[f"{name}_{part}"].data
                    for part in ERROR_PARTS
                    if f"{name}_{part}" in hdus
                },
                cover=hdus[f"{name}_COVER"].data,
                star=hdus[f"{name}_STAR"].data,
                info=info,
            )
    except (OSError, TypeError) as fault:
        raise DataError(f"{path} cannot be read ({fault}): delete it and run again") from None


@dataclass
class Cube:
    """All bands of a galaxy at one scale.

    Attributes
    ----------
    galaxy, scale, target : str
        Names; `target` is that of the PSF.
    bands : list of str
    grid : Grid
    flux, error : ndarray of shape (n_band, n, n)
        MJy/sr; NaN where a band has no value. Under stars `flux` is interpolated.
    parts : dict of str to ndarray
        The errors that make up `error`, of the same shape, by `ERROR_PARTS`.
    mask : ndarray of uint8
        Sum of 1 (no cover), 2 (a star over half the pixel), 4 (centre outside D25).
    why : list of str
        Why a band has nothing; empty for those that take part.
    info : list of dict
        By band: keyword to value.
    fwhm : float
        Measured width of the PSF of the cube in arcsec, broadened by its pixels.
    """

    galaxy: str
    scale: str
    target: str
    bands: list
    grid: Grid
    flux: np.ndarray
    error: np.ndarray
    parts: dict
    mask: np.ndarray
    why: list
    info: list
    fwhm: float


def stack(galaxy, scale, layers, settings):
    """Stack the layers of a scale.

    Parameters
    ----------
    galaxy : dustcast.sample.Galaxy
    scale : dustcast.imaging.layers.Scale
    layers : list of Layer
        In the order of ``scale.bands``.
    settings : dustcast.imaging.layers.Settings

    Returns
    -------
    Cube
    """
    grid = grid_of(galaxy, scale, settings)
    shape = (len(layers), *grid.shape)
    flux, error = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    names = [name for name in ERROR_PARTS if any(name in layer.parts for layer in layers)]
    parts = {name: np.full(shape, np.nan, np.float32) for name in names or ERROR_PARTS[:3]}
    mask = np.full(shape, NO_COVER, np.uint8)
    for b, layer in enumerate(layers):
        if layer.why:
            continue
        flux[b], error[b] = layer.flux, total_error(layer.parts.values())
        for name in parts:
            # No photon noise where the gain is not known.
            parts[name][b] = layer.parts.get(name, np.where(np.isfinite(layer.flux), 0, np.nan))
        mask[b] = np.where(np.isfinite(layer.flux), 0, NO_COVER)
        mask[b] |= np.where(layer.star > STAR_SHARE, STAR, 0).astype(np.uint8)
    outside = grid.elliptical_radius(galaxy.pa, galaxy.axis_ratio) > galaxy.d25_arcsec / 2
    mask |= np.where(outside, OUTSIDE, 0).astype(np.uint8)
    return Cube(
        galaxy.galaxy,
        scale.name,
        scale.target,
        list(scale.bands),
        grid,
        flux,
        error,
        parts,
        mask,
        [layer.why for layer in layers],
        [{key: value for key, (value, _) in layer.info.items()} for layer in layers],
        _width(layers, scale, settings),
    )


def _width(layers, scale, settings):
    """Return the width of the PSF of a cube, as its layers have it; measured if there are none."""
    for layer in layers:
        if not layer.why:
            return layer.info["DC_EFWHM"][0]
    return effective_fwhm(find_psf(scale.target), scale.pixel, settings.resampling)


def write_cube(path, cube, settings):
    """Write a cube, whole or not at all."""
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    for key, value, comment in (
        ("DC_GAL", cube.galaxy, "galaxy"),
        ("DC_SCALE", cube.scale, "scale"),
        ("DC_PSF", cube.target, "target PSF"),
        ("DC_TFWHM", find_psf(cube.target).fwhm, "[arcsec] its full width at half maximum"),
        ("DC_EFWHM", cube.fwhm, "[arcsec] measured width in the cube"),
        ("DC_PIXEL", cube.grid.pixel, "[arcsec] pixel size"),
        ("DC_KERN", settings.resampling, "kernel of the adaptive resampling"),
    ):
        primary.header[key] = (value, comment)
    coordinates = cube.grid.wcs.to_header()
    # Pixels along a plain axis of bands.
    coordinates["WCSAXES"] = 3
    for key, value in (("CTYPE3", "BAND"), ("CRPIX3", 1.0), ("CRVAL3", 1.0), ("CDELT3", 1.0)):
        coordinates[key] = value
    hdus = fits.HDUList([primary])
    planes = {"FLUX": cube.flux, "ERROR": cube.error}
    planes |= {f"ERR_{name}": plane for name, plane in cube.parts.items()}
    for name, plane in {**planes, "MASK": cube.mask}.items():
        hdu = fits.ImageHDU(plane, header=coordinates, name=name)
        if name != "MASK":
            hdu.header["BUNIT"] = UNIT
        hdus.append(hdu)
    known = [band_table()[band] for band in cube.bands]
    columns = {
        "band": ("A20", None, cube.bands),
        "wavelength_um": ("D", "um", [band.pivot_um for band in known]),
        "fwhm_arcsec": ("D", "arcsec", [find_psf(band).fwhm for band in cube.bands]),
        "calibration": ("D", None, [band.calibration for band in known]),
        "rms": ("D", UNIT, [info.get("DC_RMS", math.nan) for info in cube.info]),
        "kernel": ("A80", None, [info.get("DC_KERN", "") for info in cube.info]),
        "wider": ("L", None, [bool(info.get("DC_WIDER", False)) for info in cube.info]),
        "image": ("L", None, [bool(info.get("DC_IMAGE", True)) for info in cube.info]),
        "used": ("L", None, [not why for why in cube.why]),
        "why": (f"A{max([1, *map(len, cube.why)])}", None, cube.why),
    }
    hdus.append(
        fits.BinTableHDU.from_columns(
            [
                fits.Column(name, form, unit=unit, array=np.array(values))
                for name, (form, unit, values) in columns.items()
            ],
            name="BANDS",
        )
    )
    with atomic(path) as temporary:
        hdus.writeto(temporary)


def read_cube(path):
    """Read a cube.

    Raises
    ------
    DataError
        If the file cannot be read or lacks an extension.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            header, table = hdus[0].header, hdus["BANDS"].data
            flux, coordinates = hdus["FLUX"].data, hdus["FLUX"].header
            parts = {
                name: hdus[f"ERR_{name}"].data for name in ERROR_PARTS if f"ERR_{name}" in hdus
            }
            grid = Grid(
                coordinates["CRVAL1"], coordinates["CRVAL2"], header["DC_PIXEL"], flux.shape[1]
            )
            return Cube(
                header["DC_GAL"],
                header["DC_SCALE"],
                header["DC_PSF"],
                [str(band) for band in table["band"]],
                grid,
                flux,
                hdus["ERROR"].data,
                parts,
                hdus["MASK"].data,
                [str(why) for why in table["why"]],
                [
                    {
                        "DC_RMS": row["rms"],
                        "DC_KERN": str(row["kernel"]),
                        "DC_WIDER": bool(row["wider"]),
                        "DC_IMAGE": bool(row["image"]),
                    }
                    for row in table
                ],
                header["DC_EFWHM"],
            )
    except (OSError, KeyError, TypeError) as fault:
        raise DataError(f"{path} is not a cube ({fault}): delete it and run again") from None


def _long(header, key, text):
    """Write a text of any length, without the characters that a FITS header cannot hold."""
    header[key] = text.encode("ascii", "replace").decode().replace("\n", " ")

"""Reading archive images and reading and writing clean ones.

Whatever an archive gives, after this point an image is surface brightness in MJy/sr on its own
celestial grid, NaN where there is no data.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from dustcast.bands import band_table
from dustcast.config import CONFIG_FOLDER
from dustcast.tables import DataError, atomic, read_csv
from dustcast.units import ARCSEC_RAD, UNIT_KEYWORDS, written_unit

ZERO_POINT_TABLE = CONFIG_FOLDER / "zero_points.csv"
BEAM_TABLE = CONFIG_FOLDER / "beams.csv"

# Spellings that astropy does not know. `counts` of any kind come with a time or as a rate.
SPELLINGS = {
    "pixel": "pix",
    "pixels": "pix",
    "beams": "beam",
    "counts": "ct",
    "count": "ct",
    "cps": "ct/s",
    "sec": "s",
    "second": "s",
    "nanomaggies": "nmgy",
    "nanomaggy": "nmgy",
    "dn": "DN",
    "jy": "Jy",
    "sr": "sr",
}
# Extensions that hold the image where the primary has none, in the order of preference.
IMAGE_NAMES = ("image", "sci", "signal", "flux", "intensity")
# Stated pixel sizes, in arcsec.
PIXEL_KEYWORDS = ("PIXSCALE", "PXSCAL1", "PXSCAL2")
# A pixel that differs from the archive's by more than this factor is a wrong keyword, such as
# degrees for arcsec; a mosaic made by hand may well have pixels a few times as large.
LARGEST_PIXEL_RATIO = 30.0
# Side of the blocks of zeros that count as edges: single zeros are pixels without a photon.
ZERO_BLOCK = 5
# The grid on which pixel areas are computed: its largest spacing in pixels, its steps across a
# smaller image, and its steps beyond.
AREA_STEP, AREA_STEPS, AREA_MARGIN = 32, 16, 12


@dataclass
class SkyImage:
    """A surface brightness image.

    Attributes
    ----------
    data : array of shape (ny, nx)
        Surface brightness in MJy/sr, float64; NaN where there is none.
    wcs : astropy.wcs.WCS
        Celestial coordinates of the pixels.
    unit : str
        Unit in which the archive gave it.
    pixel_arcsec : float
        Side of a square of the area of a pixel, in the middle of the image.
    jy_per_unit : float
        Jy of a pixel for a value of 1, NaN for an image that came as surface brightness.
    photons_per_jy : float
        Photons that a flux of 1 Jy has brought, NaN where the header does not tell.
    """

    data: np.ndarray
    wcs: object
    unit: str
    pixel_arcsec: float
    jy_per_unit: float = np.nan
    photons_per_jy: float = np.nan


@dataclass
class CleanImage:
    """A clean image, or the reason why there is none.

    Attributes
    ----------
    data : array of shape (ny, nx) or None
        Surface brightness in MJy/sr, NaN where masked; None for an empty product.
    wcs : astropy.wcs.WCS or None
        Celestial coordinates.
    stars : array of bool or None
        Where a star is masked.
    cards : dict
        The numbers used, by FITS keyword: DC_OK, DC_WHY, DC_BAND, ...
    """

    data: np.ndarray | None = None
    wcs: object = None
    stars: np.ndarray | None = None
    cards: dict = field(default_factory=dict)

    @property
    def ok(self):
        """Whether there is an image."""
        return self.data is not None


# ---------------------------------------------------------------------------------------------
# Archive images


def read_image(path, band, *, missing_unit=None):
    """Read an image as an archive gives it.

    Parameters
    ----------
    path : str or Path
        FITS file, packed by gzip or not; the image is in the primary or in an extension.
    band : str
        Band, which says what one DN, count or beam is.
    missing_unit : str or dict of str to str, optional
        Unit of an image whose header names none and has no MAGZP; one for all or by band.

    Returns
    -------
    SkyImage

    Raises
    ------
    DataError
        If the file cannot be read, or has no usable image, coordinates or unit.
    """
    header, data = _read_hdu(path)
    wcs = _celestial(header, path)
    shape = data.shape
    pixel_arcsec = _pixel_size(wcs, header, band, path)
    data = _without_edges(data)
    if not np.isfinite(data).any():
        raise DataError(f"{path} has no data: every pixel is NaN or an edge of zeros")
    unit, factor, per_pixel = _conversion(header, band, path, missing_unit)
    if per_pixel:
        data *= factor * 1e-6 / pixel_areas(wcs, shape)
    else:
        data *= factor
    photons = _photons_per_jy(header, band, unit, path)
    return SkyImage(data, wcs, unit, pixel_arcsec, factor if per_pixel else np.nan, photons)


def read_images(paths, *, missing_unit=None):
    """Read the images of a galaxy; those that are missing or faulty are left out.

    Parameters
    ----------
    paths : dict of str to str
        Path by band.
    missing_unit : str, optional
        See `read_image`.

    Returns
    -------
    dict of str to SkyImage
    """
    images = {}
    for band, path in paths.items():
        try:
            images[band] = read_image(path, band, missing_unit=missing_unit)
        except DataError as fault:
            print(f"left out: {fault}", flush=True)
    return images


def pixel_areas(wcs, shape):
    """Return the solid angle of each pixel, whatever the projection.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Celestial coordinates.
    shape : (int, int)
        ny, nx.

    Returns
    -------
    array of shape (ny, nx)
        Steradian; NaN outside the projection. From differences on a coarse grid, interpolated
        between its points.
    """
    from scipy import ndimage

    every = min(max(max(shape) // AREA_STEPS, 1), AREA_STEP)
    # A margin keeps the image from the edges, where splines know least.
    y, x = (np.arange(-AREA_MARGIN, -(-n // every) + AREA_MARGIN + 1) * every for n in shape)
    grid_y, grid_x = np.meshgrid(y, x, indexing="ij")
    half = 0.5

    def vectors(px, py):
        longitude, latitude = np.radians(wcs.wcs_pix2world(px.ravel(), py.ravel(), 0))
        flat = np.stack(
            [
                np.cos(latitude) * np.cos(longitude),
                np.cos(latitude) * np.sin(longitude),
                np.sin(latitude),
            ]
        )
        return flat.reshape(3, *px.shape)

    along_x = vectors(grid_x + half, grid_y) - vectors(grid_x - half, grid_y)
    along_y = vectors(grid_x, grid_y + half) - vectors(grid_x, grid_y - half)
    areas = np.linalg.norm(np.cross(along_x, along_y, axis=0), axis=0)
    inside = np.isfinite(areas)
    # An all-sky projection has corners off the sky, where splines cannot go.
    filled = np.where(inside, areas, np.median(areas[inside]))
    steps = [1 / every, 1 / every]
    return ndimage.affine_transform(
        filled, steps, AREA_MARGIN, tuple(shape), order=3, mode="mirror"
    )


def _read_hdu(path):
    """Return header and two-dimensional data (float64) of the image in a FITS file."""
    from astropy.io import fits

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist: check the name")
    try:
        with silence(), fits.open(path, memmap=False) as hdus:
            if hdus[0].header.get("DC_OK") is False:
                raise DataError(str(hdus[0].header.get("DC_WHY", f"{path} is empty")))
            hdu = _choose(hdus, path)
            header, data = hdu.header.copy(), hdu.data
            data = np.array(data, dtype=float)
    except DataError:
        raise
    # Damaged files make astropy, gzip and numpy raise whatever comes first.
    except Exception as fault:
        reason = " ".join(str(fault).split())[:120] or type(fault).__name__
        raise DataError(
            f"{path} cannot be read as FITS, so it is cut short or damaged ({reason}): fetch "
            "it anew"
        ) from None
    sides = [n for n in data.shape if n > 1]
    if len(sides) != 2:
        raise DataError(
            f"{path} has an image of {' x '.join(map(str, data.shape[::-1]))} pixels (NAXIS): "
            "give one with two axes"
        )
    return header, data.reshape(sides)


def _choose(hdus, path):
    """Return the part of a FITS file that holds the image."""
    images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and hdu.header["NAXIS"] >= 2]
    if not images:
        hdus[0].verify("exception")
        raise DataError(f"{path} holds no image (NAXIS is below 2): give another file")
    if images[0] is hdus[0] or len(images) == 1:
        return images[0]
    names = [hdu.name.lower() for hdu in images]
    for name in IMAGE_NAMES:
        if name in names:
            return images[names.index(name)]
    raise DataError(
        f"{path} holds {len(images)} images with EXTNAME {', '.join(names)}: keep one, or name it "
        f"{IMAGE_NAMES[0]}"
    )


def _celestial(header, path):
    """Return the celestial coordinates of an image."""
    from astropy.wcs import WCS

    rotated = "CROTA2" in header or "CROTA1" in header
    linear = [key for key in header if key[:2] in ("CD", "PC") and "_" in key]
    if rotated and linear:
        # FITS forbids both; programs that turn an image write the matrix and leave the old angle.
        header = header.copy()
        for key in ("CROTA1", "CROTA2"):
            header.remove(key, ignore_missing=True)
    try:
        with silence():
            wcs = WCS(header).celestial
    except Exception as fault:
        raise DataError(
            f"{path} has no valid coordinates ({' '.join(str(fault).split())})"
        ) from None
    if not wcs.has_celestial:
        axes = ", ".join(str(header.get(key, "missing")) for key in ("CTYPE1", "CTYPE2"))
        raise DataError(
            f"{path} has no celestial coordinates (CTYPE1, CTYPE2: {axes}): give the image a WCS"
        )
    for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
        if key not in header:
            raise DataError(f"{path} lacks the keyword {key}: give the image a whole WCS")
    if not any(key in header for key in ("CDELT1", "CD1_1", "CD1_2")):
        raise DataError(f"{path} has no pixel scale (CDELT1 or CD1_1): give the image a whole WCS")
    return wcs


def _pixel_size(wcs, header, band, path):
    """Return the side of a pixel in arcsec, checked against all that is known of it."""
    from astropy.wcs.utils import proj_plane_pixel_area

    pixel = np.sqrt(proj_plane_pixel_area(wcs)) * 3600
    source = "CD1_1" if wcs.wcs.has_cd() else "CDELT1"
    if not np.isfinite(pixel) or pixel <= 0:
        raise DataError(f"{path} has a pixel of no size ({source}): correct its WCS")
    usual = band_table()[band].pixel_arcsec
    if not usual / LARGEST_PIXEL_RATIO < pixel < usual * LARGEST_PIXEL_RATIO:
        raise DataError(
            f'{path} has pixels of {pixel:.4g}" ({source}), where {band} has {usual:g}": correct '
            "the keyword, which is in degrees"
        )
    for key in PIXEL_KEYWORDS:
        stated = header.get(key)
        if isinstance(stated, (int, float)) and stated > 0 and not 0.98 < stated / pixel < 1.02:
            raise DataError(
                f'{path} has pixels of {pixel:.4g}" by {source} and of {stated:g}" by {key}: '
                "correct the wrong one"
            )
    return float(pixel)


def _without_edges(data):
    """Return the data with NaN for infinities and for edges of zeros."""
    from scipy import ndimage

    data = np.where(np.isfinite(data), data, np.nan)
    empty = ~(data != 0) | np.isnan(data)
    if not (data == 0).any():
        return data
    # Rows and columns without data, however narrow, then blocks that touch the border.
    edge = np.zeros(data.shape, dtype=bool)
    for lines in (empty, empty.T):
        view = edge if lines is empty else edge.T
        full = lines.all(axis=1)
        if full.all():
            return np.full(data.shape, np.nan)
        first, last = np.argmin(full), len(full) - np.argmin(full[::-1])
        view[:first], view[last:] = True, True
    block = np.ones((ZERO_BLOCK, ZERO_BLOCK), dtype=bool)
    solid = ndimage.binary_opening(np.pad(empty, 1, constant_values=True), block)[1:-1, 1:-1]
    labels, _ = ndimage.label(solid | edge)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    edge |= np.isin(labels, np.unique(border[border > 0]))
    data[edge] = np.nan
    return data


def _conversion(header, band, path, missing_unit):
    """Return the unit of an image, what one of it is, and whether that is Jy a pixel or MJy/sr."""
    from astropy import units as u

    written = written_unit(header, band, missing_unit)
    if not written:
        raise DataError(
            f"{path} names no unit ({', '.join(UNIT_KEYWORDS[:2])}): write it into BUNIT, or set "
            "survey.missing_unit"
        )
    unit = _parse_unit(written)
    if unit is not None:
        for known, per_pixel in ((u.Jy / u.pix, True), (u.MJy / u.sr, False)):
            if unit.is_equivalent(known):
                return written, unit.to(known), per_pixel
        if unit.is_equivalent(u.Jy / u.beam):
            area = _beam_area(header, band, path)
            return written, unit.to(u.MJy / u.beam) / (area * ARCSEC_RAD**2), False
        per_pixel_unit = unit * u.pix if unit.is_equivalent(u.DN / u.pix) else unit
        for known in (u.DN, u.ct / u.s, u.Unit("nmgy")):
            if per_pixel_unit.is_equivalent(known):
                jy = _zero_point(header, band, str(known), path)
                return written, per_pixel_unit.to(known) * jy, True
    raise DataError(
        f"{path} has the unit {written!r} (BUNIT): use Jy/pix, Jy/beam, MJy/sr, DN, ct/s or nmgy, "
        "or a multiple"
    )


def _parse_unit(text):
    """Return the astropy unit of a text, None if it is none."""
    from astropy import units as u

    words = re.split(r"([A-Za-z]+)", text.replace(" per ", "/").replace("MJY", "MJy"))
    plain = "".join(SPELLINGS.get(word.lower(), word) for word in words)
    with contextlib.suppress(ValueError):
        return u.Unit(plain)
    return None


def _photons_per_jy(header, band, text, path):
    """Return the photons that a flux of 1 Jy has brought, NaN where the header does not tell.

    GAIN is of photons (electrons) a DN, or a count of which NMGY nanomaggies are one. EXPTIME in
    seconds tells it in bands that count photons (GALEX), whatever the unit of the image: 1 Jy is
    so many counts a second.
    """
    from astropy import units as u

    unit = _parse_unit(text)
    if unit.is_equivalent(u.DN) or unit.is_equivalent(u.DN / u.pix):
        return _positive(header, "GAIN") / _zero_point(header, band, "DN", path)
    if unit.is_equivalent(u.Unit("nmgy")):
        gain = _positive(header, "GAIN") / _positive(header, "NMGY")
        return gain / _zero_point(header, band, "nmgy", path)
    if (band, "ct / s") in _zero_points():
        return _positive(header, "EXPTIME") / _zero_point(header, band, "ct / s", path)
    return np.nan


def exposure_time(band, photons_per_jy):
    """Return the exposure in s that brings so many photons a Jy; None of bands that count none."""
    if (band, "ct / s") not in _zero_points():
        return None
    return photons_per_jy * _zero_point({}, band, "ct / s", ZERO_POINT_TABLE)


def _positive(header, keyword):
    """Return a keyword that is a positive number, else NaN."""
    value = header.get(keyword)
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    return float(value) if known else np.nan


def _zero_point(header, band, unit, path):
    """Return the flux in Jy of one DN, count a second or nanomaggy."""
    row = _zero_points().get((band, unit)) or _zero_points().get(("", unit))
    if row is None:
        raise DataError(
            f"{path} is in {unit} (BUNIT), which has no zero point for {band}: add it to "
            f"{ZERO_POINT_TABLE.name}, or convert the image to Jy/pix"
        )
    magnitude = header.get("MAGZP", row["magnitude"] or None)
    try:
        return float(row["flux_jy"]) * 10 ** (-0.4 * float(magnitude))
    except (TypeError, ValueError):
        raise DataError(
            f"{path} is in {unit} and has MAGZP {magnitude!r}: the magnitude of one {unit} is "
            "needed"
        ) from None


def _beam_area(header, band, path):
    """Return the area of the beam in arcsec2: the table's, else that of the header's Gaussian."""
    row = _beams().get(band)
    if row is not None:
        return float(row["area_arcsec2"])
    try:
        axes = [float(header[key]) * 3600 for key in ("BMAJ", "BMIN")]
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{path} is in Jy/beam, and {band} has no beam: write BMAJ and BMIN into its header, "
            f"or the area into {BEAM_TABLE.name}"
        ) from None
    return np.pi / (4 * np.log(2)) * axes[0] * axes[1]


@lru_cache(maxsize=1)
def _zero_points():
    """Return the rows of the table of zero points by band and unit."""
    columns = ("band", "unit", "flux_jy", "magnitude", "source")
    return {(row["band"], row["unit"]): row for row in read_csv(ZERO_POINT_TABLE, columns)}


@lru_cache(maxsize=1)
def _beams():
    """Return the rows of the table of beams by band."""
    return {row["band"]: row for row in read_csv(BEAM_TABLE, ("band", "area_arcsec2", "source"))}


@contextlib.contextmanager
def silence():
    """Keep astropy from warning of headers that it mends or that are checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---------------------------------------------------------------------------------------------
# Clean images


def write_clean(path, image, origin=None):
    """Write a clean image, whole or not at all.

    Parameters
    ----------
    path : str or Path
        FITS file.
    image : CleanImage
        The image, or the reason of an empty product in its cards.
    origin : dict, optional
        Provenance as from `dustcast.bridge.run`.
    """
    from astropy.io import fits

    header = image.wcs.to_header(relax=True) if image.ok else fits.Header()
    header["DC_OK"] = (image.ok, "whether there is an image")
    for key, (value, comment) in image.cards.items():
        header[key] = (_card(value), comment)
    for key, value in _provenance(origin):
        header[key] = value
    hdus = fits.HDUList([fits.PrimaryHDU(header=header)])
    if image.ok:
        hdus[0].data = image.data.astype(np.float32)
        hdus[0].header.insert("DC_OK", ("BUNIT", "MJy/sr", "surface brightness"))
        mask = fits.ImageHDU(image.stars.astype(np.uint8), image.wcs.to_header(relax=True), "STARS")
        hdus.append(mask)
    with atomic(path) as temporary:
        hdus.writeto(temporary)


def read_clean(path):
    """Read a clean image.

    Returns
    -------
    CleanImage
        Its arrays are mapped from the file, so that parts of a large image can be read; its cards
        are values alone, without comments.

    Raises
    ------
    DataError
        If it is not a clean image.
    """
    from astropy.io import fits
    from astropy.wcs import WCS

    try:
        with silence(), fits.open(path, memmap=True) as hdus:
            header = hdus[0].header
            cards = {key: header[key] for key in header if key.startswith("DC_")}
            if not cards["DC_OK"]:
                return CleanImage(cards=cards)
            data, stars, wcs = hdus[0].data, hdus["STARS"].data.view(bool), WCS(header)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as fault:
        raise DataError(
            f"{path} is not a clean image ({' '.join(str(fault).split())}): delete it and run again"
        ) from None
    if data.ndim != 2 or data.shape != stars.shape:
        raise DataError(f"{path} is not a clean image: image and STARS need one shape of two axes")
    if header.get("BUNIT") != "MJy/sr":
        raise DataError(f"{path} is not a clean image: BUNIT must be MJy/sr")
    if not wcs.has_celestial:
        raise DataError(f"{path} is not a clean image: CTYPE1, CTYPE2 must be celestial")
    return CleanImage(data, wcs, stars, cards)


def _card(value):
    """Return a value that a FITS header can hold."""
    if isinstance(value, str):
        return value.encode("ascii", "replace").decode()
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    # A FITS header has no NaN.
    return value if np.isfinite(value) else ""


def _provenance(origin):
    """Return header cards of the provenance."""
    found = (origin or {}).get("provenance", {})
    keywords = {"rule": "DC_RULE", "config": "DC_CONF", "code": "DC_CODE"}
    return [(keyword, found[key]) for key, keyword in keywords.items() if key in found]

"""FITS maps from tables of pixels: extensions, coordinates and headers of docs/interfaces.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dustcast.maps.totals import LN10, QUANTITIES, extensive, total
from dustcast.tables import DataError, aligned, atomic, write_rows

TARGETS = ("sLd", "sMd", "Td")
UNITS = {"sLd": "", "sMd": "", "Td": "K"}
MEANING = {
    "sLd": "log10 of dust over stellar luminosity",
    "sMd": "log10 of dust over stellar mass",
    "Td": "dust temperature",
    "dust_luminosity": "dust luminosity surface density",
    "dust_mass": "dust mass surface density",
}
DENSITY_UNITS = {"dust_luminosity": "solLum pc-2", "dust_mass": "solMass pc-2"}
NO_DATA = 255
"""Value of APPLIC where there is no prediction."""

TOTAL_COLUMNS = (
    "galaxy",
    "scale",
    "quantity",
    "unit",
    "total",
    "error_dex",
    "error_galaxy_dex",
    "error_pixel_dex",
    "error_independent_dex",
    "distance_Mpc",
    "error_distance_dex",
    "n_pixel",
    "n_independent",
    "n_pixel_d25",
    "bands",
)


@dataclass
class Sky:
    """Where the pixels of a galaxy lie, from its cube.

    Attributes
    ----------
    header : astropy.io.fits.Header
        Celestial coordinates of two axes.
    shape : tuple of int
        Rows and columns.
    pixel, fwhm : float
        Side of a pixel and measured width of the PSF in arcsec.
    psf : str
        Name of the target PSF.
    inside : ndarray of bool
        Pixels whose centres lie inside D25.
    bands : list of str
        Bands that the cube has.
    """

    header: object
    shape: tuple
    pixel: float
    fwhm: float
    psf: str
    inside: np.ndarray
    bands: list


def read_sky(path):
    """Read the geometry of a cube.

    Raises
    ------
    DataError
        If the file is no cube.
    """
    from astropy.io import fits
    from astropy.wcs import WCS

    try:
        with fits.open(path, memmap=False) as hdus:
            main, table = hdus[0].header, hdus["BANDS"].data
            mask = hdus["MASK"].data
            wcs = WCS(hdus["FLUX"].header).celestial
            used = [str(b) for b, ok in zip(table["band"], table["used"]) if ok]
            pixel, fwhm, psf = main["DC_PIXEL"], main["DC_EFWHM"], main["DC_PSF"]
    except (OSError, KeyError, TypeError) as fault:
        raise DataError(f"{path} is not a cube ({fault}): delete it and run again") from None
    return Sky(
        wcs.to_header(),
        mask.shape[1:],
        float(pixel),
        float(fwhm),
        str(psf),
        (mask[0] & 4) == 0,
        used,
    )


def plane(sky, table, values, fill=math.nan, dtype=np.float32):
    """Return the values of pixels as an image, `fill` where the table has no pixel."""
    image = np.full(sky.shape, fill, dtype=dtype)
    image[table["y"], table["x"]] = values
    return image


def coverage(photometry, bands):
    """Return the number of bands with a flux, of shape (n_pixels,)."""
    known = [np.isfinite(photometry[band]) for band in bands if band in photometry]
    return np.sum(known, axis=0, dtype=np.int16)


def map_products(sky, predictions, photometry, short, stars, bands, *, deproject=1.0, matched=None):
    """Return the maps of a galaxy at one scale.

    Parameters
    ----------
    sky : Sky
    predictions : Table
        Predictions of pixels; their ids are some of those of `photometry` and `short`.
    photometry, short : Table
        Photometry of the pixels and their short fits.
    stars : dict
        See `dustcast.maps.totals.extensive`.
    bands : list of str
        Input bands of the model.
    deproject : float
        Factor of surface densities: 1 as observed, the axis ratio for those of a disc seen from
        above.
    matched : Table, optional
        From `dustcast.maps.super_resolution.match_maps`.

    Returns
    -------
    dict of str to (dict of str to ndarray, str)
        Planes by extension and unit of VALUE, by the name of the product: the three targets
        (SIGMA in their unit), dust_luminosity and dust_mass (VALUE the median surface density,
        SIGMA in dex).
    """
    photometry, short = same_rows(photometry, predictions), same_rows(short, predictions)
    if matched is not None:
        matched = same_rows(matched, predictions)
    cover = plane(sky, predictions, coverage(photometry, bands), 0, np.int16)
    products = {}
    for target in TARGETS:
        planes = {"VALUE": plane(sky, predictions, predictions[target])}
        for end in ("", "_galaxy", "_pixel"):
            values = predictions[f"{target}_sigma{end}"]
            planes[f"SIGMA{end.upper()}"] = plane(sky, predictions, values)
        applic = predictions[f"{target}_applic"]
        planes["APPLIC"] = plane(sky, predictions, applic, NO_DATA, np.uint8)
        planes["COVERAGE"] = cover
        if f"{target}_true" in predictions:
            planes["TRUTH"] = plane(sky, predictions, predictions[f"{target}_true"])
            planes["TRUTH_ERR"] = plane(sky, predictions, predictions[f"{target}_true_err"])
        if matched is not None:
            planes |= _matched_planes(sky, matched, target)
        products[target] = planes, UNITS[target]
    area = np.asarray(photometry["pixel_scale_pc"], float) ** 2
    for name, (target, *_) in QUANTITIES.items():
        values = extensive(predictions, short, name, stars)
        sigma = np.hypot(values["sigma_galaxy"], values["sigma_pixel"])
        planes = {
            "VALUE": plane(sky, predictions, values["value"] / area * deproject),
            "SIGMA": plane(sky, predictions, sigma),
            "SIGMA_GALAXY": plane(sky, predictions, values["sigma_galaxy"]),
            "SIGMA_PIXEL": plane(sky, predictions, values["sigma_pixel"]),
            "APPLIC": products[target][0]["APPLIC"],
            "COVERAGE": cover,
        }
        if f"{name}_true" in predictions:
            true = predictions[f"{name}_true"] / area * deproject
            planes["TRUTH"] = plane(sky, predictions, true)
            planes["TRUTH_ERR"] = plane(sky, predictions, predictions[f"{name}_true_err"])
        if matched is not None:
            planes |= _matched_planes(sky, matched, name, deproject / area)
        products[name] = planes, DENSITY_UNITS[name]
    return products


def _matched_planes(sky, matched, name, factor=1.0):
    """Return the planes of a map that was matched to the far-infrared."""
    return {
        "MATCHED": plane(sky, matched, matched[name] * factor),
        "MATCHED_SIGMA": plane(sky, matched, matched[f"{name}_sigma"]),
        "CORRECTION": plane(sky, matched, matched[f"{name}_correction"]),
    }


def write_map(path, sky, planes, unit, name, cards):
    """Write one product, whole or not at all.

    Parameters
    ----------
    path : str or Path
    sky : Sky
    planes : dict of str to ndarray
        By extension, VALUE first.
    unit : str
        Of VALUE; SIGMA of a surface density is in dex.
    name : str
        Key of `MEANING`.
    cards : dict of str to (value, str)
        More of the primary header.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = cards["DC_GAL"][0]
    primary.header["DC_QUANT"] = (name, MEANING[name])
    for key, (value, comment) in cards.items():
        primary.header[key] = (value, comment)
    hdus = fits.HDUList([primary])
    for extension, data in planes.items():
        hdu = fits.ImageHDU(data, header=sky.header, name=extension)
        own = name in DENSITY_UNITS and extension not in ("VALUE", "TRUTH", "MATCHED")
        if extension == "APPLIC":
            hdu.header["COMMENT"] = "0 inside, 1 edge, 2 outside the training sample, 255 no data"
        elif extension == "COVERAGE":
            hdu.header["COMMENT"] = "number of input bands with a flux"
        elif own and extension == "CORRECTION":
            hdu.header["COMMENT"] = "dex: log10 of the smooth factor in MATCHED"
        elif own:
            hdu.header["COMMENT"] = "dex: log10 of VALUE has this standard deviation"
        elif unit:
            hdu.header["BUNIT"] = unit
        else:
            hdu.header["COMMENT"] = "dex: " + MEANING[name]
        hdus.append(hdu)
    with atomic(path) as temporary:
        hdus.writeto(temporary)


def header_cards(sky, predictions, distance, galaxy, scale, origin, matched=None):
    """Return the cards of the primary header that all products of a galaxy share."""
    meta = predictions.meta
    more = (
        {} if matched is None else {key: tuple(card) for key, card in matched.meta["cards"].items()}
    )
    return {
        "DC_GAL": (galaxy, "galaxy"),
        "DC_SCALE": (scale, "scale"),
        "DC_DIST": (distance, "[Mpc] distance"),
        "DC_MODEL": (meta.get("model", ""), "model"),
        "DC_FOLD": (meta.get("fold", ""), "its part; whole: never saw the galaxy"),
        "DC_PSF": (sky.psf, "target PSF"),
        "DC_EFWHM": (sky.fwhm, "[arcsec] measured width of the PSF"),
        "DC_PIXEL": (sky.pixel, "[arcsec] pixel size"),
        "DC_BANDS": (";".join(sky.bands), "bands of the cube"),
        "DC_RULE": (origin["rule"], "rule that wrote this"),
        "DC_CONF": (origin["config"], "hash of the configuration"),
        "DC_CODE": (origin["code"], "hash of the code"),
    } | more


def same_rows(table, predictions):
    """Return the rows of a table that belong to the predictions, in their order.

    Raises
    ------
    DataError
        If it lacks one.
    """
    return aligned(table, predictions["id"], "a table of the predicted pixels", "make them anew")


def totals_rows(sky, predictions, photometry, short, model, galaxy, scale, distance_error):
    """Return the rows of totals.csv: dust luminosity and mass of the pixels with a prediction.

    Parameters
    ----------
    sky, predictions, photometry, short
        See `map_products`.
    model : dict
        Settings of the model: ``stars``, and ``split`` with the ``length`` by target over which
        errors of pixels are alike, in widths of the PSF.
    galaxy, scale : str
        Names.
    distance_error : float
        In Mpc; NaN where it is not known.

    Returns
    -------
    list of dict
        The error of the distance stands by itself, error_distance_dex: of luminosities and masses
        it is 2 sigma(D) / (D ln 10).
    """
    photometry, short = same_rows(photometry, predictions), same_rows(short, predictions)
    rows = []
    for name, (target, _, _, unit) in QUANTITIES.items():
        if not predictions.n_rows:
            continue
        values = extensive(predictions, short, name, model["stars"])
        known = np.isfinite(values["value"]) & np.isfinite(values["sigma_galaxy"])
        length = model["split"][target]["length"] * sky.fwhm / sky.pixel
        row = {"galaxy": galaxy, "scale": scale, "quantity": name, "unit": unit}
        row |= total(values.rows(known), predictions["x"][known], predictions["y"][known], length)
        distance = float(photometry["distance"][0])
        row |= {
            "distance_Mpc": distance,
            "error_distance_dex": 2 * distance_error / distance / LN10,
            "n_pixel": int(known.sum()),
            "n_pixel_d25": int(sky.inside.sum()),
            "bands": ";".join(sky.bands),
        }
        rows.append(row)
    return rows


def write_totals(path, rows):
    """Write totals.csv."""
    write_rows(path, rows, TOTAL_COLUMNS)

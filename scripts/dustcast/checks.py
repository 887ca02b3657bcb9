"""What can be wrong with maps of one's own galaxy, said before any job runs.

Standard library only: Snakemake's driver imports this module. FITS headers are read here by
their cards, which is all that coordinates and size need.
"""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

from dustcast.bands import band_table
from dustcast.tables import DataError
from dustcast.units import UNIT_KEYWORDS, may_be_brightness, written_unit

CARD, BLOCK = 80, 2880
# Cards of a header beyond this are no header of an image.
LARGEST_HEADER = 200 * BLOCK


def check_model(config):
    """Raise `DataError` if there is no model for maps, or it does not know a band of the images.

    Parameters
    ----------
    config : dict
        Completed configuration. A model that the run itself trains is not looked for.
    """
    folder = config["maps"]["model"]
    if folder.startswith(f"results/{config['run']}/"):
        return
    try:
        settings = json.loads((Path(folder) / "settings.json").read_text(encoding="utf-8"))
        trained = settings["bands"]
    except (OSError, KeyError, json.JSONDecodeError):
        made = f", or run snakemake {folder} with the configuration of that run first"
        raise DataError(
            f"maps.model: {folder} holds no model (settings.json with its bands): name a folder "
            f"that rule ship_model wrote{made if folder.startswith('results/') else ''}"
        ) from None
    for name, paths in config["survey"]["images"].items():
        strange = [band for band in _inputs(paths) if band not in trained]
        if strange:
            raise DataError(
                f"survey.images.{name}: the model was not trained on {strange[0]}: leave it out, "
                "or name another model in maps.model"
            )


def check_synthetic(config):
    """Raise `DataError` if the tables of synthetic observations are not both there."""
    tables = config["synthetic"]
    if not any(tables.values()):
        return
    for key, path in tables.items():
        if not path or not Path(path).is_file():
            raise DataError(
                f"synthetic.{key}: {path or 'no table'} is no file: name the "
                + ("input table of CIGALE" if key == "table" else "CSV table of what is known")
            )
    check_model(config)


def check_maps(config, galaxies, plan):
    """Raise `DataError` if the images of one's own galaxies do not make maps.

    Parameters
    ----------
    config : dict
        Completed configuration.
    galaxies : list of dustcast.sample.Galaxy
        The galaxies of the run.
    plan : list of dict
        Rows of the plan.
    """
    known = band_table()
    by_name = {galaxy.galaxy: galaxy for galaxy in galaxies}
    for name, paths in config["survey"]["images"].items():
        inputs = _inputs(paths)
        if not inputs:
            raise DataError(
                f"survey.images.{name} has no band from ultraviolet to mid-infrared: dust is "
                "predicted from those"
            )
        for row in plan:
            if row["galaxy"] == name and row["included"] and row["target_psf"]:
                wide = [band for band in inputs if band not in row["bands_short"].split(";")]
                if wide:
                    raise DataError(
                        f"survey.images.{name}: the PSF of {wide[0]} "
                        f'({known[wide[0]].fwhm_arcsec:g}") is wider than that of the scale '
                        f"{row['scale']} ({row['target_psf']}): take a larger scale, such as best, "
                        "or leave the band out"
                    )
        if name in by_name:
            for band, path in paths.items():
                where = f"survey.images.{name}.{band}"
                header = image_header(path, where)
                check_place(header, path, by_name[name], where)
                check_unit(header, path, band, where, config["survey"]["missing_unit"])


def check_unit(header, path, band, where, missing_unit=None):
    """Raise `DataError` if an image names no unit, or one that is none of an image.

    Parameters
    ----------
    header : dict
        Its cards.
    path, band, where : str
        Its file and band, and its key in the configuration.
    missing_unit : str or dict of str to str, optional
        See `dustcast.units.written_unit`.
    """
    written = written_unit(header, band, missing_unit)
    if not written:
        raise DataError(
            f"{where}: {path} names no unit ({', '.join(UNIT_KEYWORDS[:2])}): write it into BUNIT, "
            f"or set survey.missing_unit, for instance {{{band}: Jy/pix}}"
        )
    if not may_be_brightness(written):
        raise DataError(
            f"{where}: {path} has the unit {written!r}, which is none of an image: use Jy/pix, "
            "Jy/beam, MJy/sr, DN, ct/s or nmgy, or a multiple"
        )


def check_place(header, path, galaxy, where):
    """Raise `DataError` if an image has no celestial coordinates or does not show a galaxy.

    Parameters
    ----------
    header : dict
        Its cards.
    path, where : str
        Its file, and its key in the configuration.
    galaxy : dustcast.sample.Galaxy
    """
    kinds = [str(header.get(f"CTYPE{axis}", "")) for axis in (1, 2)]
    kind = "".join(text[:4] for text in kinds)
    if not any(pair in kind for pair in ("RA--DEC-", "DEC-RA--", "GLONGLAT", "GLATGLON")):
        raise DataError(
            f"{where}: {path} has no celestial coordinates (CTYPE1 {kinds[0]!r}): give an image "
            "with a WCS"
        )
    if kind != "RA--DEC-":
        # Other orders and systems are left to the library that the jobs use.
        return
    step = math.sqrt(abs(_pixel_area(header)))
    try:
        centre = [float(header[f"CRVAL{axis}"]) for axis in (1, 2)]
        offset = [
            (float(header[f"NAXIS{axis}"]) + 1) / 2 - float(header[f"CRPIX{axis}"])
            for axis in (1, 2)
        ]
        size = [float(header[f"NAXIS{axis}"]) for axis in (1, 2)]
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{where}: {path} lacks CRVAL, CRPIX or NAXIS: give a WCS") from None
    # However the image is turned: its farthest corner from the reference pixel, and D25.
    reach = step * (math.hypot(*offset) + math.hypot(*size) / 2)
    apart = separation(*centre, galaxy.ra, galaxy.dec)
    if apart > reach + galaxy.d25_arcsec / 7200:
        raise DataError(
            f"{where}: {path} does not show {galaxy.galaxy}: its reference pixel is "
            f"{apart:.3g} degrees away, its farthest corner {reach:.3g} degrees from that"
        )


def _inputs(paths):
    """Return the bands of some images that dust is predicted from."""
    return [band for band in paths if band_table()[band].role == "input"]


def _pixel_area(header):
    """Return the area of a pixel in square degrees; NaN where the header does not give it."""

    def number(name, default):
        try:
            return float(header.get(name, default))
        except (TypeError, ValueError):
            return math.nan

    if any(f"CD{i}_{j}" in header for i in (1, 2) for j in (1, 2)):
        cd = {(i, j): number(f"CD{i}_{j}", 0.0) for i in (1, 2) for j in (1, 2)}
        return cd[1, 1] * cd[2, 2] - cd[1, 2] * cd[2, 1]
    turn = number("PC1_1", 1.0) * number("PC2_2", 1.0) - number("PC1_2", 0.0) * number("PC2_1", 0.0)
    return number("CDELT1", math.nan) * number("CDELT2", math.nan) * turn


def separation(ra, dec, other_ra, other_dec):
    """Return the angle between two directions in degrees (haversine)."""
    ra, dec, other_ra, other_dec = map(math.radians, (ra, dec, other_ra, other_dec))
    half = (
        math.sin((other_dec - dec) / 2) ** 2
        + math.cos(dec) * math.cos(other_dec) * math.sin((other_ra - ra) / 2) ** 2
    )
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half))))


def image_header(path, where):
    """Return the cards of the first extension of a FITS file that has two axes or more.

    Raises
    ------
    DataError
        If the file is missing or is not FITS, or has no image.
    """
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as file:
            while True:
                header = _read_header(file)
                axes = int(header.get("NAXIS", 0))
                if "ZIMAGE" in header:
                    # A compressed image is a table that says what it was.
                    return header | {f"NAXIS{k}": header[f"ZNAXIS{k}"] for k in (1, 2)}
                if axes >= 2 and header.get("XTENSION", "IMAGE") == "IMAGE":
                    return header
                length = abs(int(header.get("BITPIX", 8))) // 8 if axes else 0
                for axis in range(axes):
                    length *= int(header[f"NAXIS{axis + 1}"])
                length += int(header.get("PCOUNT", 0))
                file.seek(-(-length // BLOCK) * BLOCK, 1)
    except FileNotFoundError:
        raise DataError(f"{where}: {path} does not exist: check the path") from None
    except (OSError, EOFError, ValueError, KeyError) as fault:
        raise DataError(f"{where}: {path} is no FITS image ({fault})") from None


def _read_header(file):
    """Return the cards of the header at which a file stands, values as text or number."""
    header, length = {}, 0
    while length < LARGEST_HEADER:
        block = file.read(BLOCK)
        length += BLOCK
        if len(block) < BLOCK:
            raise ValueError("no image of two axes")
        if length == BLOCK and not block.startswith((b"SIMPLE", b"XTENSION")):
            raise ValueError("it does not begin as one")
        for start in range(0, BLOCK, CARD):
            card = block[start : start + CARD].decode("ascii", "replace")
            name = card[:8].strip()
            if name == "END":
                return header
            if card[8:10] == "= ":
                header.setdefault(name, _value(card[10:]))
    raise ValueError("its header does not end")


def _value(text):
    """Return a card's value: a text without quotes, or what stands before the comment."""
    text = text.strip()
    if text.startswith("'"):
        return text[1:].replace("''", "\0").split("'")[0].replace("\0", "'").rstrip()
    return text.split("/")[0].strip().replace("D", "E")

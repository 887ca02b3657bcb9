"""The bands of config/bands.csv (standard library only: Snakemake's driver imports this)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dustcast.tables import DataError, read_csv

BAND_TABLE = Path(__file__).resolve().parents[2] / "config" / "bands.csv"
KERNEL_NAMES = BAND_TABLE.parents[1] / "resources" / "psfs" / "aniano.csv"
ROLES = ("input", "target", "extra")
REFERENCE_BAND = "WISE_3.4"


@dataclass(frozen=True)
class Band:
    """A row of the band table.

    Attributes
    ----------
    id : str
        DustPedia name, for example ``WISE_3.4``.
    label : str
        Name for figures.
    role : str
        ``input``, ``target`` or ``extra``.
    pivot_um : float
        Pivot wavelength in micron.
    pixel_arcsec, fwhm_arcsec : float
        Pixel size and full width at half maximum of the archive's image; NaN without images.
    calibration : float
        Calibration uncertainty as a fraction; NaN without images.
    extinction : float
        Galactic extinction A / E(B-V).
    cigale : tuple of str
        CIGALE's names in the generations of 2018, 2022 and 2025.
    """

    id: str
    label: str
    role: str
    pivot_um: float
    pixel_arcsec: float
    fwhm_arcsec: float
    calibration: float
    extinction: float
    cigale: tuple[str, ...]


@lru_cache(maxsize=4)
def band_table(path=BAND_TABLE):
    """Read the band table.

    Returns
    -------
    dict of str to Band
        In the order of the file, which is that of the wavelengths within a role.

    Raises
    ------
    DataError
        If a column is missing, an id stands twice, or a value is not valid.
    """
    numbers = ("pivot_um", "pixel_arcsec", "fwhm_arcsec", "calibration", "extinction")
    names = ("cigale_2018", "cigale_2022", "cigale_2025")
    table = {}
    for row in read_csv(path, required=("id", "label", "role", *numbers, *names)):
        band = row["id"]
        if band in table:
            raise DataError(f"{path} has the band {band} twice: remove one")
        if row["role"] not in ROLES:
            raise DataError(f"{path}: {band} has the role {row['role']!r}: use {', '.join(ROLES)}")
        values = {}
        for name in numbers:
            try:
                values[name] = float(row[name] or "nan")
            except ValueError:
                raise DataError(
                    f"{path}: {name} of {band} is {row[name]!r}: a number is needed"
                ) from None
        cigale = tuple(row[name] for name in names)
        table[band] = Band(band, row["label"], row["role"], cigale=cigale, **values)
    return table


def bands_of(*roles):
    """Return the ids of the bands of the given roles, in the order of the table."""
    return [band.id for band in band_table().values() if band.role in roles]


def check_bands(names, where):
    """Raise `DataError` if a name is not of the band table or stands twice."""
    known = band_table()
    for name in names:
        if name not in known:
            raise DataError(f"{where}: the band {name} is not known: use {', '.join(known)}")
    if len(set(names)) < len(list(names)):
        raise DataError(f"{where}: a band stands twice: remove one")


def band_of_name(name):
    """Return the id of a band by its id or by a CIGALE name of any generation, None if unknown."""
    return _ids_by_name().get(name)


@lru_cache(maxsize=1)
def _ids_by_name():
    """Return every name that a band has, to its id."""
    return {name: band.id for band in band_table().values() for name in (band.id, *band.cigale)}


@lru_cache(maxsize=1)
def kernel_names():
    """Return the names of bands in the kernel files of Aniano et al. (2011), by band."""
    return {row["band"]: row["name"] for row in read_csv(KERNEL_NAMES, required=("band", "name"))}

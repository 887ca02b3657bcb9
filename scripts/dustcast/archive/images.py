"""DustPedia's images (Clark et al. 2018), from its server or a mirror."""

from __future__ import annotations

import zlib

from dustcast.archive.download import NotThereError, fetch
from dustcast.tables import DataError, atomic

# The server's own address of an image; that of a Spitzer image ends in .gz.
IMAGE_URL = (
    "http://dustpedia.astro.noa.gr/Data/GetImage?imageName={galaxy}_{band}.fits{packed}"
    "&instrument={instrument}"
)
PACKED = ("Spitzer",)
FITS_START = b"SIMPLE  ="
GZIP_START = b"\x1f\x8b"
CARD, BLOCK = 80, 2880


def fetch_image(galaxy, band, output, *, mirror=None, url=IMAGE_URL, **options):
    """Put an image of DustPedia in its place, or an empty product if there is none.

    Parameters
    ----------
    galaxy, band : str
        Whose, and in which band.
    output : str or Path
        Where it belongs.
    mirror : str or Path, optional
        Folder that may hold it as ``images/{galaxy}_{band}.fits``, packed or not.
    url : str
        Address with fields for galaxy, band, instrument and the suffix of packed images.
    **options
        Of `dustcast.archive.download.fetch`.

    Raises
    ------
    DataError
        If it cannot be had, or what comes is no FITS file, such as a page that asks for a login.
    """
    instrument = band.split("_")[0]
    packed = ".gz" if instrument in PACKED else ""
    address = url.format(galaxy=galaxy, band=band, instrument=instrument, packed=packed)
    name = f"images/{galaxy}_{band}.fits"
    try:
        fetch(name, output, url=address, check=check_fits, mirror=mirror, **options)
    except NotThereError:
        write_empty(output, f"the DustPedia archive has no image of {galaxy} in {band}")


def check_fits(path, source):
    """Raise `DataError` if a file is not FITS, packed or not."""
    with open(path, "rb") as handle:
        start = handle.read(BLOCK)
    if start.startswith(GZIP_START):
        try:
            start = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(start)
        except zlib.error:
            start = b""
    if not start.startswith(FITS_START):
        page = start.lstrip().lower().startswith((b"<!doctype", b"<html"))
        raise DataError(
            f"{source} is no FITS file" + (" but a web page" if page else "") + ": try again "
            "later, or put the image into the mirror"
        )


def write_empty(path, reason):
    """Write a FITS file that holds nothing but the reason why there is no image."""
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8"]
    cards += ["NAXIS   =                    0", "DC_OK   =                    F"]
    # A text fits into a card up to 67 characters; what is longer is cut.
    text = reason.encode("ascii", "replace").decode().replace("'", "''")[:67]
    cards += [f"DC_WHY  = '{text:<8}'", "END"]
    content = "".join(f"{card:<{CARD}}" for card in cards)
    with atomic(path) as temporary:
        temporary.write_bytes(content.ljust(-(-len(content) // BLOCK) * BLOCK).encode())

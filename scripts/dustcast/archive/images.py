"""DustPedia's images (Clark et al. 2018), from its server or a mirror."""

from __future__ import annotations

import gzip
import math
import zlib

from dustcast.archive.download import NotThereError, fetch, from_mirror
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
# Read at once where what is read only has to be counted.
CHUNK = 1 << 22


def fetch_image(galaxy, band, output, *, product=None, mirror=None, url=IMAGE_URL, **options):
    """Put an image of a galaxy in its place, or an empty product if there is none.

    Parameters
    ----------
    galaxy, band : str
        Whose, and in which band.
    output : str or Path
        Where it belongs.
    product : dict, optional
        Row of config/products.csv, for a galaxy that DustPedia lacks: its `url`, which may be
        empty, and its `source`.
    mirror : str or Path, optional
        Folder that may hold it as ``images/{galaxy}_{band}.fits``, packed or not.
    url : str
        DustPedia's address with fields for galaxy, band, instrument and the suffix of packed
        images.
    **options
        Of `dustcast.archive.download.fetch`.

    Raises
    ------
    DataError
        If it cannot be had, or what comes is no FITS file, such as a page that asks for a login.
    """
    name = f"images/{galaxy}_{band}.fits"
    if product and not product["url"]:
        if not from_mirror(name, output, mirror, check=check_fits):
            write_empty(output, f"{galaxy} in {band} has no address in config/products.csv")
            print(
                f"{galaxy} in {band} has no address in config/products.csv (source: "
                f"{product['source']}): put the image in its place, {output}",
                flush=True,
            )
        return
    if product:
        address, archive = product["url"], "the address in config/products.csv"
    else:
        instrument = band.split("_")[0]
        packed = ".gz" if instrument in PACKED else ""
        address = url.format(galaxy=galaxy, band=band, instrument=instrument, packed=packed)
        archive = "the DustPedia archive"
    try:
        fetch(name, output, url=address, check=check_fits, mirror=mirror, **options)
    except NotThereError:
        write_empty(output, f"{archive} has no image of {galaxy} in {band}")


def check_fits(path, source):
    """Raise `DataError` if a file, packed or not, is not FITS or shorter than its headers say."""
    with open(path, "rb") as handle:
        start = handle.read(BLOCK)
        packed = start.startswith(GZIP_START)
        if packed:
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
    try:
        with (gzip.open if packed else open)(path, "rb") as handle:
            whole = _is_whole(handle)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        whole = False
    if not whole:
        raise DataError(
            f"{source} is shorter than its header says: fetch it anew, or put the image into the "
            "mirror"
        )


def _is_whole(handle):
    """Return whether a FITS file has all the data that its headers announce.

    Walks over headers and data units (FITS standard 4.0, sections 3.3 and 4.4.1); the fill after
    the last data may lack, as readers allow.
    """
    while header := _read_header(handle):
        axes = [int(header.get(f"NAXIS{n + 1}", 0)) for n in range(int(header.get("NAXIS", 0)))]
        if axes and axes[0] == 0 and header.get("GROUPS") == "T":
            axes = axes[1:]
        count = 0
        if axes:
            count = math.prod(axes) + int(header.get("PCOUNT", 0))
            count *= int(header.get("GCOUNT", 1))
        size = count * abs(int(header.get("BITPIX", 8))) // 8
        if _skip(handle, size) < size:
            return False
        _skip(handle, -size % BLOCK)
    return True


def _read_header(handle):
    """Return the values of the next header as text, none after the last one.

    Raises
    ------
    EOFError
        If it breaks off.
    """
    header = {}
    block = handle.read(BLOCK)
    if not block.startswith((b"SIMPLE", b"XTENSION")):
        return None
    while len(block) == BLOCK:
        for card in (block[k : k + CARD].decode("latin-1") for k in range(0, BLOCK, CARD)):
            if card.rstrip() == "END":
                return header
            if card[8:10] == "= ":
                header[card[:8].strip()] = card[10:].split("/")[0].strip()
        block = handle.read(BLOCK)
    raise EOFError


def _skip(handle, size):
    """Read on by some bytes and return how many there were."""
    left = size
    while left > 0 and (block := handle.read(min(left, CHUNK))):
        left -= len(block)
    return size - left


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

"""Galactic reddening from IRSA's dust service."""

from __future__ import annotations

import re
import urllib.parse
import xml.etree.ElementTree

from dustcast.archive.download import from_mirror, retrieve
from dustcast.tables import DataError, atomic, write_rows

SERVICE = "https://irsa.ipac.caltech.edu/cgi-bin/DUST/nph-dust"
COLUMNS = ("galaxy", "ebv", "ebv_err", "source")
# The service mistakes a coordinate of nearly 0 for another notation (CAAPR moves it alike).
LEAST_COORDINATE = 0.01


def fetch_reddening(galaxy, output, *, mirror=None, service=SERVICE, **options):
    """Write E(B-V) in the direction of a galaxy, on the scale of Schlegel et al. (1998).

    Parameters
    ----------
    galaxy : dustcast.sample.Galaxy
        Name and position.
    output : str or Path
        CSV table with one row: galaxy, ebv, ebv_err, source. The value is that of the pixel at
        the position, the uncertainty the scatter in the 5 arcmin around it.
    mirror : str or Path, optional
        Folder that may hold the table as ``reddening/{galaxy}.csv``.
    service : str
        Address of the service.
    **options
        Of `dustcast.archive.download.retrieve`.

    Raises
    ------
    DataError
        If the service gives no answer, or one without these numbers.
    """
    name = f"reddening/{galaxy.galaxy}.csv"
    if from_mirror(name, output, mirror):
        return
    position = (galaxy.ra, galaxy.dec)
    ra, dec = (value if abs(value) >= LEAST_COORDINATE else LEAST_COORDINATE for value in position)
    query = urllib.parse.urlencode({"locstr": f"{ra:.5f} {dec:.5f} equ j2000"})
    url = f"{service}?{query}"
    with atomic(output) as temporary:
        answer = temporary.with_name(temporary.name + ".xml.tmp")
        try:
            retrieve(url, answer, **options)
            ebv, ebv_err = parse_reddening(
                answer.read_text(encoding="utf-8", errors="replace"), url
            )
        finally:
            answer.unlink(missing_ok=True)
        write_rows(temporary, [(galaxy.galaxy, ebv, ebv_err, "IRSA, SFD scale")], COLUMNS)


def parse_reddening(text, source):
    """Return E(B-V) and its scatter from an answer of the service.

    Parameters
    ----------
    text : str
        XML, in which ``refPixelValueSFD`` and ``stdSFD`` are texts such as ``0.0423 (mag)``.
    source : str
        Where it comes from, for the message.
    """
    try:
        root = xml.etree.ElementTree.fromstring(text)
    except xml.etree.ElementTree.ParseError:
        raise DataError(f"{source} answered what is not XML: try again later") from None
    found = []
    for name in ("refPixelValueSFD", "stdSFD"):
        texts = [item.text or "" for item in root.iter() if item.tag.rpartition("}")[2] == name]
        number = re.search(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?", texts[0]) if texts else None
        if number is None:
            raise DataError(
                f"{source} answered without {name}: try again later, or write ebv and ebv_err into "
                "the table sample.by_hand"
            )
        found.append(float(number[0]))
    return tuple(found)

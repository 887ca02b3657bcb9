"""Published kernels between PSFs (Aniano et al. 2011), from their server or a mirror."""

from __future__ import annotations

from pathlib import Path

from dustcast.archive.download import NotThereError, fetch, kept
from dustcast.archive.images import check_fits
from dustcast.tables import write_rows

# The set of 2018; there is one of high resolution, whose files are 30 times as large.
KERNEL_URL = (
    "https://www.astro.princeton.edu/~draine/Kernels/Kernels_2018/Kernel_FITS_Files/"
    "Low_Resolution/{file}"
)
INDEX_COLUMNS = ("from", "to", "file")


def fetch_kernels(pairs, index, *, mirror=None, url=KERNEL_URL, **options):
    """Put kernels beside a table of them; a file that stands there already is kept.

    Parameters
    ----------
    pairs : iterable of (str, str)
        Names of the PSFs between which each kernel leads, as in its file's name.
    index : str or Path
        CSV table to be written: from, to, file; the file is empty where nobody has the kernel,
        which is made from the PSFs then.
    mirror : str or Path, optional
        Folder that may hold the files in a folder of the same name as theirs.
    url : str
        Address with the field ``file``.
    **options
        Of `dustcast.archive.download.fetch`.

    Raises
    ------
    DataError
        If the server fails, or what comes is no FITS file.
    """
    folder = Path(index).parent
    rows = [
        {"from": start, "to": end, "file": _fetch_kernel(start, end, folder, mirror, url, options)}
        for start, end in pairs
    ]
    write_rows(index, rows, INDEX_COLUMNS)


def _fetch_kernel(start, end, folder, mirror, url, options):
    """Return the name of a kernel's file, fetched if it is not there; empty if there is none."""
    names = [
        f"Kernel_{resolution}_{start}_to_{end}{suffix}"
        for resolution in ("HiRes", "LoRes")
        for suffix in (".fits", ".fits.gz")
    ]
    for name in names:
        if kept(folder / name, check_fits):
            return name
    # Under its plain name, packed or not: what reads it looks at the content.
    name = names[2]
    for suffix in (".gz", ""):
        try:
            fetch(
                f"{folder.name}/{name}",
                folder / name,
                url=url.format(file=name + suffix),
                check=check_fits,
                mirror=mirror,
                **options,
            )
        except NotThereError:
            continue
        return name
    return ""

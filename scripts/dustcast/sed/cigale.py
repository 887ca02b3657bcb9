"""CIGALE's tables: photometry as it writes and reads it itself, and its tables of results."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dustcast.bands import band_of_name, band_table
from dustcast.tables import DataError, Table, atomic

# What CIGALE takes for a missing flux.
MISSING_BELOW = -9990.0
FITS_SUFFIXES = (".fits", ".fit", ".fits.gz", ".fit.gz")
VOTABLE_SUFFIXES = (".xml", ".vot", ".votable")


def read_input(path, *, key="photometry.table"):
    """Read an input table of CIGALE: ``id redshift [distance] band band_err ...``.

    Parameters
    ----------
    path : str or Path
        FITS (``.fits``, ``.fit``, also with ``.gz``), VOTable (``.xml``, ``.vot``), or text. In
        a text table whose fields are separated by single blanks, two blanks enclose an empty
        field, which is a missing flux (a split at any white space would shift the columns
        silently). Columns that are aligned with more blanks, tabs or commas are read where no
        field is empty.
    key : str
        Name of the setting that names the table, for messages.

    Returns
    -------
    Table
        id, redshift, distance if given, and `<band>`, `<band>_err` in mJy under our band ids;
        missing fluxes are NaN, a negative error marks an upper limit. ``meta["names"]`` has the
        name of each band in the table.

    Raises
    ------
    DataError
        If the file is missing or ragged, a band is unknown or lacks its error, a value is not a
        finite number, or an id repeats.
    """
    path = Path(path)
    if path.name.endswith((*FITS_SUFFIXES, *VOTABLE_SUFFIXES)):
        header, ids, fields = _binary_table(path, key)
    else:
        header, ids, fields = _text_table(path, key)
    unique, counts = np.unique(ids.astype(str), return_counts=True)
    if np.any(counts > 1):
        raise DataError(f"{path} has the id {unique[counts > 1][0]} twice: remove one row")
    columns, names = {"id": ids}, {}
    for name, column in zip(header[1:], fields):
        values = _numbers(column, ids, f"{path}: {name}")
        if name in ("redshift", "distance"):
            columns[name] = values
            continue
        plain, error = name.removesuffix("_err"), name.endswith("_err")
        band = band_of_name(plain)
        if band is None:
            known = ", ".join(known.cigale[0] for known in band_table().values())
            raise DataError(f"{path}: the column {name} is not a known band: use {known}")
        if not error and f"{name}_err" not in header:
            raise DataError(f"{path}: the band {name} has no column {name}_err: add it")
        if error and plain not in header:
            raise DataError(f"{path}: the column {name} has no band {plain}: remove it")
        column = f"{band}_err" if error else band
        if column in columns:
            raise DataError(f"{path} has {column} twice, the second as {name}: remove one")
        values[values < MISSING_BELOW] = np.nan
        columns[column] = values
        names[band] = plain
    return Table(columns, meta={"names": names})


def _text_table(path, key):
    """Return the header, the ids and the other columns (texts) of a text table."""
    try:
        text = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check {key}") from None
    except (UnicodeDecodeError, IsADirectoryError) as fault:
        raise DataError(f"{path} is not a text table ({fault}): check {key}") from None
    lines = [line for line in text if line.strip() and not line.startswith("#")]
    if lines and not lines[0].startswith("id"):
        # The header may itself be a comment.
        lines[:0] = [line.lstrip("# ") for line in text if re.match(r"#\s*id\s", line)][-1:]
    if len(lines) < 2:
        raise DataError(f"{path} holds no rows: a header line and one line a source are needed")
    if "," in lines[0]:
        split = [[field.strip() for field in line.split(",")] for line in lines]
    else:
        split = [line.split() for line in lines]
    if any(len(row) != len(split[0]) for row in split):
        split = [line.split(" ") for line in lines]
    header, *rows = split
    if header[0] != "id":
        raise DataError(f"{path}: the first column is {header[0]!r}: CIGALE's tables begin with id")
    for row in rows:
        if len(row) > len(header) or len(row[0].split()) != 1:
            raise DataError(
                f"{path}: the row of {row[0]!r} has {len(row)} fields, the header {len(header)}: "
                "fields are separated by single blanks"
            )
        # Editors strip the blanks of empty fields at the end of a line.
        row.extend([""] * (len(header) - len(row)))
    ids, *fields = zip(*rows)
    return header, np.array(ids, dtype=object), fields


def _binary_table(path, key):
    """Return the header, the ids and the other columns of a FITS file or a VOTable."""
    from astropy.table import Table as AstropyTable

    kind = "fits" if path.name.endswith(FITS_SUFFIXES) else "votable"
    try:
        table = AstropyTable.read(path, format=kind)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check {key}") from None
    # astropy has no exception of its own for files that are none of what they should be.
    except Exception as fault:
        why = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise DataError(f"{path} cannot be read as {kind} ({why}): check {key}") from None
    if not table.colnames or table.colnames[0] != "id":
        first = table.colnames[0] if table.colnames else ""
        raise DataError(f"{path}: the first column is {first!r}: CIGALE's tables begin with id")
    if not len(table):
        raise DataError(f"{path} holds no rows: one row a source is needed")
    text = [v.decode() if isinstance(v, bytes) else str(v) for v in table["id"]]
    ids = np.array([value.strip() for value in text], dtype=object)
    fields = [np.ma.filled(table[name].astype(object), "") for name in table.colnames[1:]]
    return table.colnames, ids, fields


def _numbers(fields, ids, what):
    """Return fields as numbers; empty is NaN."""
    values = np.full(len(fields), np.nan)
    for row, field in enumerate(fields):
        if isinstance(field, str) and not field:
            continue
        try:
            values[row] = float(field)
        except (TypeError, ValueError):
            raise DataError(f"{what} of {ids[row]} is {field!r}: a number is needed") from None
        if np.isinf(values[row]):
            raise DataError(f"{what} of {ids[row]} is infinite: leave the field empty")
    return values


def read_results(path):
    """Read a table of results of CIGALE, text or FITS.

    Returns
    -------
    Table
        Its columns as they are named there, with units where the file has them.

    Raises
    ------
    DataError
        If the file is missing, cannot be read or has no column ``id``.
    """
    from astropy.table import Table as AstropyTable

    path = Path(path)
    kind = "fits" if path.name.endswith(FITS_SUFFIXES) else "ascii.basic"
    try:
        table = AstropyTable.read(path, format=kind)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: run pcigale first") from None
    except Exception as fault:
        why = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise DataError(f"{path} is no table of results ({why}): run pcigale again") from None
    if "id" not in table.colnames:
        raise DataError(f"{path} has no column id: is it a results file of CIGALE?")
    text = [v.decode() if isinstance(v, bytes) else str(v) for v in table["id"]]
    columns = {"id": np.array([value.strip() for value in text], dtype=object)}
    units = {}
    for name in table.colnames:
        if name != "id" and table[name].dtype.kind in "fiu":
            columns[name] = np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan)
            if table[name].unit is not None:
                units[name] = str(table[name].unit)
    return Table(columns, units=units)


def write_results(path, table):
    """Write a table as CIGALE does, as ``{path}.fits`` with units and ``{path}.txt``.

    Parameters
    ----------
    path : str or Path
        Name without a suffix.
    table : Table
        First column id.
    """
    from astropy.table import Column
    from astropy.table import Table as AstropyTable

    columns = []
    for name, values in table.items():
        values = np.asarray(values)
        if values.dtype.kind == "O":
            values = values.astype(str)
        columns.append(Column(values, name=name, unit=table.units.get(name) or None))
    found = AstropyTable(columns)
    path = Path(path)
    with atomic(path.with_name(f"{path.name}.fits")) as temporary:
        found.write(temporary, format="fits")
    with atomic(path.with_name(f"{path.name}.txt")) as temporary:
        found.write(temporary, format="ascii.fixed_width", delimiter=None)

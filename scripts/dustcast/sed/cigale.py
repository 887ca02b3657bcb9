"""CIGALE's tables: reading its photometry as it writes and reads it itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dustcast.bands import band_of_name, band_table
from dustcast.tables import DataError, Table

# What CIGALE takes for a missing flux.
MISSING_BELOW = -9990.0


def read_input(path):
    """Read an input table of CIGALE: ``id redshift [distance] band band_err ...``.

    Parameters
    ----------
    path : str or Path
        Text table whose fields are separated by single blanks; two blanks enclose an empty field,
        which is a missing flux. (A split at any white space would shift the columns silently.)

    Returns
    -------
    Table
        id, redshift, distance if given, and `<band>`, `<band>_err` in mJy under our band ids;
        missing fluxes are NaN, a negative error marks an upper limit.

    Raises
    ------
    DataError
        If the file is missing or ragged, a band is unknown or lacks its error, a value is not a
        finite number, or an id repeats.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check photometry.table") from None
    except (UnicodeDecodeError, IsADirectoryError) as fault:
        raise DataError(f"{path} is not a text table ({fault}): check photometry.table") from None
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    if len(lines) < 2:
        raise DataError(f"{path} holds no rows: a header line and one line a source are needed")
    header = lines[0].split(" ")
    if header[0] != "id":
        raise DataError(f"{path}: the first column is {header[0]!r}: CIGALE's tables begin with id")
    rows = [line.split(" ") for line in lines[1:]]
    for row in rows:
        if len(row) > len(header) or len(row[0].split()) != 1:
            raise DataError(
                f"{path}: the row of {row[0]!r} has {len(row)} fields, the header {len(header)}: "
                "fields are separated by single blanks"
            )
        # Editors strip the blanks of empty fields at the end of a line.
        row.extend([""] * (len(header) - len(row)))
    ids = np.array([row[0] for row in rows], dtype=object)
    unique, counts = np.unique(ids.astype(str), return_counts=True)
    if np.any(counts > 1):
        raise DataError(f"{path} has the id {unique[counts > 1][0]} twice: remove one row")
    columns = {"id": ids}
    for index, name in enumerate(header[1:], start=1):
        values = _numbers([row[index] for row in rows], ids, f"{path}: {name}")
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
    return Table(columns)


def _numbers(fields, ids, what):
    """Return fields as numbers; empty is NaN."""
    values = np.full(len(fields), np.nan)
    for row, field in enumerate(fields):
        if not field:
            continue
        try:
            values[row] = float(field)
        except ValueError:
            raise DataError(f"{what} of {ids[row]} is {field!r}: a number is needed") from None
        if np.isinf(values[row]):
            raise DataError(f"{what} of {ids[row]} is infinite: leave the field empty")
    return values

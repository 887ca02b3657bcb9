"""Tables and files: one way to read, to check and to write them.

Every file of a run is written to a temporary name in its own folder and moved into place, so
that nothing half-written is ever taken for a result. Tables carry the units of their columns and
their provenance; neither holds a time, a host or a path, so that equal input gives equal bytes.

This module belongs to the vocabulary that Snakemake's driver imports: only the standard library
at the top, numpy and pyarrow where a function needs them.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import socket
from pathlib import Path

# Columns of CSV tables that hold names, whatever they look like.
TEXT_COLUMNS = ("id", "galaxy")


class DataError(ValueError):
    """A fault of the user's data or configuration, said in one sentence.

    The message names what is wrong, where, and what to do. Scripts show it without a traceback.
    """


class Table(dict):
    """Columns by name, each a one-dimensional numpy array, with units and provenance.

    Attributes
    ----------
    units : dict of str to str
        Unit of a column in astropy's notation, where it has one.
    meta : dict
        Provenance and, for an empty table, the reason.
    """

    def __init__(self, columns=(), *, units=None, meta=None):
        super().__init__(columns)
        self.units = dict(units or {})
        self.meta = dict(meta or {})

    @property
    def n_rows(self):
        """Number of rows."""
        return len(next(iter(self.values()))) if self else 0

    def rows(self, keep):
        """Return the rows that the mask or index array `keep` selects."""
        return Table(
            {name: column[keep] for name, column in self.items()}, units=self.units, meta=self.meta
        )


def temporary_name(path):
    """Return the temporary name of a file: in its folder, with host and process id."""
    path = Path(path)
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp{path.suffix}")


@contextlib.contextmanager
def atomic(path):
    """Give a temporary path to write to; move it to `path` when the block ends well.

    Parameters
    ----------
    path : str or Path
        Where the finished file belongs. Missing folders are made.

    Yields
    ------
    Path
        The name to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path)
    temporary = temporary_name(path)
    try:
        yield temporary
        # The bytes must be on disk before the name is, or a crash leaves an empty file.
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def remove_stale(path):
    """Remove temporary files of `path` that processes of this host left when they died."""
    path = Path(path)
    host = socket.gethostname()
    for stale in path.parent.glob(f".{path.name}.{host}.*.tmp{path.suffix}"):
        pid = stale.name[len(f".{path.name}.{host}.") :].split(".", 1)[0]
        if pid.isdigit() and int(pid) != os.getpid() and not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(FileNotFoundError):
                stale.unlink()


def link(source, path):
    """Make a relative symbolic link to a file, replacing what stands there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(source, path.parent))
    os.replace(temporary, path)


def write_text(path, text):
    """Write a text file, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_csv(path, required=()):
    """Read a CSV file as a list of dictionaries of strings (standard library only).

    Lines that start with ``#`` are comments.

    Raises
    ------
    DataError
        If the file is missing, empty, ragged, or lacks one of the `required` columns.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist: check the name, or run the rule that makes it"
        ) from None
    except (UnicodeDecodeError, IsADirectoryError) as fault:
        raise DataError(f"{path} is not a text table ({fault}): give a CSV file") from None
    # A comment line inside a table is dropped by its first character, before the CSV parser.
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise DataError(f"{path} is empty: a header line with column names is needed")
    reader = csv.reader(lines)
    header = [name.strip() for name in next(reader)]
    if len(set(header)) != len(header):
        twice = sorted({name for name in header if header.count(name) > 1})
        raise DataError(f"{path} has the column {', '.join(twice)} twice: rename or remove one")
    missing = [name for name in required if name not in header]
    if missing:
        raise DataError(f"{path} lacks the column {', '.join(missing)}: it has {', '.join(header)}")
    rows = []
    for number, fields in enumerate(reader, start=2):
        if len(fields) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(fields)} fields where the header names "
                f"{len(header)}: is the file cut short, or a comma unquoted?"
            )
        rows.append(dict(zip(header, (field.strip() for field in fields))))
    return rows


def write_rows(path, rows, columns):
    """Write rows as a CSV file, whole or not at all (standard library only).

    Parameters
    ----------
    path : str or Path
        The file.
    rows : iterable of dict or of sequence
        Rows; sequences are in the order of `columns`.
    columns : sequence of str
        Names of the columns.
    """
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            values = [row[name] for name in columns] if isinstance(row, dict) else row
            writer.writerow([_csv_field(value) for value in values])


def collect_exclusions(paths):
    """Return what tables say they left out: [galaxy, band, scale, stage, reason], each once.

    Parameters
    ----------
    paths : iterable of str or Path
        Tables whose metadata may have such a list under ``exclusions``.
    """
    found = [row for path in paths for row in read_table(path).meta.get("exclusions", [])]
    return list(dict.fromkeys(tuple(row) for row in found))


def stack_tables(tables):
    """Return the rows of several tables as one, with units and meta of the first.

    Empty tables are passed over; the others have the same columns. Where all are empty the result
    is the first that has columns.
    """
    import numpy as np

    tables = list(tables)
    tables = [table for table in tables if table.n_rows] or [table for table in tables if table][:1]
    if not tables:
        return Table()
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    return Table(columns, units=tables[0].units, meta=tables[0].meta)


def places(ids, wanted):
    """Return where each of the wanted ids stands among `ids`: row numbers, -1 where it does not."""
    import numpy as np

    row = {name: number for number, name in enumerate(ids)}
    return np.array([row.get(name, -1) for name in wanted], dtype=int)


def aligned(table, ids, what, remedy="make it anew"):
    """Return the rows of a table with some ids, in their order.

    Raises
    ------
    DataError
        If the table, called `what`, lacks one.
    """
    rows = places(table["id"] if table else (), ids)
    if (rows < 0).any():
        lacking = ids[int((rows < 0).argmax())]
        raise DataError(f"{what} lacks {lacking}: {remedy}")
    return table.rows(rows)


def table_of(rows, names, text=()):
    """Return rows as a table.

    Parameters
    ----------
    rows : list of dict
        Each with a value for every name.
    names : iterable of str
        The columns, in their order.
    text : collection of str
        Those that hold text, also where there are no rows.
    """
    import numpy as np

    return Table(
        {
            name: np.array([row[name] for row in rows], dtype=object if name in text else None)
            for name in names
        }
    )


def read_table(path, required=()):
    """Read a parquet or CSV table.

    Parameters
    ----------
    path : str or Path
        File that ends in ``.parquet`` or ``.csv``.
    required : iterable of str
        Columns that must be there.

    Returns
    -------
    Table
        Strings as object arrays, numbers as float64 or integer arrays.

    Raises
    ------
    DataError
        If the file is missing, cannot be read, or lacks a required column.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist: check the name, or run the rule that makes it")
    try:
        if path.suffix == ".csv":
            # Only the empty field is missing, and names are text: a galaxy may be named NA or 007.
            options = pa.csv.ConvertOptions(
                null_values=["", "nan"],
                strings_can_be_null=False,
                column_types=dict.fromkeys(TEXT_COLUMNS, pa.string()),
            )
            arrow = pa.csv.read_csv(path, convert_options=options)
        else:
            arrow = pa.parquet.read_table(path)
    except (pa.ArrowInvalid, OSError) as fault:
        raise DataError(_unreadable(path, fault)) from None
    missing = [name for name in required if name not in arrow.column_names]
    if missing:
        raise DataError(
            f"{path} lacks the column {', '.join(missing)}: it has {', '.join(arrow.column_names)}"
        )
    return _from_arrow(arrow)


def read_parts(path, n_rows):
    """Read a parquet table some rows at a time, so that its size does not matter.

    Parameters
    ----------
    path : str or Path
        File that ends in ``.parquet``.
    n_rows : int
        Rows of a part; the last may have fewer.

    Yields
    ------
    Table
        At least one part, if need be without rows; each with units and meta of the whole.

    Raises
    ------
    DataError
        If the file is missing or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pa.parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            if not file.metadata.num_rows:
                yield _from_arrow(schema.empty_table())
                return
            for batch in file.iter_batches(n_rows):
                yield _from_arrow(pa.Table.from_batches([batch], schema))
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist: check the name, or run the rule that makes it"
        ) from None
    except (pa.ArrowInvalid, OSError) as fault:
        raise DataError(_unreadable(path, fault)) from None


def write_parts(path, parts, *, meta):
    """Write a parquet table from its parts, whole or not at all.

    Parameters
    ----------
    path : str or Path
        File that ends in ``.parquet``.
    parts : iterable of Table
        At least one, all with the same columns; units are those of the first. One is held in
        memory at a time.
    meta : dict
        Provenance of the whole, JSON-serialisable.
    """
    from pyarrow.parquet import ParquetWriter

    parts = iter(parts)
    first = next(parts)
    schema = _to_arrow(first, first.units, meta).schema
    with (
        atomic(path) as temporary,
        ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for part in itertools.chain([first], parts):
            writer.write_table(_to_arrow(part, first.units, meta))


def write_table(path, columns, *, units=None, meta=None):
    """Write a parquet or CSV table, whole or not at all.

    Parameters
    ----------
    path : str or Path
        File that ends in ``.parquet`` or ``.csv``.
    columns : dict of str to array_like
        Columns of equal length; strings or numbers. A `Table` brings its own units and meta.
    units : dict of str to str, optional
        Units by column.
    meta : dict, optional
        Provenance, JSON-serialisable. A CSV file has no place for units and meta.
    """
    import numpy as np
    import pyarrow.parquet

    path = Path(path)
    units = {**getattr(columns, "units", {}), **(units or {})}
    meta = {**getattr(columns, "meta", {}), **(meta or {})}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of unequal length for {path}: {lengths}")
    if path.suffix == ".csv":
        names = list(columns)
        arrays = [np.asarray(columns[name]).tolist() for name in names]
        write_rows(path, zip(*arrays), names)
        return
    with atomic(path) as temporary:
        pyarrow.parquet.write_table(_to_arrow(columns, units, meta), temporary, compression="zstd")


def _from_arrow(arrow):
    """Return a pyarrow table as a `Table`."""
    import numpy as np
    import pyarrow as pa

    columns = {}
    for name in arrow.column_names:
        column = arrow[name]
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = np.array(column.to_pylist(), dtype=object)
        elif pa.types.is_null(column.type):
            columns[name] = np.full(len(column), np.nan)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    stored = json.loads((arrow.schema.metadata or {}).get(b"dustcast", b"{}"))
    return Table(columns, units=stored.get("units"), meta=stored.get("meta"))


def _to_arrow(columns, units, meta):
    """Return columns as a pyarrow table that holds units and meta."""
    import numpy as np
    import pyarrow as pa

    arrays = {}
    for name, column in columns.items():
        column = np.asarray(column)
        text = column.dtype.kind in "OUS"
        arrays[name] = pa.array([str(v) for v in column], pa.string()) if text else column
    stored = json.dumps({"units": units, "meta": meta}, sort_keys=True)
    return pa.table(arrays).replace_schema_metadata({"dustcast": stored})


def _unreadable(path, fault):
    """Return the sentence that says that a table cannot be read."""
    reason = str(fault).splitlines()[0].split(". ")[0]
    return f"{path} cannot be read ({reason}): delete it and run again, or fetch it anew"


def _csv_field(value):
    """Return a CSV field: a missing number is empty, a float has its shortest exact form."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return repr(value) if isinstance(value, float) else value

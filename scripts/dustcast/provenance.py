"""Where a result comes from: hashes of code and configuration, versions of packages.

Snakemake's own code trigger sees only the script that a rule names. Every rule therefore has
``params: code=code_hash("sed")``, the hash of the library that its script calls, so that a
change in ``dustcast.sed`` reruns the fits and what follows, and a change in
``dustcast.figures`` only the figures.

Nothing here depends on time, host or path: equal input gives equal bytes. Only the standard
library is imported, because Snakemake's driver needs this module too.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import sys
import sysconfig
from pathlib import Path

from dustcast.tables import DataError

LIBRARY = Path(__file__).resolve().parent

# Hexadecimal digits kept of a hash: 48 bits tell the few versions of a run apart.
N_DIGITS = 12


def code_hash(*subpackages):
    """Return the hash of the source of subpackages and of the vocabulary.

    Parameters
    ----------
    *subpackages : str
        Names of subpackages of `dustcast`, for instance ``"sed"``. With none, the hash is that
        of the vocabulary alone (the modules directly in ``dustcast``), which counts always.

    Returns
    -------
    str
        Twelve hexadecimal digits, the same for any order of names, any place of the checkout
        and any time stamp of the files.

    Raises
    ------
    ValueError
        If there is no such subpackage.
    """
    digest = hashlib.sha256()
    for name in ("", *sorted(set(subpackages))):
        digest.update(_folder_hash(name))
    return digest.hexdigest()[:N_DIGITS]


@functools.cache
def _folder_hash(name):
    """Return the digest of the vocabulary (empty `name`) or of one subpackage, read once."""
    folder = LIBRARY / name
    if name and not (name.isidentifier() and folder.is_dir()):
        raise ValueError(f"dustcast has no subpackage {name!r}")
    paths = folder.rglob("*.py") if name else folder.glob("*.py")
    digest = hashlib.sha256()
    # Names and lengths count too, or moving a line from one module to another would not show.
    for relative, path in sorted((path.relative_to(LIBRARY).as_posix(), path) for path in paths):
        source = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{relative}\0{len(source)}\0".encode())
        digest.update(source)
    return digest.digest()


def config_hash(config):
    """Return the hash of a configuration, whatever the order of its keys.

    Parameters
    ----------
    config : dict
        JSON-serialisable configuration, defaults filled in.

    Returns
    -------
    str
        Twelve hexadecimal digits.
    """
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:N_DIGITS]


def versions(*packages):
    """Return the installed versions of distributions, Python's own first.

    Parameters
    ----------
    *packages : str
        Distribution names as on PyPI, for instance ``"scikit-learn"``. One that is not
        installed has the version ``"missing"``.

    Returns
    -------
    dict of str to str
        ``{"python": "3.11.7", "numpy": "2.4.6", ...}``.
    """
    found = {"python": ".".join(str(part) for part in sys.version_info[:3])}
    for package in sorted(set(packages)):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def strict_environment():
    """Refuse modules from outside this Python's environment, if DUSTCAST_STRICT_ENV is set.

    Snakemake appends the site-packages of its own Python to the path of every script, so that a
    package which a rule's environment lacks is borrowed in silence.

    Raises
    ------
    DataError
        If a loaded third-party module lies outside ``sys.prefix``.
    """
    if not _is_strict():
        return
    borrowed = foreign_modules(sys.modules.values())
    if borrowed:
        name, path = borrowed[0]
        more = f" and {len(borrowed) - 1} more" if len(borrowed) > 1 else ""
        raise DataError(
            f"the module {name}{more} was borrowed from {path}, outside this job's environment "
            f"{sys.prefix}: add the package to the rule's file in envs/"
        )


def isolate():
    """Take the packages of other environments off the path, if DUSTCAST_STRICT_ENV is set.

    A library may try to import what it can do without (scipy reaches charset_normalizer by way of
    numpy.f2py), and would get the driver's.
    """
    if _is_strict():
        sys.path[:] = [path for path in sys.path if not _is_foreign(path)]


def _is_strict():
    """Return whether DUSTCAST_STRICT_ENV is set."""
    return os.environ.get("DUSTCAST_STRICT_ENV", "") not in ("", "0")


def _is_foreign(path):
    """Return whether a folder of the path holds packages of another environment."""
    path = Path(path).resolve()
    return "site-packages" in path.parts and not path.is_relative_to(Path(sys.prefix).resolve())


def foreign_modules(modules):
    """Return name and file of the third-party packages that lie outside ``sys.prefix``.

    Parameters
    ----------
    modules : iterable of module
        Loaded modules.

    Returns
    -------
    list of (str, str)
        One pair a top-level package, sorted by name.
    """
    # The standard library may lie outside sys.prefix: in a venv it is the base Python's.
    standard = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib")]
    prefix = Path(sys.prefix).resolve()
    found = {}
    for module in list(modules):
        name = getattr(module, "__name__", "").split(".")[0]
        file = getattr(module, "__file__", None)
        # Snakemake's preamble loads its own modules into every script: that loan is meant.
        if not file or name == "__main__" or name.startswith("snakemake"):
            continue
        path = Path(file).resolve()
        ours = path.is_relative_to(prefix) or path.is_relative_to(LIBRARY.parent)
        builtin = any(path.is_relative_to(folder) for folder in standard)
        if not ours and not (builtin and "site-packages" not in path.parts):
            found.setdefault(name, str(path))
    return sorted(found.items())

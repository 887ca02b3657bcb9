"""How the kernels are compiled, and where numba keeps them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numba
import numpy as np

FOLDER = Path(__file__).resolve().parent

# Reassociation and contraction let the compiler vectorise sums; NaN and infinity keep their
# meaning, since a missing band or an impossible model must not turn into a number.
FAST = {"reassoc", "contract", "arcp", "nsz"}
_NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def cache_folder():
    """Return the folder of what is compiled from the present sources.

    numba compiles a function again when its own file has changed, but not when a function that it
    calls has, in another file: so each state of the sources has a folder of its own.
    """
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.py")):
        digest.update(path.read_bytes())
    given = os.environ.get("NUMBA_CACHE_DIR")
    within = Path(given) if given else FOLDER / "__pycache__"
    if not given and not os.access(FOLDER, os.W_OK):
        within = Path.home() / ".cache" / "dustcast"
    return within / f"kernels-{digest.hexdigest()[:12]}"


_CACHE = str(cache_folder())


def _compiled(function, **options):
    """Return the function as numba will compile it when it is called first."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _CACHE
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    finally:
        numba.config.CACHE_DIR = before


def jit(function):
    """Compile a kernel that other kernels call.

    It has no wrapper through which Python could call it, since making all those takes as long as
    compiling the kernels: that would end the interpreter. Python calls an `entry`.
    """
    return _compiled(function, fastmath=FAST, **_NO_WRAPPERS)


def strict(function):
    """Compile a `jit` without reassociation: where the order of operations protects digits."""
    return _compiled(function, **_NO_WRAPPERS)


def entry(function):
    """Compile a kernel that Python calls."""
    return _compiled(function, fastmath=FAST)


def strict_entry(function):
    """Compile an `entry` without reassociation."""
    return _compiled(function)


# Unsigned places: a signed index would be tested for counting from the end at every step.
U = np.uint64

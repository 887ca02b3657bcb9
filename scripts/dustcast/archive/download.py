"""Fetching files: from a mirror folder or over the network, checked, whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from dustcast.tables import DataError, atomic

BLOCK = 1 << 20
# Answers that another try will not change.
FINAL_ANSWERS = (400, 401, 403, 404, 410)
NOT_THERE = (404, 410)


class NotThereError(DataError):
    """The server says that it has no such file."""


def fetch(
    name, output, *, url, sha256="", check=None, mirror=None, tries=4, wait_s=2.0, timeout_s=60.0
):
    """Put a file in its place, from the mirror if that has it, else over the network.

    Parameters
    ----------
    name : str
        Path of the file under the data folder and under the mirror, where it may end in ``.gz``.
    output : str or Path
        Where it belongs.
    url : str
        Address; empty if it has none of its own.
    sha256 : str
        Expected hash of the unpacked content; empty accepts any.
    check : callable, optional
        Called with the path of the new file and where it came from; raises `DataError` if it is
        not what is expected.
    mirror : str or Path, optional
        Folder that is searched first.
    tries : int
        Attempts over the network; the wait doubles after each.
    wait_s, timeout_s : float
        First wait, and longest silence of the server, in seconds.

    Raises
    ------
    DataError
        If the file cannot be had, or has another content.
    """
    if from_mirror(name, output, mirror, sha256=sha256, check=check):
        return
    if not url:
        where = f"neither in the mirror {mirror} nor" if mirror else "not"
        raise DataError(
            f"{name} is {where} in the data folder and has no address of its own: copy it "
            f"to {output} (config/downloads.csv says where it comes from)"
        )
    with atomic(output) as temporary:
        retrieve(url, temporary, tries=tries, wait_s=wait_s, timeout_s=timeout_s)
        _check(temporary, sha256, url)
        if check:
            check(temporary, url)


def from_mirror(name, output, mirror, *, sha256="", check=None):
    """Copy a file from the mirror, unpacked; return whether it has it.

    Parameters are those of `fetch`.
    """
    if not mirror:
        return False
    for candidate in (Path(mirror) / name, Path(mirror) / f"{name}.gz"):
        if candidate.is_file():
            with atomic(output) as temporary:
                _unpack(candidate, temporary)
                _check(temporary, sha256, candidate)
                if check:
                    check(temporary, candidate)
            return True
    return False


def kept(path, check=None):
    """Return whether a file is there and whole; if so, mark it as made now.

    Parameters
    ----------
    path : str or Path
        The file.
    check : callable, optional
        As of `fetch`.
    """
    path = Path(path)
    if not path.is_file():
        return False
    try:
        if check:
            check(path, path)
    except DataError:
        return False
    path.touch()
    return True


def _unpack(source, target):
    """Copy a file, unpacked if its name ends in .gz."""
    opened = gzip.open if source.suffix == ".gz" else open
    try:
        with opened(source, "rb") as inp, open(target, "wb") as out:
            shutil.copyfileobj(inp, out, BLOCK)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{source} is cut short or damaged: copy it anew") from None


def retrieve(url, target, *, tries=4, wait_s=2.0, timeout_s=60.0):
    """Fetch a file, trying again after a wait that doubles; continue where a try broke off.

    Parameters
    ----------
    url : str
        Address.
    target : Path
        Where it goes; not moved into place, so give a temporary name.
    tries, wait_s, timeout_s
        As of `fetch`.

    Raises
    ------
    NotThereError
        If the server says that there is no such file.
    DataError
        If it cannot be had.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError(f"the address {url} is not http or https: correct config/downloads.csv")
    target.unlink(missing_ok=True)
    missing = False
    for attempt in range(tries):
        if attempt:
            time.sleep(wait_s * 2 ** (attempt - 1))
        have = target.stat().st_size if target.exists() else 0
        request = urllib.request.Request(url, headers={"User-Agent": "dustcast"})
        if have:
            request.add_header("Range", f"bytes={have}-")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                resumed = answer.status == 206
                with open(target, "ab" if resumed else "wb") as out:
                    # read1 hands over what has come, so that it is kept if the rest does not.
                    while block := answer.read1(BLOCK):
                        out.write(block)
                length = answer.headers.get("Content-Length")
            got = target.stat().st_size - (have if resumed else 0)
            # http.client returns what it has when a server closes early.
            if length is None or got == int(length):
                return
            fault = f"it sent {got} of {length} bytes"
        except urllib.error.HTTPError as error:
            fault = f"it answered {error.code} {error.reason}"
            if error.code == 416:
                target.unlink(missing_ok=True)
            if error.code in FINAL_ANSWERS:
                missing = error.code in NOT_THERE
                break
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            fault = str(getattr(error, "reason", error)) or type(error).__name__
            fault = " ".join("".join(c if c.isprintable() else " " for c in fault).split())
        print(f"{url}: try {attempt + 1} of {tries} failed: {fault}", flush=True)
    kind = NotThereError if missing else DataError
    raise kind(
        f"{url} could not be fetched ({fault}): try again later, or put the file into a folder and "
        "name that as mirror in the configuration"
    )


def _check(path, sha256, source):
    """Raise if the content of a file is not the expected one."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        start = handle.read(64)
        handle.seek(0)
        while block := handle.read(BLOCK):
            digest.update(block)
    if sha256 and digest.hexdigest() != sha256:
        page = start.lstrip().lower().startswith((b"<!doctype", b"<html"))
        raise DataError(
            f"{source} is not the file that is expected"
            + (" but a web page" if page else f" (its sha256 is {digest.hexdigest()[:12]}...)")
            + ": see config/downloads.csv, whose checksum names the version that was tested"
        )

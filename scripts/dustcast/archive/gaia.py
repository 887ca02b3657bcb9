"""Stars around a galaxy from Gaia DR2, by the archive's asynchronous TAP service."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request

from dustcast.archive.download import from_mirror, retrieve
from dustcast.tables import DataError, atomic, read_csv

SERVICE = "https://gea.esac.esa.int/tap-server/tap"
# A synchronous query ends at 2000 rows; the field of a large galaxy has more.
COLUMNS = (
    "source_id",
    "ra",
    "dec",
    "parallax",
    "parallax_error",
    "pmra",
    "pmra_error",
    "pmdec",
    "pmdec_error",
    "phot_g_mean_mag",
)
# Fainter stars are lost in the light of a galaxy, and hardly any has a significant parallax.
FAINTEST_G = 19.0
# Radius of the circle in units of the semi-major axis of D25.
CIRCLE = 2.0
TRANSIENT = (urllib.error.URLError, http.client.HTTPException, OSError)


def gaia_query(ra, dec, radius_deg):
    """Return the ADQL query for the sources of a circle down to `FAINTEST_G`."""
    return (
        f"SELECT {','.join(COLUMNS)} FROM gaiadr2.gaia_source WHERE 1=CONTAINS("
        f"POINT('ICRS',ra,dec),CIRCLE('ICRS',{ra:.6f},{dec:.6f},{radius_deg:.5f})) "
        f"AND phot_g_mean_mag<{FAINTEST_G:g} ORDER BY source_id"
    )


def fetch_gaia(
    galaxy,
    output,
    *,
    mirror=None,
    service=SERVICE,
    tries=4,
    wait_s=2.0,
    timeout_s=60.0,
    longest_s=1800.0,
):
    """Write the Gaia DR2 sources around a galaxy as a CSV table.

    Parameters
    ----------
    galaxy : dustcast.sample.Galaxy
        Centre and size; the circle reaches `CIRCLE` times as far as the D25 ellipse.
    output : str or Path
        Where the table belongs.
    mirror : str or Path, optional
        Folder that may hold it as ``gaia/{galaxy}.csv``.
    service : str
        Address of the TAP service.
    tries, wait_s, timeout_s
        As of `dustcast.archive.download.fetch`.
    longest_s : float
        How long the query may take.

    Raises
    ------
    DataError
        If the service refuses the query, does not end it, or its answer lacks a column.
    """
    if from_mirror(f"gaia/{galaxy.galaxy}.csv", output, mirror):
        return
    radius_deg = CIRCLE * galaxy.d25_arcsec / 2 / 3600
    query = {
        "REQUEST": "doQuery",
        "LANG": "ADQL",
        "FORMAT": "csv",
        "PHASE": "RUN",
        "QUERY": gaia_query(galaxy.ra, galaxy.dec, radius_deg),
    }
    patience = {"tries": tries, "wait_s": wait_s, "timeout_s": timeout_s}
    # The answer to the query is sent on to the page of the job, whose address is kept.
    job, _ = _ask(f"{service}/async", urllib.parse.urlencode(query).encode(), **patience)
    end = time.monotonic() + longest_s
    pause = min(1.0, wait_s)
    while (phase := _ask(f"{job}/phase", None, **patience)[1].strip()) != "COMPLETED":
        if phase in ("ERROR", "ABORTED", "HELD"):
            raise DataError(f"{job} ended as {phase}: the Gaia archive refuses the query")
        if time.monotonic() > end:
            raise DataError(f"{job} is still {phase} after {longest_s:g} s: try again later")
        time.sleep(pause)
        pause = min(2 * pause, 30.0)
    with atomic(output) as temporary:
        retrieve(f"{job}/results/result", temporary, **patience)
        read_csv(temporary, required=COLUMNS)


def _ask(url, data, *, tries, wait_s, timeout_s):
    """Return the final address and the text of an answer, trying again after transient faults."""
    fault = "no try"
    for attempt in range(tries):
        if attempt:
            time.sleep(wait_s * 2 ** (attempt - 1))
        request = urllib.request.Request(url, data=data, headers={"User-Agent": "dustcast"})
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.url.rstrip("/"), answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            fault = f"it answered {error.code} {error.reason}"
            if error.code in (400, 401, 403, 404):
                break
        except TRANSIENT as error:
            fault = str(getattr(error, "reason", error)) or type(error).__name__
        print(f"{url}: try {attempt + 1} of {tries} failed: {fault}", flush=True)
    raise DataError(
        f"{url} could not be asked ({' '.join(fault.split())}): try again later, or put the list "
        "of stars into data_dir, or set stars.source to by_hand"
    )

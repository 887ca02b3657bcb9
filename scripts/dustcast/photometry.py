"""The photometry table: its columns, made from fluxes and the galaxies of a run.

numpy is imported where a function needs it: Snakemake's driver reads this folder.
"""

from __future__ import annotations

from dustcast.sample import GLOBAL, number
from dustcast.tables import DataError, Table

KEY_COLUMNS = (
    "id",
    "galaxy",
    "scale",
    "x",
    "y",
    "ra",
    "dec",
    "redshift",
    "distance",
    "pixel_scale_pc",
    "r_r25",
    "area_arcsec2",
)
UNITS = {
    "ra": "deg",
    "dec": "deg",
    "distance": "Mpc",
    "pixel_scale_pc": "pc",
    "area_arcsec2": "arcsec2",
}


def global_photometry(fluxes, galaxies, bands, *, input_bands):
    """Return the photometry of whole galaxies.

    Parameters
    ----------
    fluxes : Table
        galaxy, and `<band>`, `<band>_err` in mJy; NaN is missing, a negative error an upper
        limit. Bands that it lacks are missing everywhere.
    galaxies : dict of str to Galaxy
        The galaxies of the run by name.
    bands : list of str
        Bands of the run.
    input_bands : list of str
        Bands of which a galaxy needs at least one.

    Returns
    -------
    Table
        `KEY_COLUMNS`, then the bands, in the order of `fluxes`. ``meta["exclusions"]`` lists
        galaxies of `fluxes` that are not among the run's, those without an input band, and those
        of the run that `fluxes` lacks.

    Raises
    ------
    DataError
        If a galaxy repeats or a flux or error is infinite.
    """
    import numpy as np

    names = np.asarray(fluxes["galaxy"], dtype=object)
    unique, counts = np.unique(names.astype(str), return_counts=True)
    if np.any(counts > 1):
        raise DataError(f"the photometry has {unique[counts > 1][0]} twice: remove one row")
    columns = {}
    for band in bands:
        missing = np.full(len(names), np.nan)
        flux = np.asarray(fluxes.get(band, missing), dtype=float)
        error = np.asarray(fluxes.get(f"{band}_err", missing), dtype=float)
        infinite = np.isinf(flux) | np.isinf(error)
        if infinite.any():
            raise DataError(
                f"the photometry has an infinite {band} for {names[infinite][0]}: leave the field "
                "empty if the flux is missing"
            )
        # A flux without an error says nothing, nor does an error without a flux.
        known = np.isfinite(flux) & np.isfinite(error) & (error != 0)
        columns[band] = np.where(known, flux, np.nan)
        columns[f"{band}_err"] = np.where(known, error, np.nan)
    exclusions = []
    keep = np.ones(len(names), dtype=bool)
    for row, name in enumerate(names):
        reason = None
        if name not in galaxies:
            reason = "not in the catalogue of the run"
        elif not any(np.isfinite(columns[band][row]) for band in input_bands):
            reason = "no flux in an input band"
        if reason:
            keep[row] = False
            exclusions.append([str(name), "", GLOBAL, "photometry", reason])
    present = set(names)
    exclusions += [
        [name, "", GLOBAL, "photometry", "not in the table of fluxes"]
        for name in galaxies
        if name not in present
    ]
    chosen = [galaxies[name] for name in names[keep]]
    count = len(chosen)
    keys = {
        "id": np.array([f"{galaxy.galaxy}/{GLOBAL}" for galaxy in chosen], dtype=object),
        "galaxy": np.array([galaxy.galaxy for galaxy in chosen], dtype=object),
        "scale": np.full(count, GLOBAL, dtype=object),
        "x": np.full(count, -1, dtype=np.int32),
        "y": np.full(count, -1, dtype=np.int32),
        "ra": np.array([galaxy.ra for galaxy in chosen]),
        "dec": np.array([galaxy.dec for galaxy in chosen]),
        "redshift": np.array([galaxy.redshift for galaxy in chosen]),
        "distance": np.array([galaxy.distance for galaxy in chosen]),
        "pixel_scale_pc": np.array([galaxy.d25_pc for galaxy in chosen]),
        "r_r25": np.full(count, np.nan),
        "area_arcsec2": np.array([galaxy.area_arcsec2 for galaxy in chosen]),
    }
    table = Table(keys | {name: column[keep] for name, column in columns.items()})
    table.units = UNITS | {name: "mJy" for name in columns}
    table.meta = {"exclusions": exclusions}
    return table


def synthetic_photometry(fluxes, objects, bands):
    """Return the photometry of synthetic observations, one object a row.

    Parameters
    ----------
    fluxes : Table
        id, redshift, distance in Mpc (optional), and `<band>`, `<band>_err` in mJy, as
        `sed.cigale.read_input` returns them.
    objects : dict of str to dict of str to str
        Fields of each object by id: area_arcsec2; distance in Mpc where `fluxes` has none; and, if
        not the defaults, galaxy (the id), scale (``global``), pixel_scale_pc (unknown).
    bands : list of str
        Bands of the run.

    Returns
    -------
    Table
        `KEY_COLUMNS`, then the bands.

    Raises
    ------
    DataError
        If an object is in one of the two only, or its area or distance is not a positive number.
    """
    import numpy as np

    ids = [str(name) for name in fluxes["id"]]
    for name in ids:
        if name not in objects:
            raise DataError(f"{name} has fluxes, but no row in the table synthetic.truth: add it")
    for name in objects:
        if name not in set(ids):
            raise DataError(f"{name} is in the table synthetic.truth, but has no fluxes: remove it")

    def field(name, key):
        text = objects[name].get(key)
        return number(text, f"synthetic.truth: {name}: {key}") if text else np.nan

    def positive(key, values, what):
        if not np.all(values > 0):
            name = ids[int(np.argmin(values > 0))]
            given = objects[name].get(key) or "missing"
            raise DataError(f"synthetic.truth: {name}: {key} is {given}: give {what}")
        return values

    area = np.array([field(name, "area_arcsec2") for name in ids])
    area = positive("area_arcsec2", area, "the area in which the fluxes were measured")
    distance = np.asarray(fluxes.get("distance", np.full(len(ids), np.nan)), float)
    own = np.array([field(name, "distance") for name in ids])
    distance = np.where(np.isfinite(distance), distance, own)
    distance = positive("distance", distance, "it in Mpc, here or in the table of fluxes")
    unknown = np.full(len(ids), np.nan)
    keys = {
        "id": np.array(ids, dtype=object),
        "galaxy": np.array([objects[name].get("galaxy") or name for name in ids], dtype=object),
        "scale": np.array([objects[name].get("scale") or GLOBAL for name in ids], dtype=object),
        "x": np.full(len(ids), -1, dtype=np.int32),
        "y": np.full(len(ids), -1, dtype=np.int32),
        "ra": unknown,
        "dec": unknown,
        "redshift": np.asarray(fluxes["redshift"], float),
        "distance": distance,
        "pixel_scale_pc": np.array([field(name, "pixel_scale_pc") for name in ids]),
        "r_r25": unknown,
        "area_arcsec2": area,
    }
    columns = {}
    for band in bands:
        for name in (band, f"{band}_err"):
            columns[name] = np.asarray(fluxes.get(name, unknown), float)
    table = Table(keys | columns)
    table.units = UNITS | {name: "mJy" for name in columns}
    table.meta = {"exclusions": []}
    return table

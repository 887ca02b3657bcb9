"""Who takes part: names, galaxies and the plan of scales.

The plan is a pure function of the configuration and the catalogues. The Snakefile evaluates it
once when it is read, so that `snakemake -n` shows every job; rule `plan` writes the same rows as
a record. Standard library only: Snakemake's driver imports this module.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

from dustcast.bands import band_table
from dustcast.config import psf_width, run_bands
from dustcast.tables import DataError, read_csv
from dustcast.units import pixel_scale_pc

# A dot stands only between letters or digits, so that no name is `..` or ends like a suffix;
# DustPedia has SDSSJ140638.13+545947.6.
GALAXY_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9+_-]|[.](?=[A-Za-z0-9])){0,39}"
SCALE_PATTERN = r"[0-9]+(?:[.][0-9]+)?(?:arcsec|pc|kpc)|global"
GLOBAL = "global"

# A band up to this factor wider than the target PSF is used as it is (MIPS 70 at 18").
LARGEST_PSF_EXCESS = 1.05
# Where the target of a physical scale comes from: the paper convolves to SPIRE beams.
PHYSICAL_TARGETS = ("SPIRE_250", "SPIRE_350", "SPIRE_500")

HYPERLEDA = "dustpedia/DustPedia_HyperLEDA_Herschel.csv"
APERTURES = "dustpedia/CAAPR_Aperture_Table.csv"
CATALOGUES = (HYPERLEDA, APERTURES)
# Where `sample.select` looks.
PHOTOMETRY = "dustpedia/DustPedia_Aperture_Photometry_2.2.csv"
OFFICIAL = "dustpedia/dustpedia_cigale_results_final_version.csv"
# Flags of DustPedia's photometry: contamination (C), artefact (A), insufficient sky coverage (N),
# in lower case where minor. The published CIGALE input leaves out the fluxes with capital flags,
# and only these (checked on ten bands of its 715 galaxies).
SERIOUS_FLAGS = frozenset("CAN")
# What stands in these tables for a number that is not there.
EMPTY = ("", "nan")


@dataclass(frozen=True)
class Galaxy:
    """A row of sample/galaxies.csv.

    Attributes
    ----------
    galaxy : str
        Name.
    ra, dec : float
        Centre in degrees (ICRS).
    distance : float
        In Mpc.
    redshift : float
        Of the grid that fits it; 0 for nearby galaxies, whose fluxes go with `distance`.
    d25_arcsec : float
        Major axis (diameter) of the 25 mag/arcsec2 isophote in B.
    axis_ratio : float
        Minor over major axis.
    pa : float
        Position angle of the major axis in degrees, north to east.
    hubble_stage : float
        Numerical Hubble stage, NaN if unknown.
    source : str
        Where the row comes from.
    ebv, ebv_err : float
        Galactic E(B-V) on the scale of Schlegel et al. (1998) and its uncertainty; NaN where
        neither table nor hand gives it, so that it is fetched.
    """

    galaxy: str
    ra: float
    dec: float
    distance: float
    redshift: float
    d25_arcsec: float
    axis_ratio: float
    pa: float
    hubble_stage: float
    source: str
    ebv: float = math.nan
    ebv_err: float = math.nan

    @property
    def d25_pc(self):
        """Diameter in pc."""
        return pixel_scale_pc(self.d25_arcsec, self.distance)

    @property
    def field_arcsec(self):
        """Side of the galaxy's images in arcsec: DustPedia's cutouts, or what holds D25."""
        cutout = 1800.0 if self.d25_arcsec < 360 else 3600.0
        return max(cutout, 1.5 * self.d25_arcsec)

    @property
    def area_arcsec2(self):
        """Area of the D25 ellipse in arcsec2."""
        return math.pi / 4 * self.d25_arcsec**2 * self.axis_ratio


GALAXY_COLUMNS = tuple(field.name for field in fields(Galaxy))
# What a galaxy that no catalogue has must be given by hand.
NEEDED_BY_HAND = ("ra", "dec", "distance", "d25_arcsec", "axis_ratio", "pa", "source")
ABOVE_ZERO = ("distance", "d25_arcsec", "axis_ratio", "ebv_err")
PEAK_UM = 150.0
"""Wavelength of the peak of the dust's emission."""

PLAN_COLUMNS = (
    "galaxy",
    "scale",
    "included",
    "reason",
    "target_psf",
    "pixel_arcsec",
    "pixel_scale_pc",
    "bands_full",
    "bands_short",
    "n_pixel_expected",
)


def check_galaxy_name(name, where):
    """Return a galaxy's name if it is fit for folders and wildcards.

    Raises
    ------
    DataError
        If it is not, with a name that would be.
    """
    if name != GLOBAL and re.fullmatch(GALAXY_PATTERN, name):
        return name
    suggestion = re.sub(r"[^A-Za-z0-9+_-]+", "_", name).strip("_-+")[:40] or "my_galaxy"
    if suggestion == GLOBAL:
        suggestion = "global_galaxy"
    raise DataError(
        f"{where}: {name!r} cannot name a galaxy (letters, digits, + - _ and inner dots, at most "
        f"40 characters): call it {suggestion}"
    )


def parse_scale(scale):
    """Return (value, unit) of a scale; (None, 'global') for the whole galaxy.

    Returns
    -------
    tuple of (float or None, str)
        Unit is ``arcsec``, ``pc`` (kpc are converted) or ``global``.
    """
    if scale == GLOBAL:
        return None, GLOBAL
    match = re.fullmatch(r"([0-9]+(?:[.][0-9]+)?)(arcsec|pc|kpc)", scale)
    if not match or float(match[1]) <= 0:
        raise DataError(
            f"the scale {scale!r} is not valid: use a number with arcsec, pc or kpc, or global"
        )
    value, unit = float(match[1]), match[2]
    return (value * 1000, "pc") if unit == "kpc" else (value, unit)


def find_file(config, name):
    """Return the path of a downloaded file under data_dir or the mirror, None if it is in neither.

    Parameters
    ----------
    config : dict
        Completed configuration.
    name : str
        Path of the file under data_dir, for example ``dustpedia/CAAPR_Aperture_Table.csv``.
    """
    folders = [config["data_dir"], *([config["mirror"]] if config["mirror"] else [])]
    for folder in folders:
        path = Path(folder) / name
        if path.exists():
            return path
    return None


def missing_catalogues(config):
    """Return the names of the catalogues that the plan needs and that are not there."""
    return [name for name in catalogues(config) if find_file(config, name) is None]


def catalogues(config):
    """Return the names of the catalogues that the plan needs."""
    source = config["survey"]["source"]
    if source == "mock":
        return []
    listed = [config["sample"]["listed_in"]] if config["sample"]["listed_in"] else []
    if source == "local" and not listed:
        by_hand = rows_by_hand(config["sample"]["by_hand"]) | own_rows(config)
        wanted = config["sample"]["galaxies"] or list(config["survey"]["images"])
        if all(_is_whole(by_hand.get(name, {})) for name in wanted):
            return []
    if _selects(config):
        listed += [PHOTOMETRY, OFFICIAL]
    return [*CATALOGUES, *listed]


def read_products(path):
    """Return where the images of galaxies that DustPedia lacks come from.

    Parameters
    ----------
    path : str or Path
        CSV table: galaxy, band, url, source.

    Returns
    -------
    dict of str to dict of str to dict
        The table's rows by galaxy and band.

    Raises
    ------
    DataError
        If a band is unknown, or stands twice for one galaxy.
    """
    found = {}
    for row in read_csv(path, required=("galaxy", "band", "url", "source")):
        if row["band"] not in band_table():
            raise DataError(f"{path}: {row['band']} is no band of config/bands.csv: correct it")
        bands = found.setdefault(row["galaxy"], {})
        if row["band"] in bands:
            raise DataError(
                f"{path} has two images of {row['galaxy']} in {row['band']}: remove one"
            )
        bands[row["band"]] = row
    return found


def read_galaxies(config):
    """Return the galaxies of a run.

    Parameters
    ----------
    config : dict
        Completed configuration.

    Returns
    -------
    list of Galaxy
        In the order of the catalogue, or of ``sample.galaxies`` if that lists names.

    Raises
    ------
    DataError
        If a catalogue is missing or wrong, or a listed galaxy is not in it.
    """
    sample = config["sample"]
    source = config["survey"]["source"]
    if source == "mock":
        # The population needs `Galaxy`.
        from dustcast.population import mock_galaxies

        mock = config["mock"]
        galaxies = mock_galaxies(mock["n_galaxies"], mock["seed"], mock["nearby_share"])
        known = {galaxy.galaxy: galaxy for galaxy in galaxies}
        taking_part = list(known)
    else:
        needed = catalogues(config)
        paths = [find_file(config, name) or name for name in CATALOGUES]
        catalogue = dustpedia_galaxies(*paths) if needed else []
        known = {galaxy.galaxy: galaxy for galaxy in catalogue}
        taking_part = list(known)
        known = with_hand(known, rows_by_hand(sample["by_hand"]), sample["by_hand"])
        known = with_hand(known, own_rows(config), "sample.own")
        if sample["listed_in"]:
            listed = _listed(find_file(config, sample["listed_in"]) or sample["listed_in"])
            taking_part = [name for name in taking_part if name in listed]
        if _selects(config):
            tables = [find_file(config, name) or name for name in (PHOTOMETRY, OFFICIAL)]
            selected = select(sample["select"], *tables)
            taking_part = [name for name in taking_part if name in selected]
        if source == "local":
            taking_part = list(config["survey"]["images"])
        taking_part += [name for name in sample["add"] if name not in taking_part]
    keys = {"galaxies": sample["galaxies"] or [], "leave_out": sample["leave_out"]}
    keys["add"] = sample["add"]
    if source == "mock":
        keys["dust_smoothing_of"] = mock["dust_smoothing_of"]
    for key, names in keys.items():
        for name in names:
            _known(name, known, f"{'mock' if key == 'dust_smoothing_of' else 'sample'}.{key}")
    names = sample["galaxies"] or taking_part
    return [
        _known(name, known, "survey.images") for name in names if name not in sample["leave_out"]
    ]


def _known(name, known, key):
    """Return the galaxy of a name that a key of the configuration lists."""
    if name not in known:
        raise DataError(
            f"{key} names {name}, which is not in the catalogue of {len(known)} galaxies: check "
            "the spelling, or add it to the table sample.by_hand"
        )
    return known[name]


def rows_by_hand(path):
    """Read the table of galaxies and corrections by hand.

    Parameters
    ----------
    path : str or Path
        CSV table with the columns of sample/galaxies.csv; an empty field leaves the catalogue's.

    Returns
    -------
    dict of str to dict
        Fields that are given, by galaxy.

    Raises
    ------
    DataError
        If a name or a number is not valid, or a galaxy stands twice.
    """
    found = {}
    for row in read_csv(path, required=GALAXY_COLUMNS):
        name = check_galaxy_name(row["galaxy"], path)
        if name in found:
            raise DataError(f"{path} has {name} twice: remove one row")
        values = {}
        for column in GALAXY_COLUMNS[1:]:
            text = row[column]
            if column == "source":
                values[column] = text
            elif text:
                least = 0 if column in ABOVE_ZERO else None
                values[column] = number(text, f"{path}: {name}: {column}", above=least)
        if not values["source"]:
            raise DataError(f"{path}: {name} has no source: say where its numbers come from")
        found[name] = values
    return found


def own_rows(config):
    """Return the galaxies that the configuration itself describes, as `rows_by_hand` does.

    Raises
    ------
    DataError
        If a name cannot name a galaxy, or a size is missing or given twice.
    """
    found = {}
    for name, values in config["sample"]["own"].items():
        where = f"sample.own.{name}"
        check_galaxy_name(name, "sample.own")
        # The distance's error is no part of a galaxy: totals take it from the configuration.
        given = {key: value for key, value in values.items() if key != "distance_err"}
        if ("radius_arcsec" in given) == ("d25_arcsec" in given):
            raise DataError(
                f"{where}: give its size as d25_arcsec or as radius_arcsec, one of them"
            )
        if "radius_arcsec" in given:
            given["d25_arcsec"] = 2 * given.pop("radius_arcsec")
        found[name] = {"axis_ratio": 1.0, "pa": 0.0, "source": "configuration"} | given
    return found


def with_hand(galaxies, by_hand, path):
    """Return galaxies with the additions and corrections of `rows_by_hand`.

    Parameters
    ----------
    galaxies : dict of str to Galaxy
        Those of the catalogue.
    by_hand : dict of str to dict
        Fields by galaxy.
    path : str or Path
        Where they come from, for messages.

    Returns
    -------
    dict of str to Galaxy

    Raises
    ------
    DataError
        If a galaxy that the catalogue lacks is not given whole.
    """
    known = dict(galaxies)
    for name, values in by_hand.items():
        if name in known:
            source = f"{known[name].source}; {values['source']}"
            known[name] = replace(known[name], **values | {"source": source})
        elif _is_whole(values):
            known[name] = Galaxy(
                **{"galaxy": name, "redshift": 0.0, "hubble_stage": math.nan} | values
            )
        # Else it corrects a galaxy of a catalogue that this run does not read, or lacks fields:
        # a run that names it says which.
    return known


def _is_whole(values):
    """Return whether fields by hand make a galaxy."""
    return all(name in values for name in NEEDED_BY_HAND)


def _listed(path):
    """Return the names in the first column of a table, whatever separates the columns."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        raise DataError(f"{path}, named by sample.listed_in, is not a text table") from None
    return {re.split(r"[,;\s]", line.strip(), maxsplit=1)[0] for line in lines if line.strip()}


def _selects(config):
    """Return whether a run asks for a selection by DustPedia's tables."""
    wanted = config["sample"]["select"]
    return bool(wanted["detected"] or wanted["observed"] or wanted["fitted"])


def select(wanted, photometry, official):
    """Return the galaxies of DustPedia that were observed and fitted well enough.

    Parameters
    ----------
    wanted : dict
        ``detected``, bands of which at least ``least`` must have a flux above 0 without a serious
        flag; ``observed``, bands that must all have a flux without one; ``fitted``, whether the
        galaxy must have an official dust mass.
    photometry : str or Path
        DustPedia_Aperture_Photometry_2.2.csv.
    official : str or Path
        dustpedia_cigale_results_final_version.csv.

    Returns
    -------
    set of str
        Names.

    Raises
    ------
    DataError
        If a table lacks a column, or a flux or mass is not a number.
    """
    bands = dict.fromkeys([*wanted["detected"], *wanted["observed"]])
    columns = [column for band in bands for column in (band, f"{band}_flag")]
    mass = "Mdust__Msol"
    fitted = {
        row["id"]
        for row in read_csv(official, required=("id", mass))
        if row[mass] not in EMPTY and number(row[mass], f"{official}: {mass} of {row['id']}") > 0
    }
    selected = set()
    for row in read_csv(photometry, required=("name", *columns)):
        flux = {
            band: number(row[band], f"{photometry}: {band} of {row['name']}")
            for band in bands
            if row[band] not in EMPTY and not SERIOUS_FLAGS & set(row[f"{band}_flag"])
        }
        n_detected = sum(flux.get(band, 0) > 0 for band in wanted["detected"])
        detected = not wanted["detected"] or n_detected >= wanted["least"]
        if detected and all(band in flux for band in wanted["observed"]):
            selected.add(row["name"])
    return selected & fitted if wanted["fitted"] else selected


def with_reddening(galaxy, path):
    """Return a galaxy with the E(B-V) of a fetched table.

    Parameters
    ----------
    galaxy : Galaxy
    path : str or Path
        CSV file with ebv and ebv_err.

    Returns
    -------
    Galaxy
    """
    rows = read_csv(path, required=("ebv", "ebv_err"))
    if len(rows) != 1:
        raise DataError(f"{path} has {len(rows)} rows, where one is needed: fetch it anew")
    values = {key: number(rows[0][key], f"{path}: {key}") for key in ("ebv", "ebv_err")}
    return replace(galaxy, **values)


def dustpedia_galaxies(hyperleda, apertures):
    """Read the galaxies of DustPedia's tables.

    Parameters
    ----------
    hyperleda : str or Path
        DustPedia_HyperLEDA_Herschel.csv: position, Hubble stage, D25, distance.
    apertures : str or Path
        CAAPR_Aperture_Table.csv: axis ratio and position angle, which the other table lacks. Its
        angle is counter-clockwise from +x, so the position angle is 90 degrees more.

    Returns
    -------
    list of Galaxy

    Raises
    ------
    DataError
        If a table lacks a column, a name repeats, or a value is not a valid number.
    """
    shapes = {
        row["name"]: row
        for row in read_csv(apertures, required=("name", "axial_ratio", "pos_angle"))
    }
    columns = ("objname", "ra2000", "de2000", "t", "d25", "dist_best")
    galaxies = {}
    for row in read_csv(hyperleda, required=columns):
        name = check_galaxy_name(row["objname"], hyperleda)
        if name in galaxies:
            raise DataError(f"{hyperleda} has {name} twice: remove one row")
        shape = shapes.get(name)
        where = f"{hyperleda}: {name}"
        d25_arcsec = 60 * number(row["d25"], f"{where}: d25", above=0)
        galaxies[name] = Galaxy(
            galaxy=name,
            # The table gives the right ascension in degrees, whatever HyperLEDA's own al2000 does.
            ra=number(row["ra2000"], f"{where}: ra2000"),
            dec=number(row["de2000"], f"{where}: de2000"),
            distance=number(row["dist_best"], f"{where}: dist_best", above=0),
            redshift=0.0,
            d25_arcsec=d25_arcsec,
            axis_ratio=1
            / number(shape["axial_ratio"], f"{apertures}: {name}: axial_ratio", above=0)
            if shape
            else 1.0,
            pa=(number(shape["pos_angle"], f"{apertures}: {name}: pos_angle") + 90) % 180
            if shape
            else 0.0,
            hubble_stage=number(row["t"], f"{where}: t") if row["t"] else math.nan,
            source="DustPedia",
        )
    return list(galaxies.values())


def galaxy_table(path):
    """Read sample/galaxies.csv.

    Returns
    -------
    dict of str to Galaxy
        In the order of the file.
    """
    texts = ("galaxy", "source")
    rows = read_csv(path, required=GALAXY_COLUMNS)
    return {
        row["galaxy"]: Galaxy(
            **{
                name: row[name] if name in texts else float(row[name] or "nan")
                for name in GALAXY_COLUMNS
            }
        )
        for row in rows
    }


def plan(config, galaxies):
    """Return the plan: for each galaxy and scale what is done, or why nothing is.

    Parameters
    ----------
    config : dict
        Completed configuration.
    galaxies : list of Galaxy
        As from `read_galaxies`.

    Returns
    -------
    list of dict
        Rows with `PLAN_COLUMNS`; lists of bands are joined by semicolons.
    """
    return [_plan_row(config, galaxy, scale) for galaxy in galaxies for scale in config["scales"]]


def _plan_row(config, galaxy, scale):
    """Return the row of one galaxy at one scale."""
    known = band_table()
    value, unit = parse_scale(scale)
    bands = run_bands(config)
    row = dict.fromkeys(PLAN_COLUMNS, "")
    row |= {"galaxy": galaxy.galaxy, "scale": scale, "included": True, "n_pixel_expected": 1}
    if unit == GLOBAL:
        row |= {"pixel_arcsec": galaxy.d25_arcsec, "pixel_scale_pc": galaxy.d25_pc}
        # One sample a galaxy has no common PSF to reach: every band takes part.
        row |= _bands(bands, known)
        return row
    if unit == "arcsec":
        angle, length = value, pixel_scale_pc(value, galaxy.distance)
        targets = [band for band in bands if known[band].fwhm_arcsec <= angle]
    else:
        angle, length = value / pixel_scale_pc(1.0, galaxy.distance), value
        targets = [
            band for band in PHYSICAL_TARGETS if band in bands and known[band].fwhm_arcsec <= angle
        ]
    row |= {"pixel_arcsec": angle, "pixel_scale_pc": length}
    chosen = config["images"]["target_psf"].get(scale)
    # NaN (a band without images) compares false above and never becomes a target.
    if not targets and not chosen:
        row |= _excluded(f'no PSF of the run is as narrow as the pixel of {angle:.3g}"')
        return row
    size = galaxy.d25_pc * (1.0 if config["sample"]["size_cut"] == "diameter" else 0.5)
    if size < length:
        row |= _excluded(f"{config['sample']['size_cut']} of {size:.0f} pc is below the pixel")
        return row
    target = chosen or _widest(targets)
    widest = LARGEST_PSF_EXCESS * psf_width(target, f"the target of {scale}")
    kept = [band for band in bands if known[band].fwhm_arcsec <= widest]
    row |= {"target_psf": target, "n_pixel_expected": round(galaxy.area_arcsec2 / angle**2)}
    row |= _bands(kept, known)
    fine = config["figures"]["fine"]
    wanted = fine["galaxies"] if scale == fine["scale"] and not knows_dust(row) else None
    if wanted and galaxy.galaxy not in wanted:
        row |= _excluded("figures.fine, for which this scale is, names other galaxies")
    return row


def _widest(bands):
    """Return the band of the widest PSF.

    MIPS 70 has the nominal width of SPIRE 250; kernels lead to the SPIRE beams.
    """
    known = band_table()
    return max(bands, key=lambda band: (known[band].fwhm_arcsec, band in PHYSICAL_TARGETS))


def common_psf(row):
    """Return the target PSF of a row of the plan and the bands whose images can be brought to it.

    The plan names none for the whole galaxy, whose images are brought to the widest of their PSFs.
    """
    bands = tuple(row["bands_full"].split(";"))
    if row["scale"] != GLOBAL:
        return row["target_psf"], bands
    bands = tuple(band for band in bands if math.isfinite(band_table()[band].fwhm_arcsec))
    return _widest(bands), bands


def kernel_pairs(rows):
    """Return the pairs of band and target PSF for which rows of the plan may need a kernel.

    They say nothing of a single galaxy: another one makes no kernel anew.
    """
    alike = {(row["scale"], row["target_psf"], row["bands_full"]): row for row in rows}
    targets = [common_psf(row) for row in alike.values()]
    return sorted({(band, target) for target, bands in targets for band in bands})


def knows_dust(row):
    """Return whether bands beyond the peak of the dust's emission take part in a row of the plan.

    Without one a fit knows no mass of dust: MIPS 24 is as sharp as WISE 12.
    """
    known = band_table()
    return any(known[band].pivot_um > PEAK_UM for band in row["bands_full"].split(";") if band)


def _bands(bands, known):
    """Return the two lists of bands of a plan's row."""
    short = [band for band in bands if known[band].role == "input"]
    return {"bands_full": ";".join(bands), "bands_short": ";".join(short)}


def _excluded(reason):
    """Return what makes a plan's row an exclusion."""
    return {"included": False, "reason": reason, "n_pixel_expected": 0}


def overlapping(galaxies):
    """Return the pairs of galaxies whose D25 ellipses overlap.

    Parameters
    ----------
    galaxies : list of Galaxy

    Returns
    -------
    list of (str, str)
        Names of each overlapping pair.
    """
    by_dec = sorted(galaxies, key=lambda galaxy: galaxy.dec)
    widest = max((galaxy.d25_arcsec for galaxy in galaxies), default=0.0) / 3600
    pairs = []
    for index, first in enumerate(by_dec):
        for second in by_dec[index + 1 :]:
            if second.dec - first.dec > widest:
                break
            north = (second.dec - first.dec) * 3600
            turn = (second.ra - first.ra + 180) % 360 - 180
            east = turn * 3600 * math.cos(math.radians((first.dec + second.dec) / 2))
            if _overlap(first, second, north, east):
                pairs.append((first.galaxy, second.galaxy))
    return pairs


def _overlap(first, second, north, east):
    """Return whether two D25 ellipses overlap, the second's centre being off by arcsec given.

    The contact function of Perram & Wertheim (1985, J. Comput. Phys. 58, 409), the largest value
    of l (1 - l) r^T [(1 - l) A + l B]^-1 r for l in (0, 1), is below 1 for ellipses that overlap.
    """
    if math.hypot(north, east) >= (first.d25_arcsec + second.d25_arcsec) / 2:
        return False
    a, b = _shape(first), _shape(second)

    def contact(share):
        nn, ee, ne = ((1 - share) * x + share * y for x, y in zip(a, b))
        form = (ee * north**2 - 2 * ne * north * east + nn * east**2) / (nn * ee - ne**2)
        return share * (1 - share) * form

    # It is concave: thirds close in on the maximum.
    low, high = 0.0, 1.0
    for _ in range(80):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if contact(left) < contact(right):
            low = left
        else:
            high = right
    return contact((low + high) / 2) < 1


def _shape(galaxy):
    """Return the matrix of a D25 ellipse in arcsec2: north-north, east-east, north-east."""
    cos, sin = math.cos(math.radians(galaxy.pa)), math.sin(math.radians(galaxy.pa))
    major = (galaxy.d25_arcsec / 2) ** 2
    minor = major * galaxy.axis_ratio**2
    return (
        major * cos**2 + minor * sin**2,
        major * sin**2 + minor * cos**2,
        (major - minor) * cos * sin,
    )


def number(text, what, above=None):
    """Return a table's field as a number.

    Parameters
    ----------
    text : str
        The field.
    what : str
        Its name for a message: the table, the row, the column.
    above : float, optional
        What it must be above.

    Raises
    ------
    DataError
        If it is no number, or not such a one.
    """
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{what} is {text!r}: a number is needed") from None
    if not math.isfinite(value) or (above is not None and value <= above):
        raise DataError(f"{what} is {text}: it must be {'finite' if above is None else 'above 0'}")
    return value

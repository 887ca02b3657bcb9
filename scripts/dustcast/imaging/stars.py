"""Stars of the Milky Way in front of a galaxy: circular apertures to mask.

Positions come from Gaia DR2, where a significant parallax shows that a source is a star of the
Milky Way. Gaussians are fitted to each star band by band, from SDSS i (or the nearest band)
outwards, each fit with the one before as a soft constraint; they only serve to find the radius of
an aperture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from dustcast.bands import band_table
from dustcast.imaging.geometry import pixel, world
from dustcast.imaging.images import read_image
from dustcast.tables import DataError, atomic, read_csv
from dustcast.units import ARCSEC_RAD

FIRST_BAND = "SDSS_i"
# Beyond this wavelength only a star that is seen is masked: photospheres are faint there.
LONGEST_STELLAR_UM = 10.0
# Start values: a star is a black body. 5200 K reproduces z0mgs' (Leroy et al. 2019) ratios of G to
# WISE 1 to 3 and NUV within 50%. Gaia DR2's G: 3296 Jy at magnitude 0, pivot 0.673 micron.
STAR_TEMPERATURE_K = 5200.0
G_ZERO_JY, G_PIVOT_UM = 3296.0, 0.673
SECOND_RADIATION_UM_K = 14387.77

SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
# Scatter of the soft constraints: position in beams, logarithm of the width over the beam's.
POSITION_SCATTER = 0.3
FIRST_WIDTH_SCATTER, WIDTH_SCATTER = 0.3, 0.15
# Images were taken up to this long before or after Gaia's epoch.
EPOCH_YEARS = 15.0
# A star is seen where its peak is so many sigma of its fit, and this far above the sky's noise: as
# many sigma of that too where no photosphere is expected, since noise there is lumps of a beam.
SEEN_SIGMA, SEEN_NOISE = 5.0, 2.0
# At the aperture's edge the profile has sunk into the noise, or to this share of the galaxy around
# it, whose light it would cost to go on. Real beams have wider wings.
GALAXY_SHARE = 0.1
MARGIN = 1.25
# What is brighter than this many times the brightest star of its magnitude is not the star alone:
# it stands before a cluster, an HII region or a bulge. Temperatures of the reddest and bluest.
LARGEST_EXCESS = 2.0
EXTREME_TEMPERATURES_K = (3000.0, 10_000.0)
WIDEST_FIT = 12.0  # beams
# A fit ends where another step would change chi2, centre and width by less than this share.
FIT_TOLERANCE = 1e-5
# Logarithms of the narrowest and widest fit, over the beam's.
WIDTHS = (-1.0, 1.5)
# What an aperture may not reach: the nucleus, and sources without significant parallax or motion
# that are not much fainter than the star (HII regions and clusters; fainter ones are background).
NUCLEUS_BEAMS, NUCLEUS_ARCSEC = 1.0, 3.0
PROTECTED_MAGNITUDES = 2.5
MOTION_SNR = 3.5
# An edit by hand means the apertures this near to its position.
NEAR_ARCSEC = 3.0

GAIA_COLUMNS = ("ra", "dec", "parallax", "parallax_error", "phot_g_mean_mag")
MOTIONS = ("pmra", "pmra_error", "pmdec", "pmdec_error")
EDIT_COLUMNS = (
    "galaxy",
    "band",
    "action",
    "ra",
    "dec",
    "radius_arcsec",
    "to_ra",
    "to_dec",
    "reason",
)
ACTIONS = ("add", "move", "remove")


@dataclass(frozen=True)
class Aperture:
    """A circle around a star.

    Attributes
    ----------
    ra, dec : float
        Centre in degrees (ICRS).
    radius : float
        In arcsec.
    band : str
        Band in which it is masked.
    origin : str
        ``fit``; ``magnitude``, if the fit failed where Gaia's magnitude promises a star; ``added``
        or ``moved`` by hand.
    """

    ra: float
    dec: float
    radius: float
    band: str
    origin: str


@dataclass
class _Star:
    """A star, and what the fit before says of it: place, and width over the beam's."""

    ra: float
    dec: float
    magnitude: float
    motion: float
    fitted_ra: float
    fitted_dec: float
    log_width: float = 0.0
    width_scatter: float = FIRST_WIDTH_SCATTER


# ---------------------------------------------------------------------------------------------
# Masks


def star_mask(apertures, wcs, shape):
    """Return which pixels lie in a star aperture.

    Parameters
    ----------
    apertures : list of Aperture
        Those of the image's band.
    wcs : astropy.wcs.WCS
        Celestial coordinates of the image.
    shape : (int, int)
        ny, nx.

    Returns
    -------
    array of bool of shape (ny, nx)
        A pixel is masked if its centre is inside; the pixel under a star always is.
    """
    from astropy.wcs.utils import proj_plane_pixel_area

    mask = np.zeros(shape, dtype=bool)
    if not apertures:
        return mask
    scale = np.sqrt(proj_plane_pixel_area(wcs)) * 3600
    x, y = pixel(wcs, [star.ra for star in apertures], [star.dec for star in apertures])
    for column, row, star in zip(x, y, apertures):
        radius = star.radius / scale
        reach = max(radius, 0.5)
        # Also false for NaN, off the projection.
        if not (-reach <= column < shape[1] + reach and -reach <= row < shape[0] + reach):
            continue
        if -0.5 <= column < shape[1] - 0.5 and -0.5 <= row < shape[0] - 0.5:
            mask[round(row), round(column)] = True
        rows, columns = (
            slice(max(0, math.floor(place - radius)), max(0, math.ceil(place + radius) + 1))
            for place in (row, column)
        )
        part = mask[rows, columns]
        inner_y, inner_x = np.indices(part.shape)
        distance = np.hypot(inner_y + rows.start - row, inner_x + columns.start - column)
        part |= distance < radius
    return mask


# ---------------------------------------------------------------------------------------------
# Finding


def read_gaia(path):
    """Read a list of Gaia sources.

    Parameters
    ----------
    path : str or Path
        CSV table with the Gaia archive's own columns: ra, dec (deg), parallax, parallax_error
        (mas), phot_g_mean_mag, and where known the proper motions (mas/yr).

    Returns
    -------
    dict of str to array
        Columns; an empty field is NaN.

    Raises
    ------
    DataError
        If a column is missing, a field is no number, or no source has a parallax.
    """
    rows = read_csv(path, required=GAIA_COLUMNS)
    columns = {}
    for name in (*GAIA_COLUMNS, *MOTIONS):
        try:
            columns[name] = np.array([float(row.get(name) or "nan") for row in rows])
        except ValueError as fault:
            raise DataError(f"{path}: the column {name} holds no number ({fault})") from None
    if rows and not np.isfinite(columns["parallax"]).any():
        raise DataError(
            f"{path} has no parallaxes (column parallax), without which no source is known to be a "
            "star: fetch the list anew, or set stars.source to by_hand"
        )
    return columns


def find_stars(paths, galaxy, sources, *, parallax_snr=5.0, missing_unit=None):
    """Find the apertures of stars in all bands of a galaxy.

    Parameters
    ----------
    paths : dict of str to str
        Raw image by band. One that is missing or faulty is passed over.
    galaxy : dustcast.sample.Galaxy
        Its centre is its nucleus, which is not masked.
    sources : dict of str to array
        Gaia sources as from `read_gaia`.
    parallax_snr : float
        Parallax over its error above which a source is a star.
    missing_unit : str, optional
        Unit of an image whose header names none.

    Returns
    -------
    list of Aperture
    """
    significant = sources["parallax"] > parallax_snr * sources["parallax_error"]
    usable = np.isfinite(sources["phot_g_mean_mag"])
    moving = np.zeros(significant.shape, dtype=bool)
    for name in ("pmra", "pmdec"):
        moving |= np.abs(sources[name]) > MOTION_SNR * sources[f"{name}_error"]
    kept = {name: column[significant & usable] for name, column in sources.items()}
    motion = np.nan_to_num(np.hypot(kept["pmra"], kept["pmdec"])) / 1000
    stars = [
        _Star(ra, dec, magnitude, moved, ra, dec)
        for ra, dec, magnitude, moved in zip(
            kept["ra"], kept["dec"], kept["phot_g_mean_mag"], motion * EPOCH_YEARS
        )
    ]
    resting = usable & ~significant & ~moving
    protected = np.stack([sources[name][resting] for name in ("ra", "dec", "phot_g_mean_mag")])
    known = band_table()
    bands = sorted(paths, key=lambda band: known[band].pivot_um)
    apertures = []
    if not stars or not bands:
        return apertures
    first = min(
        range(len(bands)),
        key=lambda k: abs(math.log(known[bands[k]].pivot_um / known[FIRST_BAND].pivot_um)),
    )

    def fit(band, stars):
        return _fit_band(paths[band], band, galaxy, stars, protected, missing_unit)

    apertures += fit(bands[first], stars)
    # From what the first band says to shorter wavelengths, and to longer ones.
    for chain in (bands[:first][::-1], bands[first + 1 :]):
        followed = [replace(star) for star in stars]
        for band in chain:
            apertures += fit(band, followed)
    return sorted(apertures, key=lambda star: (bands.index(star.band), star.dec, star.ra))


def _fit_band(path, band, galaxy, stars, protected, missing_unit):
    """Return the apertures of one band; what the fits say is kept in `stars`."""
    from astropy.stats import sigma_clipped_stats

    try:
        image = read_image(path, band, missing_unit=missing_unit)
    except DataError as fault:
        print(f"{band}: left out: {fault}", flush=True)
        return []
    step = max(1, round(math.sqrt(image.data.size / 1e6)))
    sample = image.data[::step, ::step]
    _, sky, noise = sigma_clipped_stats(sample[np.isfinite(sample)], maxiters=None)
    beam = band_table()[band].fwhm_arcsec
    apertures = []
    x, y = pixel(image.wcs, [star.fitted_ra for star in stars], [star.fitted_dec for star in stars])
    for star, column, row in zip(stars, x, y):
        found = _measure(image, band, star, float(column), float(row), float(sky), float(noise))
        if found is None:
            continue
        ra, dec, radius, origin = found
        radius = _limit(radius, ra, dec, beam, galaxy, star, protected)
        if radius >= beam / 2:
            apertures.append(Aperture(ra, dec, radius, band, origin))
    print(f"{band}: {len(apertures)} of {len(stars)} stars", flush=True)
    return apertures


def _measure(image, band, star, column, row, sky, noise):
    """Return position, radius and origin of the aperture of a star in an image, None for none."""
    ny, nx = image.data.shape
    if not (0 <= column < nx and 0 <= row < ny and noise > 0):
        return None
    scale = image.pixel_arcsec
    beam = band_table()[band].fwhm_arcsec / scale
    width = max(beam, 2.0) * SIGMA_PER_FWHM
    flux = expected_flux(star.magnitude, band)
    peak = flux * 1e-6 / (2 * np.pi * (width * scale * ARCSEC_RAD) ** 2)
    half = _half_window(_radius(peak, width, noise), beam)
    bright = _around(image.data, column, row, half) - sky
    limit = float(np.fmax(noise, GALAXY_SHARE * bright))
    start = _radius(peak, width, limit)
    half = _half_window(start, beam)
    part, x0, y0 = _cutout(image.data, column, row, half)
    stellar = band_table()[band].pivot_um <= LONGEST_STELLAR_UM
    least = (SEEN_NOISE if stellar else SEEN_SIGMA) * noise
    fit = None
    # Else what stands out of the noise, however narrow, is too bright to be the star.
    if least * math.exp(2 * WIDTHS[0]) < peak * _excess(band):
        fit = _fit_gaussian(part, column - x0, row - y0, width, beam, star, scale)
    if (
        fit is not None
        and fit.peak > max(SEEN_SIGMA * fit.peak_error, least)
        and fit.peak * (fit.width / width) ** 2 < peak * _excess(band)
    ):
        place = world(image.wcs, np.array(fit.x + x0), np.array(fit.y + y0))
        ra, dec = (float(value) for value in place)
        # From band to band a fit may wander, but not to another source.
        seen = _distance(ra, dec, star.ra, star.dec) <= beam * scale + star.motion
    else:
        seen = False
    if seen:
        star.fitted_ra, star.fitted_dec = ra, dec
        star.log_width, star.width_scatter = math.log(fit.width / width), WIDTH_SCATTER
        return ra, dec, MARGIN * _radius(fit.peak, fit.width, limit) * scale, "fit"
    if stellar and peak > SEEN_SIGMA * limit and np.isfinite(part).any():
        return star.ra, star.dec, MARGIN * start * scale, "magnitude"
    return None


def _half_window(radius, beam):
    """Return half the side in pixels of the window in which a star is fitted."""
    return math.ceil(min(max(2 * radius, 3 * beam, 5.0), WIDEST_FIT * beam))


def _cutout(data, column, row, half):
    """Return the window around a position, and the column and row at which it begins."""
    y0, x0 = max(round(row) - half, 0), max(round(column) - half, 0)
    return data[y0 : round(row) + half + 1, x0 : round(column) + half + 1], x0, y0


def _around(data, column, row, half):
    """Return the brightness around a star: the median of the outer half of its window."""
    part, x0, y0 = _cutout(data, column, row, half)
    y, x = np.indices(part.shape)
    ring = part[(np.hypot(x + x0 - column, y + y0 - row) > half / 2) & np.isfinite(part)]
    return float(np.median(ring)) if ring.size else math.nan


@lru_cache(maxsize=64)
def _excess(band):
    """Return how many times brighter than expected a star of any temperature may be in a band."""
    fluxes = [expected_flux(0.0, band, temperature) for temperature in EXTREME_TEMPERATURES_K]
    return LARGEST_EXCESS * max(fluxes) / expected_flux(0.0, band)


def expected_flux(magnitude, band, temperature=STAR_TEMPERATURE_K):
    """Return the flux in Jy of a star of a magnitude in G in a band: a black body's."""

    def planck(wavelength_um):
        x = SECOND_RADIATION_UM_K / (wavelength_um * temperature)
        return wavelength_um**-3 / math.expm1(x)

    ratio = planck(band_table()[band].pivot_um) / planck(G_PIVOT_UM)
    return G_ZERO_JY * 10 ** (-0.4 * magnitude) * ratio


def _radius(peak, width, noise):
    """Return where a Gaussian of a width (sigma) sinks into the noise, 0 if it never rises."""
    return width * math.sqrt(2 * math.log(peak / noise)) if peak > noise else 0.0


@dataclass
class _Fit:
    """A fitted Gaussian: centre and width (sigma) in pixels, peak and its error in MJy/sr."""

    x: float
    y: float
    width: float
    peak: float
    peak_error: float


class _Profile:
    """A Gaussian on a plane over some pixels: residuals of centre and width, with constraints.

    For each centre and width the peak and the plane follow linearly (variable projection: Golub &
    Pereyra 1973), and so do their changes.

    Parameters
    ----------
    x, y, values : ndarray of shape (n,)
        Pixels from where the star is expected, and their brightness.
    scatter : float
        Of the values.
    width : float
        Of the PSF (sigma) in pixels.
    place, log_width, width_scatter : float
        Constraints: scatter of the centre in pixels, and the logarithm of the width over that of
        the PSF with its scatter.
    """

    def __init__(self, x, y, values, scatter, width, place, log_width, width_scatter):
        self.x, self.y, self.values, self.scatter = x, y, values, scatter
        self.width, self.log_width = width, log_width
        self.slopes = np.array([1 / place, 1 / place, 1 / width_scatter])
        self.plane = np.stack([np.ones(len(values)), x, y], axis=1)
        self._known = None

    def linear(self, parameters):
        """Return the matrix of the linear part and its QR decomposition."""
        if self._known is None or not np.array_equal(self._known[0], parameters):
            dx, dy, log_width = parameters
            square = (self.x - dx) ** 2 + (self.y - dy) ** 2
            sigma2 = (self.width * math.exp(log_width)) ** 2
            matrix = np.column_stack([np.exp(-square / (2 * sigma2)), self.plane])
            self._known = np.array(parameters), (matrix, *np.linalg.qr(matrix))
        return self._known[1]

    def residuals(self, parameters):
        """Return residuals in units of the scatter, then those of the constraints."""
        _, q, _ = self.linear(parameters)
        rest = self.values - q @ (q.T @ self.values)
        constraints = (parameters - np.array([0.0, 0.0, self.log_width])) * self.slopes
        return np.append(rest / self.scatter, constraints)

    def jacobian(self, parameters):
        """Return the derivatives of `residuals`, of shape (n + 3, 3)."""
        matrix, q, r = self.linear(parameters)
        dx, dy, log_width = parameters
        x, y = self.x - dx, self.y - dy
        sigma2 = (self.width * math.exp(log_width)) ** 2
        changes = matrix[:, :1] * np.stack([x, y, x**2 + y**2], axis=1) / sigma2
        rest = self.values - q @ (q.T @ self.values)
        # A peak that no pixel shows leaves a matrix of lower rank.
        inverse = np.linalg.pinv(r)
        peak = (inverse @ (q.T @ self.values))[0]
        through = (changes - q @ (q.T @ changes)) * peak
        through += np.outer(q @ inverse[0], rest @ changes)
        return np.vstack([-through / self.scatter, np.diag(self.slopes)])


def _fit_gaussian(part, x, y, width, beam, star, scale):
    """Fit a Gaussian on a plane, with soft constraints; return None where it cannot be.

    Least squares with a loss that forgives neighbours, over centre and logarithm of the width; for
    each of these the peak and the plane follow linearly. Constraints are residuals of their own.
    """
    from scipy.optimize import least_squares

    rows, columns = np.nonzero(np.isfinite(part))
    values = part[rows, columns]
    if values.size < 12:
        return None
    scatter = 1.4826 * np.median(np.abs(values - np.median(values)))
    if not scatter > 0:
        return None
    place = math.hypot(POSITION_SCATTER * beam, star.motion / scale)
    profile = _Profile(
        columns - x, rows - y, values, scatter, width, place, star.log_width, star.width_scatter
    )
    start = [0.0, 0.0, star.log_width]
    if star.motion / scale > beam / 2:
        # From where Gaia saw it, the slope of its profile now may not be felt.
        near = np.hypot(columns - x, rows - y) <= star.motion / scale + beam
        peak = np.argmax(np.where(near, values, -np.inf))
        start[:2] = columns[peak] - x, rows[peak] - y
    farthest = 3 * place + 1
    bounds = tuple(zip((-farthest, farthest), (-farthest, farthest), WIDTHS))
    found = least_squares(
        profile.residuals,
        start,
        profile.jacobian,
        bounds,
        ftol=FIT_TOLERANCE,
        xtol=FIT_TOLERANCE,
        gtol=FIT_TOLERANCE,
        loss="soft_l1",
        max_nfev=40,
    )
    matrix, _, _ = profile.linear(found.x)
    solution = np.linalg.lstsq(matrix, values, rcond=None)[0]
    rest = values - matrix @ solution
    # The scatter of most: a bulge or another star in a corner says nothing of this one.
    scatter = 1.4826 * np.median(np.abs(rest))
    covariance = np.linalg.pinv(matrix.T @ matrix) * scatter**2
    dx, dy, log_width = found.x
    # Where a few pixels do not tell a peak from a plane, rounding may leave a negative variance.
    error = math.sqrt(covariance[0, 0]) if covariance[0, 0] > 0 else math.inf
    return _Fit(x + dx, y + dy, width * math.exp(log_width), solution[0], error)


def _limit(radius, ra, dec, beam, galaxy, star, protected):
    """Return a radius that reaches neither the nucleus nor a source that may be the galaxy's."""
    keep = max(NUCLEUS_BEAMS * beam, NUCLEUS_ARCSEC)
    radius = min(radius, _distance(ra, dec, galaxy.ra, galaxy.dec) - keep)
    bright = protected[:, protected[2] < star.magnitude + PROTECTED_MAGNITUDES]
    if bright.shape[1]:
        radius = min(radius, float(_distance(ra, dec, bright[0], bright[1]).min()) - beam / 2)
    return radius


def _distance(ra, dec, ra2, dec2):
    """Return the distance of positions in arcsec."""
    a, b = np.radians(dec), np.radians(dec2)
    turn = np.radians(np.asarray(ra2) - ra)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(turn / 2) ** 2
    return 2 * np.arcsin(np.sqrt(half)) / ARCSEC_RAD


# ---------------------------------------------------------------------------------------------
# By hand


def read_edits(path, galaxy):
    """Read what is changed by hand for one galaxy.

    Parameters
    ----------
    path : str or Path
        CSV table: galaxy, band (empty: all), action (add, move, remove), ra, dec, radius_arcsec,
        to_ra, to_dec (of a move), reason.
    galaxy : str
        Name.

    Returns
    -------
    list of dict
        Numbers as floats, NaN where empty.
    """
    edits = []
    for row in read_csv(path, required=EDIT_COLUMNS):
        if row["galaxy"] != galaxy:
            continue
        where = f"{path}: {galaxy}"
        if row["action"] not in ACTIONS:
            raise DataError(
                f"{where}: the action {row['action']!r} is not one of add, move, remove"
            )
        if row["band"] and row["band"] not in band_table():
            raise DataError(f"{where}: the band {row['band']} is not known: see config/bands.csv")
        edit = dict(row)
        for name in ("ra", "dec", "radius_arcsec", "to_ra", "to_dec"):
            try:
                edit[name] = float(row[name] or "nan")
            except ValueError:
                raise DataError(f"{where}: {name} is {row[name]!r}: a number is needed") from None
        needed = ("ra", "dec", *(("radius_arcsec",) if row["action"] == "add" else ()))
        for name in needed:
            if not math.isfinite(edit[name]):
                raise DataError(f"{where}: {row['action']} needs {name}")
        edits.append(edit | {"where": where})
    return edits


def edit_apertures(apertures, edits, bands):
    """Return apertures with what is added, moved and removed by hand.

    Parameters
    ----------
    apertures : list of Aperture
    edits : list of dict
        As from `read_edits`.
    bands : list of str
        Bands of the galaxy: those of an edit without one.

    Raises
    ------
    DataError
        If nothing stands where something is to be moved or removed.
    """
    for edit in edits:
        chosen = [edit["band"]] if edit["band"] else bands
        if edit["action"] == "add":
            place = (edit["ra"], edit["dec"], edit["radius_arcsec"])
            apertures = apertures + [Aperture(*place, band, "added") for band in chosen]
            continue
        near = [
            star.band in chosen
            and float(_distance(star.ra, star.dec, edit["ra"], edit["dec"])) <= NEAR_ARCSEC
            for star in apertures
        ]
        if not any(near):
            raise DataError(
                f"{edit['where']}: nothing to {edit['action']} within {NEAR_ARCSEC:g} arcsec of "
                f"{edit['ra']}, {edit['dec']}: see the galaxy's stars.ecsv"
            )
        changed = [_moved(star, edit) if hit else star for star, hit in zip(apertures, near)]
        apertures = [star for star in changed if star is not None]
    return apertures


def _moved(star, edit):
    """Return an aperture moved or resized by an edit, None if that removes it."""
    if edit["action"] == "remove":
        return None
    given = {"ra": edit["to_ra"], "dec": edit["to_dec"], "radius": edit["radius_arcsec"]}
    known = {name: value for name, value in given.items() if math.isfinite(value)}
    return replace(star, origin="moved", **known)


# ---------------------------------------------------------------------------------------------
# Files


def write_apertures(path, apertures, origin=None):
    """Write apertures as an ECSV table, whole or not at all."""
    from astropy.table import Table

    names = ("ra", "dec", "radius", "band", "origin")
    kinds = (float, float, float, str, str)
    columns = [
        np.array([getattr(star, name) for star in apertures], dtype=kind)
        for name, kind in zip(names, kinds)
    ]
    table = Table(columns, names=names, meta=origin or {})
    for name, unit in (("ra", "deg"), ("dec", "deg"), ("radius", "arcsec")):
        table[name].unit = unit
    with atomic(path) as temporary:
        table.write(temporary, format="ascii.ecsv")


def read_apertures(path):
    """Read apertures.

    Returns
    -------
    list of Aperture
    """
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv")
        return [
            Aperture(
                float(r["ra"]),
                float(r["dec"]),
                float(r["radius"]),
                str(r["band"]),
                str(r["origin"]),
            )
            for r in table
        ]
    except (OSError, KeyError, ValueError) as fault:
        raise DataError(
            f"{path} is not a table of apertures ({' '.join(str(fault).split())}): delete it and "
            "run again"
        ) from None

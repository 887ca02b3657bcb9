"""Means and covariances of the DustPedia galaxies, which the mock population is drawn from.

Everything is measured on public tables: the official CIGALE results (Nersesian et al. 2019),
HyperLEDA, and the aperture photometry (Clark et al. 2018). The result ships as
resources/mock_moments.json; `snakemake mock_moments` makes it anew.
"""

from __future__ import annotations

import json
import re

import numpy as np

from dustcast.bands import REFERENCE_BAND, band_table
from dustcast.config import CONFIG_FOLDER, read_yaml
from dustcast.population import MODEL_NODES
from dustcast.sed.grid import build_grid, read_spec
from dustcast.tables import read_csv, read_table, write_text
from dustcast.temperature import dust_temperature
from dustcast.units import (
    SOLAR_LUMINOSITY_W,
    pixel_scale_pc,
)

QUANTITIES = (
    "log_mass_to_light",
    "log_young_share",
    "age",
    "E_BVs_old_factor",
    "powerlaw_slope",
    "sLd",
    "log_umin",
    "log_qhac",
    "log_gamma",
    "log_surface_mass",
    "hubble_stage",
    "log_d25_kpc",
    "log_distance_mpc",
)
"""What the covariances are of: the stellar mass over the luminosity of the stars (Msun/Lsun) and
the share of those younger than 10 Myr in it, which stand for a history (the posteriors of tau_main
and r_sfr are curved and no Gaussians); CIGALE's parameters (age in Myr), with the specific dust
luminosity for the strength of the attenuation; the stellar mass over the area of a circle of
diameter D25 (Msun/pc2); and what HyperLEDA has."""

N_DRAWS = 16  # histories drawn from each galaxy's posterior
SEED = 1
# Smallest errors of what the histories are inferred from (dex; magnitudes): about half the step
# between neighbouring models, so that a galaxy has more than one.
SMALLEST_ERROR = {"m_star": 0.05, "young": 0.1, "dust": 0.05, "Afuv": 0.1, "Av_b90": 0.03}
LOWEST_GAMMA = 5e-4  # half the last digit of the official table
DIGITS = 5
WARM_UMIN = 9.0  # Td = 27 K, between the two modes of the official temperatures
WELL_KNOWN_UMIN = 0.3  # relative error
THEMIS_UMAX = 1e7
N_ITERATIONS = 200
REFERENCE_AREA_ARCSEC2 = 18.0**2


def stellar_models():
    """Return the stellar models from which histories are inferred, of the nodes of the mock.

    Returns
    -------
    FactorisedGrid
        Of one dust model, which has no part in this.
    """
    nodes = read_yaml(MODEL_NODES)
    content = read_yaml(CONFIG_FOLDER / "grids" / "dustpedia.yaml")
    del content["themis"]
    content = {module: {**values, **nodes.get(module, {})} for module, values in content.items()}
    content["dl2007"] = {"qpah": 2.5, "umin": 1.0, "gamma": 0.0}
    return build_grid(read_spec(content), [REFERENCE_BAND])


def measure_moments(official, hyperleda, photometry, models):
    """Return the moments of the DustPedia galaxies.

    Parameters
    ----------
    official : Table
        dustpedia_cigale_results_final_version.csv.
    hyperleda : list of dict
        DustPedia_HyperLEDA_Herschel.csv.
    photometry : Table
        DustPedia_Aperture_Photometry_2.2.csv.
    models : FactorisedGrid
        Stellar models, from which histories and attenuations are inferred.

    Returns
    -------
    dict
        ``quantities``, names; ``components``, each with weight, mean, covariance; ``distance_mpc``,
        101 quantiles; ``targets``, mean and standard deviation of sLd, sMd and Td; ``present``, the
        share of galaxies that a band has; ``depth`` and ``depth_slope`` of each band, see
        `noise_of_apertures`; ``n_galaxies``.
    """
    by_name = {row["objname"]: row for row in hyperleda}
    # Galaxies without a fit have empty fields.
    fitted = np.all(
        [np.isfinite(column) for column in official.values() if column.dtype.kind in "if"], axis=0
    )
    official = official.rows(fitted & np.array([name in by_name for name in official["id"]]))
    rows = [by_name[name] for name in official["id"]]
    distance = np.array([float(row["dist_best"]) for row in rows])
    d25_pc = np.array(
        [pixel_scale_pc(60 * float(row["d25"]), float(row["dist_best"])) for row in rows]
    )
    histories = _histories(official, models)
    mass, total = official["Mstar__Msol"], official["Lbolo__Lsol"]
    sLd = np.log10(official["Ldust__Lsol"] / total)
    galaxy = {
        "log_mass_to_light": np.log10(mass / total),
        "log_young_share": np.log10(official["Lyoung_unatt__Lsol"] / total),
        "sLd": sLd,
        "log_umin": np.log10(effective_umin(official)),
        "log_qhac": np.log10(official["qhac"]),
        "log_gamma": np.log10(np.maximum(official["gamma"], LOWEST_GAMMA)),
        "log_surface_mass": np.log10(mass / (np.pi / 4 * d25_pc**2)),
        "hubble_stage": np.array([float(row["t"]) for row in rows]),
        "log_d25_kpc": np.log10(d25_pc / 1e3),
        "log_distance_mpc": np.log10(distance),
    }
    columns = {name: np.repeat(values[:, None], N_DRAWS, axis=1) for name, values in galaxy.items()}
    columns |= histories
    values = np.array([columns[name] for name in QUANTITIES])  # (quantity, galaxy, draw)
    components = [
        {"weight": _rounded(weight), "mean": _rounded(mean), "covariance": _rounded(covariance)}
        for weight, mean, covariance in mixture(values, official["Umin"] > WARM_UMIN)
    ]
    targets = {
        "sLd": sLd,
        "sMd": np.log10(official["Mdust__Msol"] / mass),
        "Td": dust_temperature(official["Umin"]),
    }
    present, depth, slope = noise_of_apertures(photometry)
    every = [float(row["dist_best"]) for row in hyperleda]
    return {
        "n_galaxies": official.n_rows,
        "quantities": list(QUANTITIES),
        "components": components,
        "distance_mpc": _rounded(np.quantile(every, np.linspace(0, 1, 101))),
        "targets": {
            name: {"mean": _rounded(column.mean()), "std": _rounded(column.std())}
            for name, column in targets.items()
        },
        "present": present,
        "depth": depth,
        "depth_slope": slope,
    }


def _histories(official, models):
    """Return histories and attenuations drawn from each galaxy's posterior, shape (n, N_DRAWS).

    The official table has no parameters of the history, but what they bring about: the masses and
    luminosities of all stars and of young ones, the absorbed luminosity, the attenuation in FUV
    and V. Models are weighed by how well they reproduce these, with a flat prior over the nodes.
    """
    quantities = {quantity.name: quantity.stellar for quantity in models.quantities}
    lum = quantities["stellar.lum"]
    with np.errstate(divide="ignore"):
        absorbed = np.maximum(np.log10(models.luminosity / lum), -5.0)
    model = np.array(
        [
            np.log10(quantities["stellar.m_star"] / (lum / SOLAR_LUMINOSITY_W)),
            np.log10(quantities["stellar.lum_young"] / lum),
            absorbed,
            quantities["attenuation.FUV"],
            quantities["attenuation.V_B90"],
        ]
    )
    total = official["Lbolo__Lsol"]
    observed = np.array(
        [
            np.log10(official["Mstar__Msol"] / total),
            np.log10(official["Lyoung_unatt__Lsol"] / total),
            np.log10(official["Ldust__Lsol"] / total),
            official["Afuv"],
            official["Av_b90"],
        ]
    )

    def relative(name):
        return official[f"{name.split('__')[0]}_err"] / official[name] / np.log(10)

    error = np.array(
        [
            np.full(official.n_rows, SMALLEST_ERROR["m_star"]),
            np.maximum(relative("Lyoung_unatt__Lsol"), SMALLEST_ERROR["young"]),
            np.maximum(relative("Ldust__Lsol"), SMALLEST_ERROR["dust"]),
            np.maximum(official["Afuv_err"], SMALLEST_ERROR["Afuv"]),
            np.maximum(official["Av_b90_err"], SMALLEST_ERROR["Av_b90"]),
        ]
    )
    rng = np.random.default_rng(SEED)
    picked = np.empty((official.n_rows, N_DRAWS), dtype=int)
    for row in range(official.n_rows):
        chi2 = (((model - observed[:, row, None]) / error[:, row, None]) ** 2).sum(axis=0)
        cumulative = np.cumsum(np.exp(-(chi2 - chi2.min()) / 2))
        picked[row] = np.searchsorted(cumulative, rng.random(N_DRAWS) * cumulative[-1])
    parameters = {name: column[picked] for name, column in models.stellar_parameters.items()}
    return {
        "age": parameters["sfh.age"],
        "E_BVs_old_factor": parameters["attenuation.E_BVs_old_factor"],
        "powerlaw_slope": parameters["attenuation.powerlaw_slope"],
    }


def effective_umin(official):
    """Return the radiation field that goes with a galaxy's dust luminosity and mass.

    Where the far-infrared says little, the Bayesian mean of Umin is that of the prior (14.3, Td =
    29 K, the warmer mode of the official temperatures), but mass and luminosity still belong to a
    field: L / M = P (1 - gamma + gamma ln(Umax / Umin)) Umin (Draine & Li 2007, Eqs. 13 and 17). P
    comes from the galaxies whose Umin is known to `WELL_KNOWN_UMIN`.
    """
    umin, gamma = official["Umin"], official["gamma"]
    power = official["Ldust__Lsol"] / official["Mdust__Msol"]
    power = power / (1 - gamma + gamma * np.log(THEMIS_UMAX / umin))
    known = official["Umin_err"] < WELL_KNOWN_UMIN * umin
    return power / np.median(power[known] / umin[known])


def mixture(values, warm):
    """Describe galaxies as a mixture of two Gaussians, by expectation maximisation.

    It starts from the galaxies in the two modes of the official temperatures.

    Parameters
    ----------
    values : ndarray of shape (n_quantity, n_galaxy, n_draw)
        In the order of `QUANTITIES`; the draws of a galaxy share their probabilities.
    warm : ndarray of bool, shape (n_galaxy,)
        Galaxies of the warmer mode.

    Returns
    -------
    list of (float, ndarray, ndarray)
        Weight, mean and covariance of the cooler and of the warmer component.
    """
    n_quantity, n_galaxy, n_draw = values.shape
    flat = values.reshape(n_quantity, -1)
    probability = np.array([~warm, warm], dtype=float)
    for _ in range(N_ITERATIONS):
        parts, logs = [], []
        for share in probability:
            weight = np.repeat(share, n_draw)
            mean, covariance = (
                np.average(flat, axis=1, weights=weight),
                np.cov(flat, aweights=weight),
            )
            parts.append((share.mean(), mean, covariance))
            offset = flat - mean[:, None]
            distance = (offset * np.linalg.solve(covariance, offset)).sum(axis=0)
            log = np.log(share.mean()) - (distance + np.linalg.slogdet(covariance)[1]) / 2
            logs.append(log.reshape(n_galaxy, n_draw).mean(axis=1))
        logs = np.array(logs)
        probability = np.exp(logs - logs.max(axis=0))
        probability /= probability.sum(axis=0)
    return parts


def noise_of_apertures(photometry):
    """Return what the aperture photometry says of coverage and noise, by band.

    The error of an aperture, less the calibration error, grows as a power of its area: a straight
    line in the logarithms gives the noise of one square of 18 arcsec.

    Parameters
    ----------
    photometry : Table
        Fluxes and errors in Jy; semimaj_arcsec and axial_ratio of the apertures.

    Returns
    -------
    present : dict of str to float
        Share of galaxies with a flux.
    depth : dict of str to float
        Noise of a square of 18 arcsec, in mJy.
    slope : dict of str to float
        d log10(noise) / d log10(area); 0.5 for white noise.
    """
    area = np.pi * photometry["semimaj_arcsec"] ** 2 / photometry["axial_ratio"]
    present, depth, slope = {}, {}, {}
    for band, known in band_table().items():
        if band not in photometry or not np.isfinite(known.calibration):
            continue
        flux, error = photometry[band], photometry[f"{band}_err"]
        variance = error**2 - (known.calibration * flux) ** 2
        use = np.isfinite(variance) & (variance > 0)
        x = np.log10(area[use] / REFERENCE_AREA_ARCSEC2)
        y = 0.5 * np.log10(1e6 * variance[use])
        gradient, constant = np.polyfit(x, y, 1)
        present[band] = _rounded(np.isfinite(flux).mean())
        depth[band] = _rounded(10**constant)
        slope[band] = _rounded(gradient)
    return present, depth, slope


def _rounded(values):
    """Return numbers as nested lists with few digits: rounding of the last ones is not data."""
    values = np.asarray(values, dtype=float)
    text = np.array([f"{value:.{DIGITS}g}" for value in values.ravel()]).astype(float)
    return text.reshape(values.shape).tolist()


def read_official(path):
    """Read the official results; DataError if a column is missing."""
    needed = "Mstar__Msol Lbolo__Lsol Lyoung_unatt__Lsol Ldust__Lsol Mdust__Msol Umin qhac gamma"
    return read_table(path, required=("id", "Afuv", "Av_b90", *needed.split()))


def read_hyperleda(path):
    """Read the rows of HyperLEDA; DataError if a column is missing."""
    return read_csv(path, required=("objname", "t", "d25", "dist_best"))


def write_moments(path, moments, sources):
    """Write the moments as JSON, with the names of what they were measured on."""
    content = {"sources": sources} | moments
    # One line a list of numbers keeps the file short and its changes readable.
    text = json.dumps(content, indent=1)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
    write_text(path, text + "\n")

"""A grid of smooth, realistic spectra without template files, and observations of it.

Stars: a delayed star formation history from black bodies of three ages, under a power-law
attenuation curve. Dust: a modified black body a radiation field, a hot tail for the fraction
`gamma`, and aromatic bumps for `qhac`. The axes have the names and lengths of the paper's grid, so
that its 80,041,500 models can be had without it.
"""

from __future__ import annotations

import itertools

import numpy as np

from dustcast.sed.spec import FactorisedGrid, Quantity

# Band id and pivot wavelength in micron.
BANDS = {
    "GALEX_FUV": 0.153,
    "GALEX_NUV": 0.227,
    "SDSS_u": 0.356,
    "SDSS_g": 0.470,
    "SDSS_r": 0.618,
    "SDSS_i": 0.749,
    "SDSS_z": 0.895,
    "2MASS_J": 1.24,
    "2MASS_H": 1.65,
    "2MASS_Ks": 2.16,
    "WISE_3.4": 3.37,
    "WISE_4.6": 4.62,
    "WISE_12": 12.1,
    "WISE_22": 22.2,
    "SPITZER_3.6": 3.55,
    "SPITZER_4.5": 4.50,
    "SPITZER_5.8": 5.73,
    "SPITZER_8.0": 7.87,
    "SPITZER_24": 23.6,
    "SPITZER_70": 71.4,
    "PACS_70": 70.8,
    "PACS_100": 101.0,
    "PACS_160": 162.0,
    "SPIRE_250": 249.0,
    "SPIRE_350": 348.0,
    "SPIRE_500": 504.0,
}
UVMIR = tuple(name for name, micron in BANDS.items() if micron < 23)
FIR = tuple(name for name, micron in BANDS.items() if micron > 23)

FULL_AXES = {
    "tau_main": [500, 750, 1100, 1700, 2600, 3900, 5800, 8800, 13000, 20000],
    "age": [2000, 4500, 7000, 9500, 12000],
    "r_sfr": [0.01, 0.0316, 0.1, 0.316, 1, 3.16, 10],
    "E_BVs_young": [
        *[0, 0.005, 0.0075, 0.011, 0.017, 0.026, 0.038, 0.058],
        *[0.087, 0.13, 0.20, 0.29, 0.44, 0.66, 1],
    ],
    "E_BVs_old_factor": [0.25, 0.5, 0.75],
    "powerlaw_slope": [-0.5, -0.25, 0],
    "qhac": [0.02, 0.06, 0.10, 0.14, 0.17, 0.20, 0.24, 0.28, 0.32, 0.36, 0.40],
    "umin": [0.1, 0.15, 0.3, 0.5, 0.8, 1.2, 2, 3.5, 6, 10, 17, 30, 50, 80],
    "gamma": [0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.031, 0.063, 0.13, 0.25, 0.5],
}
SMALL_AXES = {
    "tau_main": [500, 2600, 8800],
    "age": [4500, 12000],
    "r_sfr": [0.01, 0.316, 1, 10],
    "E_BVs_young": [0, 0.017, 0.058, 0.13, 0.29, 0.66],
    "E_BVs_old_factor": [0.25, 0.75],
    "powerlaw_slope": [-0.5, 0],
    "qhac": [0.02, 0.10, 0.17, 0.24, 0.40],
    "umin": [0.1, 0.5, 1.2, 3.5, 10, 30, 80],
    "gamma": [0, 0.004, 0.031, 0.13, 0.5],
}

L_SUN = 3.828e26
FOUR_PI_10PC2 = 4 * np.pi * (10 * 3.0857e16) ** 2


def _planck_nu(micron, temperature):
    """Black body per unit frequency, normalised to unit total power (per Hz)."""
    nu = 2.998e14 / micron
    x = 4.799e-11 * nu / temperature
    return 15 / np.pi**4 * x**3 / np.expm1(np.minimum(x, 600)) / nu * x


def synthetic_grid(axes=None, bands=None, *, many_quantities=False) -> FactorisedGrid:
    """Return the grid of the product of `axes` (default `SMALL_AXES`) in the given bands.

    With `many_quantities` it reports as many as a grid of `dustcast.sed.grid` does.
    """
    axes = axes or SMALL_AXES
    bands = tuple(bands or BANDS)
    micron = np.geomspace(0.0912, 1000, 500)
    nu = 2.998e14 / micron
    width = -np.gradient(nu)
    at_bands = np.log([BANDS[name] for name in bands])

    def sample(spectra):
        return np.array([np.interp(at_bands, np.log(micron), s) for s in spectra])

    # Young, intermediate and old stars; W per Hz and Msun, with a few nebular lines on the young.
    young = 300 * L_SUN * _planck_nu(micron, 22000.0)
    for line, strength in ((0.3727, 0.15), (0.50, 0.2), (0.6563, 0.3), (1.87, 0.1)):
        young *= 1 + strength * np.exp(-0.5 * ((np.log(micron / line)) / 0.05) ** 2)
    middle = 3 * L_SUN * _planck_nu(micron, 8500.0)
    old = 0.4 * L_SUN * (0.7 * _planck_nu(micron, 4300.0) + 0.3 * _planck_nu(micron, 3300.0))
    free_free = 1e-6 * 300 * L_SUN * (micron / 1.0) ** 0.1 / nu.max()

    stellar, luminosity, parameters, masses, bolometric, rates, young_lum = (
        [],
        [],
        [],
        [],
        [],
        [],
        [],
    )
    names = ["tau_main", "age", "r_sfr", "E_BVs_young", "E_BVs_old_factor", "powerlaw_slope"]
    for values in itertools.product(*(axes[name] for name in names)):
        tau, age, r_sfr, reddening, old_factor, slope = values
        t = np.linspace(0, age, 200)
        rate = t * np.exp(-t / tau)
        rate[t > age - 200] = rate[np.searchsorted(t, age - 200)] * r_sfr
        rate /= np.trapezoid(rate, t)
        look_back = age - t
        young_mass = np.trapezoid(np.where(look_back < 30, rate, 0), t) + 30 * rate[-1] * 1e-3
        middle_mass = np.trapezoid(np.where(look_back < 1000, rate, 0) / (0.3 + look_back / 1e3), t)
        # Old stars redden and fade with the mean age.
        mean_age = np.trapezoid(rate * look_back, t)
        fade = (mean_age / 8000 + 0.1) ** -0.7
        new = young_mass * (young + free_free)
        aged = middle_mass * middle + fade * old * (micron / 1.0) ** (0.1 * np.log(mean_age / 5e3))
        curve = 4.05 * (micron / 0.55) ** (-1.0 + slope)
        keep_new = 10 ** (-0.4 * reddening * curve)
        keep_old = 10 ** (-0.4 * reddening * old_factor * curve)
        # Sampled at once: the spectra of 47,250 models would take 200 MB.
        stellar.append(sample([new * keep_new + aged * keep_old])[0])
        absorbed = new * (1 - keep_new) + aged * (1 - keep_old)
        luminosity.append(np.sum(absorbed * width))
        young_lum.append(np.sum(new * width))
        bolometric.append(np.sum((new + aged) * width))
        masses.append(0.6 + 0.2 * (1 - mean_age / 13000))
        rates.append(rate[-1] * 1e-6)
        parameters.append(values)
    stellar = np.array(stellar) / FOUR_PI_10PC2 * 1e29
    luminosity = np.array(luminosity)

    dust, dust_parameters, dust_mass, mean_field = [], [], [], []
    for qhac, umin, gamma in itertools.product(axes["qhac"], axes["umin"], axes["gamma"]):
        spectrum = np.zeros_like(micron)
        fields = umin * np.geomspace(1, 1e7 / umin, 8)
        shares = np.append(1 - gamma, np.full(7, gamma / 7))
        for u, share in zip(fields, shares):
            temperature = min(18.3 * u ** (1 / 5.79), 300)
            cold = _planck_nu(micron, temperature) * (micron / 250) ** -1.79
            bumps = sum(
                power * np.exp(-0.5 * (np.log(micron / where) / broad) ** 2)
                for where, broad, power in (
                    (3.3, 0.02, 0.1), (6.2, 0.06, 1.0), (7.7, 0.07, 2.0), (11.3, 0.06, 1.2),
                    (17.0, 0.15, 1.0), (25.0, 0.5, 1.5),
                )
            )  # fmt: skip
            near = (micron > 0.9) / nu
            small = 1e-3 * near * (micron / 10) + qhac * near * bumps
            cold /= np.sum(cold * width)
            small /= np.sum(1e-3 * near * (micron / 10) * width) * 0 + np.sum(near * bumps * width)
            spectrum += share * (0.8 * cold + small)
        spectrum[micron < 0.95] = 0.0
        power = np.sum(spectrum * width)
        dust.append(spectrum / power)
        u_mean = (1 - gamma) * umin + gamma * 7 * umin
        dust_mass.append(1.989e30 / (143.9 * L_SUN * u_mean))
        mean_field.append(u_mean)
        dust_parameters.append((qhac, umin, gamma))
    dust = sample(dust) / FOUR_PI_10PC2 * 1e29

    stellar_parameters = dict(zip(names, np.array(parameters, float).T))
    dust_parameters = dict(zip(("qhac", "umin", "gamma"), np.array(dust_parameters).T))
    masses, rates = np.array(masses), np.array(rates)
    bolometric, young_lum = np.array(bolometric), np.array(young_lum)
    quantities = [
        Quantity("stellar.m_star", 1, "solMass", stellar=masses),
        Quantity("stellar.lum", 1, "W", stellar=bolometric),
        Quantity("stellar.lum_young", 1, "W", stellar=young_lum),
        Quantity("sfh.sfr", 1, "solMass/yr", stellar=rates),
        Quantity("sfh.integrated", 1, "solMass"),
        Quantity("dust.luminosity", 1, "W", stellar=luminosity),
        Quantity("dust.mass", 1, "kg", stellar=luminosity, dust=np.array(dust_mass)),
        Quantity("dust.umean", 0, "", dust=np.array(mean_field)),
        Quantity("attenuation.ratio", 0, "", stellar=luminosity / bolometric),
        *(Quantity(f"stellar.{name}", 0, "", stellar=v) for name, v in stellar_parameters.items()),
        *(Quantity(f"dust.{name}", 0, "", dust=v) for name, v in dust_parameters.items()),
    ]
    if many_quantities:
        quantities += _more_quantities(stellar_parameters, masses, rates, bolometric, young_lum)
    return FactorisedGrid(
        bands=bands,
        stellar_flux=stellar,
        luminosity=luminosity,
        dust_flux=dust,
        quantities=tuple(quantities),
        stellar_parameters=stellar_parameters,
        dust_parameters=dust_parameters,
        meta={"grid": "synthetic"},
    )


def _more_quantities(parameters, masses, rates, bolometric, young_lum):
    """Return what grids report besides, from simple relations: all are stellar."""
    old_lum = bolometric - young_lum
    young_mass = 1e7 * rates
    reddening = parameters["E_BVs_young"]
    extensive = {
        "sfh.sfr10Myrs": rates,
        "sfh.sfr100Myrs": 0.9 * rates,
        "stellar.lum_old": old_lum,
        "stellar.m_star_young": young_mass,
        "stellar.m_star_old": masses - young_mass,
        "stellar.m_gas": 1.0 - masses,
    }
    for name, per_watt in (("lum_ly", 1.0), ("n_ly", 1 / 3e-18)):
        extensive[f"stellar.{name}_young"] = 0.3 * per_watt * young_lum
        extensive[f"stellar.{name}_old"] = 1e-3 * per_watt * old_lum
        extensive[f"stellar.{name}"] = per_watt * (0.3 * young_lum + 1e-3 * old_lum)
    intensive = {
        "stellar.age_m_star": 13000 * (1 - (masses - 0.6) / 0.2),
        "sfh.age_trunc": parameters["age"] - 200,
        "attenuation.E_BVs.stellar.old": reddening * parameters["E_BVs_old_factor"],
        "attenuation.uv_bump_amplitude": np.zeros(len(rates)),
    }
    for name, micron in (("FUV", 0.153), ("B_B90", 0.44), ("V_B90", 0.55)):
        slope = parameters["powerlaw_slope"]
        intensive[f"attenuation.{name}"] = reddening * 4.05 * (micron / 0.55) ** (slope - 1.0)
    return [Quantity(name, 1, "", stellar=values) for name, values in extensive.items()] + [
        Quantity(name, 0, "", stellar=values) for name, values in intensive.items()
    ]

"""Simulated galaxies: what stands at each position of the sky.

A galaxy is a function from positions to surface densities and model parameters. The table-level
survey evaluates it at points and sums them to samples, a survey of images on a pixel grid; both see
the same galaxy.

Its properties are drawn from the moments of DustPedia given its size, distance and Hubble stage
(`dustcast.population`). Within it they follow radius, spiral arms or rings and clumps, plus random
fields of some hundred parsec to some kiloparsec that have DustPedia's correlations: between
galaxies and within them there is scatter of both stars and dust.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from dustcast.population import read_moments

# Quantities that vary within a galaxy, in the order of the moments, and the model parameter that
# each moves: name, whether it is a logarithm. What young stars emit is nearly proportional to
# r_sfr, what dust absorbs to E(B-V).
LOCAL = {
    "log_young_share": ("sfh.r_sfr", True),
    "E_BVs_old_factor": ("attenuation.E_BVs_old_factor", False),
    "powerlaw_slope": ("attenuation.powerlaw_slope", False),
    "sLd": ("attenuation.E_BVs_young", True),
    "log_umin": ("dust.umin", True),
    "log_qhac": ("dust.qhac", True),
    "log_gamma": ("dust.gamma", True),
}
# Those that only the radius changes.
RADIAL_ONLY = {"log_tau_main": ("sfh.tau_main", True), "age": ("sfh.age", False)}
GIVEN = ("hubble_stage", "log_d25_kpc", "log_distance_mpc")
SURFACE_MASS = "log_surface_mass"
# Of 1 Msun formed this much is left in stars after some Gyr (Salpeter: Bruzual & Charlot 2003).
MASS_LEFT = 0.7

# How parameters change with local structure: per R25 of radius, at the crest of an arm or ring, in
# the middle of a clump. Signs are those of resolved studies (with radius stars get younger,
# attenuation and radiation field weaker, e.g. Munoz-Mateos et al. 2009, Casasola et al. 2017; arms
# and clumps form stars and are dustier); sizes are chosen, see docs/method-mock.md.
RADIAL = {
    "log_tau_main": 0.3,
    "age": -1500.0,
    "log_young_share": 0.4,
    "sLd": -0.5,
    "log_umin": -0.7,
    "log_qhac": 0.05,
    "log_gamma": 0.2,
}
ARMS = {"log_young_share": 0.25, "sLd": 0.15, "log_umin": 0.1, "log_gamma": 0.15}
CLUMPS = {
    "log_young_share": 0.5,
    "sLd": 0.2,
    "log_umin": 0.25,
    "log_qhac": -0.1,
    "log_gamma": 0.5,
}
MEAN_RADIUS = 0.4  # of the mass, in R25: there the radial terms vanish
# Standard deviation of the random fields over that between galaxies.
FIELD_SCATTER = 0.45
FIELD_WAVES = 48
FIELD_WAVELENGTHS_KPC = (0.4, 6.0)

# How the whole is brought to the drawn sLd and Td: radii and angles, steps of bisection, range of
# E(B-V), largest sLd (dust cannot emit more than the stars).
SETTLING_RADII, SETTLING_ANGLES, SETTLING_STEPS = 14, 24, 14
E_BVS_LIMITS = (1e-4, 1.0)
LARGEST_SLD = -0.03

DISC_LENGTHS = (0.2, 0.3)  # scale length over R25 (Freeman's disc reaches R25 at 3.2 lengths)
LATEST_STAGE_OF_ARMS, EARLIEST_STAGE_OF_ARMS = 8.0, 0.0
RING_STAGES = (-3.0, 2.0)
CLUMPS_PER_STAGE = 4


@dataclass(frozen=True)
class Wave:
    """A random field: a sum of plane waves, of zero mean and unit variance.

    Attributes
    ----------
    kx, ky : ndarray of shape (FIELD_WAVES,)
        Wave numbers in 1/R25.
    phase : ndarray of shape (FIELD_WAVES,)
    """

    kx: np.ndarray
    ky: np.ndarray
    phase: np.ndarray

    def at(self, u, v):
        """Return the field at positions in units of R25."""
        angle = u[:, None] * self.kx + v[:, None] * self.ky + self.phase
        return np.sqrt(2 / len(self.phase)) * np.cos(angle).sum(axis=1)


class MockGalaxy:
    """A simulated galaxy.

    Parameters
    ----------
    galaxy : Galaxy
        As `dustcast.population.mock_galaxies` draws it.
    spectra : Spectra
        What positions emit.
    seed : int
        Seed of the population.

    Attributes
    ----------
    mean : dict of str to float
        Galaxy-wide value of each quantity of the moments.
    mass_formed : float
        Stellar mass formed in Msun.
    """

    def __init__(self, galaxy, spectra, seed):
        self.galaxy = galaxy
        rng = np.random.default_rng([seed, zlib.crc32(galaxy.galaxy.encode())])
        self.mean, covariance = _draw_means(galaxy, rng)
        tau_main, age, r_sfr = spectra.history(
            self.mean["log_mass_to_light"], self.mean["log_young_share"], self.mean["age"]
        )
        self._central = self.mean | {
            "log_tau_main": np.log10(tau_main),
            "age": age,
            "log_young_share": np.log10(r_sfr),
        }
        area_pc2 = np.pi / 4 * galaxy.d25_pc**2
        self.mass_formed = 10 ** self.mean[SURFACE_MASS] * area_pc2 / MASS_LEFT
        self._disc = rng.uniform(*DISC_LENGTHS)
        stage = galaxy.hubble_stage
        # Bulges dominate lenticulars and fade away along the sequence of spirals.
        self._bulge_share = float(np.clip(0.35 - 0.05 * stage + rng.normal(0, 0.05), 0.01, 0.8))
        self._bulge = 0.05 + 0.1 * self._bulge_share
        self._draw_structure(stage, rng)
        self._shift = {}
        self._root = np.linalg.cholesky(covariance) * FIELD_SCATTER
        self._waves = [self._wave(rng) for _ in LOCAL]
        self._settle(spectra)

    def _settle(self, spectra):
        """Shift E(B-V) and Umin until the galaxy as a whole has its sLd and its dust temperature.

        Sums over the structure are no linear functions of its mean.
        """
        wanted = min(self.mean["sLd"], LARGEST_SLD)
        # Rings of radius t^2 lie closer where the light is; each weighs as its area.
        t = (np.arange(SETTLING_RADII) + 0.5) / SETTLING_RADII
        turn = 2 * np.pi * np.arange(SETTLING_ANGLES) / SETTLING_ANGLES
        angle = (turn + np.arange(SETTLING_RADII)[:, None]).ravel()
        radius, area = (np.repeat(values, SETTLING_ANGLES) for values in (t**2, t**3))
        u, v = radius * np.cos(angle), radius * np.sin(angle)
        mass = area * self._profile(u, v)
        parameters = self._parameters(u, v)
        E_BVs, umin = parameters["attenuation.E_BVs_young"], parameters["dust.umin"]

        def emission(shift):
            return spectra.emission(
                mass, parameters | {"attenuation.E_BVs_young": E_BVs * 10.0**shift}
            )

        low, high = (np.log10(limit) - np.median(np.log10(E_BVs)) for limit in E_BVS_LIMITS)
        for _ in range(SETTLING_STEPS):
            middle = (low + high) / 2
            emitted = emission(middle)
            brighter = emitted.dust_lum.sum() > 10**wanted * emitted.stellar_lum.sum()
            low, high = (low, middle) if brighter else (middle, high)
        mean_umin = np.average(umin, weights=emission(high).dust_mass)
        self._shift = {"sLd": high, "log_umin": self.mean["log_umin"] - np.log10(mean_umin)}

    def _draw_structure(self, stage, rng):
        """Draw arms, ring and clumps."""
        has_arms = EARLIEST_STAGE_OF_ARMS <= stage <= LATEST_STAGE_OF_ARMS
        self._arms = {
            "strength": rng.uniform(0.4, 1.0) if has_arms else 0.0,
            "count": int(rng.integers(2, 5)),
            # Later types have more open arms.
            "pitch": np.tan(np.radians(10 + 2 * max(stage, 0) + rng.uniform(-3, 3))),
            "phase": rng.uniform(0, 2 * np.pi),
        }
        has_ring = RING_STAGES[0] <= stage <= RING_STAGES[1] and rng.random() < 0.4
        self._ring = {
            "strength": rng.uniform(0.5, 1.0) if has_ring else 0.0,
            "radius": rng.uniform(0.3, 0.7),
            "width": 0.06,
        }
        count = rng.poisson(CLUMPS_PER_STAGE * max(stage, 0) + 1e-9)
        radius, angle = np.sqrt(rng.random(count)) * 0.9, rng.uniform(0, 2 * np.pi, count)
        self._clumps = np.column_stack(
            [
                radius * np.cos(angle),
                radius * np.sin(angle),
                rng.uniform(0.02, 0.06, count),  # radius over R25
                rng.uniform(0.3, 1.0, count),  # strength
            ]
        )

    def _wave(self, rng):
        """Draw a random field."""
        low, high = np.log(FIELD_WAVELENGTHS_KPC)
        length = np.exp(rng.uniform(low, high, FIELD_WAVES)) * 2e3 / self.galaxy.d25_pc
        angle = rng.uniform(0, 2 * np.pi, FIELD_WAVES)
        k = 2 * np.pi / length
        return Wave(k * np.cos(angle), k * np.sin(angle), rng.uniform(0, 2 * np.pi, FIELD_WAVES))

    def disc_plane(self, east, north):
        """Return positions along and across the major axis, deprojected, in units of R25.

        Parameters
        ----------
        east, north : ndarray of shape (n,)
            Offsets from the centre in arcsec.
        """
        pa = np.radians(self.galaxy.pa)
        along = north * np.cos(pa) + east * np.sin(pa)
        across = east * np.cos(pa) - north * np.sin(pa)
        r25 = self.galaxy.d25_arcsec / 2
        return along / r25, across / r25 / self.galaxy.axis_ratio

    def surface_mass_formed(self, east, north):
        """Return the stellar mass formed per arcsec2 of sky in Msun, shape (n,).

        A bulge and a disc, each an exponential of the radius, with arms and ring in the disc; D25
        holds nearly all of it.
        """
        r25 = self.galaxy.d25_arcsec / 2
        profile = self._profile(*self.disc_plane(east, north))
        return self.mass_formed * profile / (r25**2 * self.galaxy.axis_ratio)

    def _profile(self, u, v):
        """Return the share of the mass per R25^2 of the disc plane."""
        radius = np.hypot(u, v)
        disc = np.exp(-radius / self._disc) / (2 * np.pi * self._disc**2)
        disc = disc * (1 + 0.4 * self._crest(u, v, radius))
        bulge = np.exp(-radius / self._bulge) / (2 * np.pi * self._bulge**2)
        return (1 - self._bulge_share) * disc + self._bulge_share * bulge

    def parameters(self, east, north):
        """Return the model parameters at positions.

        Returns
        -------
        dict of str to ndarray of shape (n,)
            As `dustcast.mock.spectra.Spectra.emission` takes them.
        """
        return self._parameters(*self.disc_plane(east, north))

    def _parameters(self, u, v):
        """Return the model parameters at positions in the disc plane."""
        radius = np.hypot(u, v)
        crest, clump = self._crest(u, v, radius), self._clumpiness(u, v)
        fields = np.array([wave.at(u, v) for wave in self._waves])
        scatter = dict(zip(LOCAL, self._root @ fields))
        found = {}
        for name, (parameter, logarithm) in (LOCAL | RADIAL_ONLY).items():
            value = (
                self._central[name]
                + self._shift.get(name, 0.0)
                + RADIAL.get(name, 0.0) * (np.minimum(radius, 1.5) - MEAN_RADIUS)
                + ARMS.get(name, 0.0) * crest
                + CLUMPS.get(name, 0.0) * clump
                + scatter.get(name, 0.0)
            )
            found[parameter] = 10**value if logarithm else value
        return found

    def _crest(self, u, v, radius):
        """Return how near an arm or a ring a position is: -1 between arms to 1 on the crest."""
        arms, ring = self._arms, self._ring
        winding = np.log(np.maximum(radius, 0.02)) / arms["pitch"]
        phase = arms["count"] * (np.arctan2(v, u) - winding) + arms["phase"]
        # Arms begin outside the bulge.
        begin = 1 / (1 + np.exp(-(radius - 0.15) / 0.03))
        wave = arms["strength"] * begin * np.cos(phase)
        offset = (radius - ring["radius"]) / ring["width"]
        return np.clip(wave + ring["strength"] * np.exp(-(offset**2) / 2), -1, 1)

    def _clumpiness(self, u, v):
        """Return the strength of clumps at positions, 0 to 1."""
        total = np.zeros_like(u)
        for x, y, size, strength in self._clumps:
            total += strength * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * size**2))
        return np.minimum(total, 1.0)


def _draw_means(galaxy, rng):
    """Draw the galaxy-wide quantities given stage, size and distance.

    Returns
    -------
    mean : dict of str to float
    covariance : ndarray of shape (len(LOCAL), len(LOCAL))
        Of the local parameters in the mode of the temperature that was drawn.
    """
    moments = read_moments()
    names = moments["quantities"]
    given = [names.index(name) for name in GIVEN]
    rest = [row for row in range(len(names)) if row not in given]
    values = np.array(
        [galaxy.hubble_stage, np.log10(galaxy.d25_pc / 1e3), np.log10(galaxy.distance)]
    )
    densities, conditionals = [], []
    for component in moments["components"]:
        mean, covariance = np.array(component["mean"]), np.array(component["covariance"])
        inverse = np.linalg.inv(covariance[np.ix_(given, given)])
        offset = values - mean[given]
        slope = covariance[np.ix_(rest, given)] @ inverse
        density = np.exp(-offset @ inverse @ offset / 2) * np.sqrt(np.linalg.det(inverse))
        densities.append(component["weight"] * density)
        conditionals.append(
            (
                mean[rest] + slope @ offset,
                covariance[np.ix_(rest, rest)] - slope @ covariance[np.ix_(given, rest)],
            )
        )
    densities = np.array(densities)
    mode = int(rng.random() * densities.sum() > densities[0])
    mean, covariance = conditionals[mode]
    drawn = mean + np.linalg.cholesky(covariance) @ rng.normal(size=len(rest))
    local = [rest.index(names.index(name)) for name in LOCAL]
    means = dict(zip([names[row] for row in rest], drawn))
    return means, covariance[np.ix_(local, local)]

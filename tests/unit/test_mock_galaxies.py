"""A simulated galaxy is a function of position with the totals that were drawn for it."""

import mock_models
import numpy as np
import pytest

from dustcast.mock.galaxies import MockGalaxy
from dustcast.population import mock_galaxies
from dustcast.sample import Galaxy

DISC = Galaxy("DISC", 10.0, 5.0, 10.0, 0.0, 300.0, 0.5, 30.0, 5.0, "mock")


@pytest.fixture(scope="module")
def disc():
    return MockGalaxy(DISC, mock_models.spectra(), 1)


def inside(galaxy, step=4.0):
    """Positions inside D25 on a grid of `step` arcsec."""
    axis = np.arange(-galaxy.d25_arcsec / 2, galaxy.d25_arcsec / 2, step)
    east, north = (values.ravel() for values in np.meshgrid(axis, axis))
    pa = np.radians(galaxy.pa)
    along = north * np.cos(pa) + east * np.sin(pa)
    across = (east * np.cos(pa) - north * np.sin(pa)) / galaxy.axis_ratio
    keep = np.hypot(along, across) <= galaxy.d25_arcsec / 2
    return east[keep], north[keep]


def test_the_major_axis_points_north_through_east(disc):
    """At 30 degrees half of the semi-major axis leads east, 0.866 of it north."""
    u, v = disc.disc_plane(np.array([75.0, 150 * 0.5 * 0.866]), np.array([75 * 3**0.5, -37.5]))
    np.testing.assert_allclose(u, [1, 0], atol=1e-3)
    np.testing.assert_allclose(v, [0, 1], atol=1e-3)


def test_mass_is_what_was_drawn(disc):
    east, north = inside(DISC, 2.0)
    mass = disc.surface_mass_formed(east, north).sum() * 2.0**2
    assert mass == pytest.approx(disc.mass_formed, rel=0.1)
    area_pc2 = np.pi / 4 * DISC.d25_pc**2
    assert disc.mass_formed * 0.7 / area_pc2 == pytest.approx(10 ** disc.mean["log_surface_mass"])


@pytest.mark.parametrize("number", range(4, 12))
def test_the_whole_has_the_dust_that_was_drawn(number):
    galaxy = mock_galaxies(24, 1)[number]
    spectra = mock_models.spectra()
    one = MockGalaxy(galaxy, spectra, 1)
    east, north = inside(galaxy, galaxy.d25_arcsec / 60)
    parameters = one.parameters(east, north)
    emitted = spectra.emission(one.surface_mass_formed(east, north), parameters)
    sLd = np.log10(emitted.dust_lum.sum() / emitted.stellar_lum.sum())
    assert sLd == pytest.approx(min(one.mean["sLd"], -0.03), abs=0.05)
    umin = np.average(parameters["dust.umin"], weights=emitted.dust_mass)
    assert np.log10(umin) == pytest.approx(one.mean["log_umin"], abs=0.05)


def test_values_belong_to_positions(disc):
    """Wherever else the galaxy is looked at, and in whatever order."""
    east, north = inside(DISC, 20.0)
    together = disc.parameters(east, north)
    for k in (3, 17):
        alone = disc.parameters(east[[k]], north[[k]])
        for name, values in together.items():
            np.testing.assert_allclose(alone[name][0], values[k], rtol=1e-12)
    backwards = disc.surface_mass_formed(east[::-1], north[::-1])
    np.testing.assert_allclose(backwards[::-1], disc.surface_mass_formed(east, north))


def test_fields_have_unit_variance_and_a_length():
    """Neighbours within 100 pc agree, positions kiloparsecs apart do not."""
    galaxies = [MockGalaxy(DISC, mock_models.spectra(), seed) for seed in range(12)]
    u = np.linspace(-1, 1, 4000)
    values = np.array([wave.at(u, 0 * u) for one in galaxies for wave in one._waves])
    assert values.std() == pytest.approx(1, abs=0.1)
    step_pc = (u[1] - u[0]) * DISC.d25_pc / 2

    def correlation(pc):
        lag = round(pc / step_pc)
        return np.mean(values[:, lag:] * values[:, : len(u) - lag]) / values.var()

    assert correlation(30) > 0.95
    assert 0.2 < correlation(500) < 0.8
    assert abs(correlation(4000)) < 0.2


def test_scatter_within_galaxies_is_below_that_between(disc):
    """In the field of the random waves alone: 0.45 of the scatter between galaxies."""
    spectra = mock_models.spectra()
    galaxies = [MockGalaxy(DISC, spectra, seed) for seed in range(50)]
    east, north = inside(DISC, 25.0)
    umin = np.array([np.log10(one.parameters(east, north)["dust.umin"]) for one in galaxies])
    assert 0.3 < umin.std(axis=1).mean() / umin.mean(axis=1).std() < 0.9


def test_late_types_have_arms_and_clumps_early_ones_bulges():
    def built(stage):
        values = {name: getattr(DISC, name) for name in DISC.__dataclass_fields__}
        galaxy = Galaxy(**{**values, "hubble_stage": stage})
        return MockGalaxy(galaxy, mock_models.spectra(), 3)

    late, early = built(5.0), built(-4.0)
    assert late._arms["strength"] > 0
    assert len(late._clumps) > 5
    assert early._arms["strength"] == 0
    assert len(early._clumps) == 0
    centre, middle = np.zeros(1), np.array([75.0])
    peak = [
        one.surface_mass_formed(centre, centre) / one.surface_mass_formed(centre, middle)
        for one in (late, early)
    ]
    assert 1 < peak[0][0] < peak[1][0]

"""The simulated galaxies: who they are, and that they are spread as DustPedia's are."""

import math

import numpy as np
import pytest

from dustcast import population, sample
from dustcast.config import complete
from dustcast.population import mock_galaxies
from dustcast.tables import DataError

PHYSICAL = ["150pc", "400pc", "1kpc", "3kpc"]


def plan_of(galaxies, scales):
    config = complete({"run": "x", "survey": {"source": "mock"}, "scales": scales})
    return sample.plan(config, galaxies)


def test_names_are_in_order():
    galaxies = mock_galaxies(1200, 1)
    assert [galaxies[k].galaxy for k in (0, 99, 1199)] == ["MOCK0001", "MOCK0100", "MOCK1200"]
    assert mock_galaxies(8, 1)[7].galaxy == "MOCK008"


def test_a_seed_fixes_the_population():
    assert mock_galaxies(40, 5) == mock_galaxies(40, 5)
    assert mock_galaxies(40, 5) != mock_galaxies(40, 6)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_values_are_possible(seed):
    galaxies = mock_galaxies(300, seed)
    for one in galaxies:
        assert 60 <= one.d25_arcsec <= 900, one
        assert 0 < one.axis_ratio <= 1, one
        assert 0 <= one.pa <= 180, one
        assert -5 <= one.hubble_stage <= 10, one
        assert 0 <= one.ra < 360, one
        assert abs(one.dec) <= 90, one
    assert sample.overlapping(galaxies) == []


@pytest.mark.parametrize("n_galaxies", [8, 24, 100])
def test_every_scale_has_four_galaxies(n_galaxies):
    """And the same four are at all scales from 400 pc to 3 kpc."""
    galaxies = mock_galaxies(n_galaxies, 1)
    for scale in PHYSICAL:
        rows = plan_of(galaxies, [scale])
        included = {row["galaxy"] for row in rows if row["included"]}
        assert {one.galaxy for one in galaxies[:4]} <= included, scale


def test_two_large_galaxies_have_1500_pixels():
    counts = [row["n_pixel_expected"] for row in plan_of(mock_galaxies(8, 1)[:4], ["18arcsec"])]
    assert sorted(counts)[2:] == pytest.approx([1500, 1500], abs=100)
    assert sorted(counts)[1] < 800


def test_distances_are_those_of_dustpedia():
    """One galaxy comes from each n-th part, so quantiles agree to a part or so."""
    moments = population.read_moments()
    distance = np.array([one.distance for one in mock_galaxies(404, 3)[4:]])
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        expected = np.interp(share * 100, np.arange(101), moments["distance_mpc"])
        assert np.quantile(distance, share) == pytest.approx(expected, rel=0.03)


def test_a_share_of_nearby_galaxies_fills_the_physical_scales():
    galaxies = mock_galaxies(404, 3, nearby_share=0.5)
    included = {
        scale: sum(row["included"] for row in plan_of(galaxies, [scale])) for scale in PHYSICAL
    }
    assert included["400pc"] > 65
    assert included["1kpc"] > 140
    # Even in the logarithm below 34 Mpc, and DustPedia's beyond.
    distance = np.log([one.distance for one in galaxies[4:]])
    moments = population.read_moments()
    share = np.interp(34.4, moments["distance_mpc"], np.arange(101)) / 100
    far = np.mean(distance > np.log(34.4))
    assert far == pytest.approx(0.5 * (1 - share), abs=0.01)
    near = mock_galaxies(404, 3, nearby_share=1.0)[4:]
    logs = np.log([one.distance for one in near])
    for part in (0.1, 0.5, 0.9):
        expected = np.log(1.8) + part * np.log(population.FARTHEST_NEARBY_MPC / 1.8)
        assert np.quantile(logs, part) == pytest.approx(expected, abs=0.02)


def test_size_and_stage_follow_dustpedia():
    """Against the mixture's own numbers; limits of size and stage cut its wings."""
    moments = population.read_moments()
    names = moments["quantities"]
    weight = np.array([component["weight"] for component in moments["components"]])
    mean = {
        name: weight @ [component["mean"][names.index(name)] for component in moments["components"]]
        for name in ("log_d25_kpc", "hubble_stage")
    }
    galaxies = mock_galaxies(2000, 4)[4:]
    size = np.log10([one.d25_pc / 1e3 for one in galaxies])
    distance = np.log10([one.distance for one in galaxies])
    stage = np.array([one.hubble_stage for one in galaxies])
    assert size.mean() == pytest.approx(mean["log_d25_kpc"], abs=0.12)
    assert stage.mean() == pytest.approx(mean["hubble_stage"], abs=1)
    assert 0.4 < np.corrcoef(size, distance)[0, 1] < 0.9
    assert np.corrcoef(size, stage)[0, 1] < 0


def test_orientations_are_random():
    """The position angle is uniform; of discs so is the cosine of the inclination."""
    galaxies = mock_galaxies(3000, 5)[4:]
    pa = np.array([one.pa for one in galaxies])
    assert np.histogram(pa, 6, (0, 180))[0] == pytest.approx(np.full(6, len(pa) / 6), rel=0.15)
    q = np.array([one.axis_ratio for one in galaxies if one.hubble_stage >= 0])
    cosine = np.sqrt((q**2 - 0.2**2) / (1 - 0.2**2))
    assert cosine.mean() == pytest.approx(0.5, abs=0.03)
    assert cosine.std() == pytest.approx(1 / math.sqrt(12), abs=0.02)


def test_energy_balance_of_single_galaxies():
    config = {"run": "x", "survey": {"source": "mock"}}
    smeared = {"dust_smoothing_kpc": 0.2, "dust_smoothing_of": {"MOCK003": 1.0}}
    mock = complete(config | {"mock": smeared})["mock"]
    assert population.dust_smoothing_kpc(mock, "MOCK003") == 1.0
    assert population.dust_smoothing_kpc(mock, "MOCK004") == 0.2
    unknown = complete(config | {"mock": {"dust_smoothing_of": {"MOCK999": 1.0}}})
    with pytest.raises(DataError, match=r"mock\.dust_smoothing_of names MOCK999"):
        sample.read_galaxies(unknown)


def test_missing_moments_are_said(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read .* it ships with dustcast, restore it"):
        population.read_moments(tmp_path / "none.json")

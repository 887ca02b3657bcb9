"""Transmission curves: pivot wavelengths of the paper, exact integrals, refusals."""

import numpy as np
import pytest

from dustcast.bands import band_table, bands_of
from dustcast.sed import filters
from dustcast.sed.filters import Filter, band_flux, curve_table, load_curves
from dustcast.tables import DataError

C = 299792458.0
TEN_PC = 10 * 3.0856775814913673e16
DEFAULT_BANDS = [band for band, row in curve_table().items() if row["default"]]


@pytest.fixture(scope="module")
def cigale_curves(data):
    return load_curves(list(curve_table()), data / "filters")


def write_curve(folder, name="FUV", kind="photon", rows=((1000, 0), (1500, 1), (2000, 0))):
    lines = [f"# {name}", f"# {kind}", "# made for a test", *(f"{w} {t}" for w, t in rows)]
    path = folder / f"{name}_{len(list(folder.iterdir()))}.dat"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("band", bands_of("input", "target"))
def test_default_pivots_agree_with_the_paper_or_say_why_not(band):
    row = curve_table()[band]
    ratio = load_curves([band])[band].pivot_nm / 1e3 / band_table()[band].pivot_um
    if abs(ratio - 1) > 0.01:
        assert row["note"], f"{band} is {ratio:.4f} of Table 1 without a reason"
        assert abs(ratio - 1) < 0.025
    else:
        assert not row["note"], f"{band} is {ratio:.4f} of Table 1: its note is out of date"


def test_cigale_pivots_agree_with_the_paper(cigale_curves):
    for band, curve in cigale_curves.items():
        if band in bands_of("input", "target"):
            stated = band_table()[band].pivot_um
            assert curve.pivot_nm / 1e3 == pytest.approx(stated, rel=0.01), band


def test_default_pivots_are_cigale_s_but_for_sdss(cigale_curves):
    for band, curve in load_curves(DEFAULT_BANDS).items():
        tolerance = 0.023 if band in ("SDSS_g", "SDSS_r", "SDSS_i", "SDSS_z") else 0.007
        assert curve.pivot_nm == pytest.approx(cigale_curves[band].pivot_nm, rel=tolerance), band


def test_pivot_agrees_with_the_package_that_has_the_curves():
    from sedpy.observate import Filter as SedpyFilter

    for band, name in (("GALEX_FUV", "galex_FUV"), ("WISE_12", "wise_w3"), ("PACS_70", None)):
        sedpy = SedpyFilter(name or "herschel_pacs_70")
        ours = load_curves([band])[band]
        assert ours.pivot_nm == pytest.approx(sedpy.wave_pivot / 10, rel=2e-4), band


def test_a_source_of_constant_f_nu_has_that_flux_in_every_band():
    curves = load_curves(DEFAULT_BANDS)
    wavelength = np.geomspace(80, 3e6, 40000)
    f_nu = 7.0e-29  # W m-2 Hz-1, 7 mJy
    l_lambda = f_nu * 4 * np.pi * TEN_PC**2 * C / (wavelength * 1e-9) ** 2 * 1e-9
    np.testing.assert_allclose(band_flux(curves, wavelength, l_lambda), 7.0, rtol=1e-6)


def test_projection_is_exact_for_piecewise_linear_functions():
    rng = np.random.default_rng(3)
    curve = Filter(
        "X", np.sort(rng.uniform(300, 600, 23)), np.concatenate([[0], rng.random(21), [0]])
    )
    wavelength = np.sort(rng.uniform(200, 700, 31))
    l_lambda = rng.random(31)
    # Gauss-Legendre of order 3 is exact for the product of two linear functions.
    edges = np.union1d(wavelength, curve.wavelength_nm)
    points, weights = np.polynomial.legendre.leggauss(3)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    x = middle[:, None] + half[:, None] * points
    inside = (x >= curve.wavelength_nm[0]) & (x <= curve.wavelength_nm[-1])
    product = np.interp(x, wavelength, l_lambda) * np.interp(
        x, curve.wavelength_nm, curve.transmission
    )
    mean = np.sum(product * inside * weights * half[:, None]) / curve.width_nm
    f_lambda = mean * 1e9 / (4 * np.pi * TEN_PC**2)  # W m-2 m-1
    expected = f_lambda * (curve.pivot_nm * 1e-9) ** 2 / C * 1e29
    assert band_flux({"X": curve}, wavelength, l_lambda)[0] == pytest.approx(expected, rel=1e-12)


def test_leading_axes_and_band_order_are_kept():
    curves = load_curves(["SDSS_r", "GALEX_NUV"])
    wavelength = np.linspace(100, 1000, 200)
    l_lambda = np.random.default_rng(1).random((2, 3, 200))
    flux = band_flux(curves, wavelength, l_lambda)
    assert flux.shape == (2, 3, 2)
    alone = band_flux(load_curves(["GALEX_NUV"]), wavelength, l_lambda[1, 2])
    assert flux[1, 2, 1] == pytest.approx(alone[0], rel=1e-14)


def test_spectrum_is_zero_outside_its_wavelengths():
    curves = load_curves(["GALEX_FUV", "SPIRE_250"])
    flux = band_flux(curves, np.array([200e3, 300e3]), np.array([1.0, 1.0]))
    assert flux[0] == 0
    assert flux[1] > 0


def test_a_line_has_the_flux_of_a_narrow_profile():
    curves = load_curves(["SDSS_r", "WISE_12"])
    centre = 656.46
    wavelength = centre + np.linspace(-0.5, 0.5, 2001)
    profile = np.exp(-0.5 * ((wavelength - centre) / 0.05) ** 2)
    profile *= 3.0 / np.trapezoid(profile, wavelength)
    line = 3.0 * filters.line_projection(curves, [centre, 1e7])
    np.testing.assert_allclose(line[0], band_flux(curves, wavelength, profile), rtol=1e-5)
    assert np.all(line[1] == 0)


def test_photon_curves_are_multiplied_by_wavelength(tmp_path):
    rows = ((1000, 0), (1500, 1), (2000, 1), (2500, 0))
    write_curve(tmp_path, "FUV", "photon", rows)
    write_curve(tmp_path, "NUV", "energy", rows)
    curves = load_curves(["GALEX_NUV", "GALEX_FUV"], tmp_path)
    assert list(curves) == ["GALEX_NUV", "GALEX_FUV"]
    np.testing.assert_allclose(curves["GALEX_NUV"].transmission, [0, 1, 1, 0])
    np.testing.assert_allclose(curves["GALEX_FUV"].transmission, [0, 0.75, 1, 0])
    np.testing.assert_allclose(curves["GALEX_FUV"].wavelength_nm, [100, 150, 200, 250])


def test_names_of_later_cigale_versions_are_known(tmp_path):
    write_curve(tmp_path, "herschel.spire.PSW_ext", "energy")
    np.testing.assert_allclose(
        load_curves(["SPIRE_250"], tmp_path)["SPIRE_250"].wavelength_nm, [100, 150, 200]
    )


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        (["SDSS_q"], "SDSS_q is not known"),
        (["Planck_350"], "Planck_350 has no default transmission curve"),
        (["IRAS_60"], "IRAS_60 has no default"),
    ],
)
def test_refuses_bands_without_a_curve(bands, message):
    with pytest.raises(DataError, match=message):
        load_curves(bands)


def test_refuses_folders_without_the_curve(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_curves(["GALEX_FUV"], tmp_path / "none")
    (tmp_path / "notes.dat").write_text("no curve\n")
    with pytest.raises(DataError, match=r"no transmission curve of GALEX_FUV.*'# FUV'"):
        load_curves(["GALEX_FUV"], tmp_path)


def test_refuses_two_curves_of_one_name(tmp_path):
    write_curve(tmp_path, "FUV")
    write_curve(tmp_path, "FUV")
    with pytest.raises(DataError, match="two transmission curves named FUV"):
        load_curves(["GALEX_FUV"], tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (((1000, "x"), (1500, 1)), "two columns"),
        (((1000, ""), (1500, "")), "two columns"),
        (((1000, 1),), "no usable"),
        (((1000, "nan"), (1500, 1)), "no usable"),
        (((-5, 1), (1500, 1)), "no usable"),
        (((1000, 0), (1500, 0)), "zero at all"),
        (((1000, 0), (1000, 1), (1500, 0)), "wavelength twice"),
    ],
)
def test_refuses_damaged_curves(tmp_path, rows, message):
    path = write_curve(tmp_path, "FUV", rows=rows)
    with pytest.raises(DataError, match=message) as caught:
        load_curves(["GALEX_FUV"], tmp_path)
    assert path.name in str(caught.value)


def test_refuses_wavelengths_that_do_not_increase():
    with pytest.raises(ValueError, match="increase strictly"):
        filters.projection({}, [2.0, 1.0])

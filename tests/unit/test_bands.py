"""The band table against Table 1 of the paper, CIGALE's names and CIGALE's curves."""

import numpy as np
import pytest

from dustcast.bands import (
    BAND_TABLE,
    REFERENCE_BAND,
    band_of_name,
    band_table,
    bands_of,
    check_bands,
)
from dustcast.tables import DataError

# Table 1 of Dobbels & Baes (2021), as printed: pivot wavelength in micron.
TABLE_1_INPUT = {
    "GALEX_FUV": "0.153",
    "GALEX_NUV": "0.229",
    "SDSS_u": "0.355",
    "SDSS_g": "0.480",
    "SDSS_r": "0.624",
    "SDSS_i": "0.766",
    "SDSS_z": "0.908",
    "2MASS_J": "1.24",
    "2MASS_H": "1.65",
    "2MASS_Ks": "2.16",
    "WISE_3.4": "3.37",
    "WISE_4.6": "4.62",
    "WISE_12": "12.1",
    "WISE_22": "22.2",
    "Spitzer_3.6": "3.56",
    "Spitzer_4.5": "4.50",
    "Spitzer_5.8": "5.75",
    "Spitzer_8.0": "7.92",
}
TABLE_1_TARGET = {
    "Spitzer_24": "23.6",
    "Spitzer_70": "70.9",
    "PACS_70": "70.7",
    "PACS_100": "101",
    "PACS_160": "161",
    "SPIRE_250": "253",
    "SPIRE_350": "354",
    "SPIRE_500": "515",
}
# Names of three generations of CIGALE, by the order of TABLE_1_INPUT and TABLE_1_TARGET.
CIGALE = {
    2018: "FUV NUV u_prime g_prime r_prime i_prime z_prime J_2mass H_2mass Ks_2mass WISE1 WISE2 "
    "WISE3 WISE4 IRAC1 IRAC2 IRAC3 IRAC4 MIPS1 MIPS2 PACS_blue PACS_green PACS_red PSW_HIPE "
    "PMW_HIPE PLW_HIPE",
    2022: "galex.FUV galex.NUV sdss.up sdss.gp sdss.rp sdss.ip sdss.zp 2mass.J 2mass.H 2mass.Ks "
    "WISE1 WISE2 WISE3 WISE4 spitzer.irac.ch1 spitzer.irac.ch2 spitzer.irac.ch3 spitzer.irac.ch4 "
    "spitzer.mips.24 spitzer.mips.70 herschel.pacs.70 herschel.pacs.100 herschel.pacs.160 "
    "herschel.spire.PSW herschel.spire.PMW herschel.spire.PLW",
    2025: "galex.FUV galex.NUV sloan.sdss.u sloan.sdss.g sloan.sdss.r sloan.sdss.i sloan.sdss.z "
    "2mass.J 2mass.H 2mass.Ks wise.W1 wise.W2 wise.W3 wise.W4 spitzer.irac.I1 spitzer.irac.I2 "
    "spitzer.irac.I3 spitzer.irac.I4 spitzer.mips.24mu spitzer.mips.70mu herschel.pacs.blue "
    "herschel.pacs.green herschel.pacs.red herschel.spire.PSW_ext herschel.spire.PMW_ext "
    "herschel.spire.PLW_ext",
}
# Table 1 of Clark et al. (2018): pixel and full width at half maximum in arcsec, calibration in %.
CLARK = {
    "GALEX_FUV": (3.2, 4.3, 4.5),
    "SDSS_r": (0.45, 1.3, 0.8),
    "2MASS_Ks": (1, 2.0, 1.9),
    "WISE_3.4": (1.375, 6.1, 2.9),
    "WISE_22": (1.375, 12, 5.6),
    "Spitzer_8.0": (0.6, 1.98, 3),
    "Spitzer_70": (4, 18, 10),
    "PACS_100": (3, 10, 7),
    "SPIRE_250": (6, 18, 5.5),
    "SPIRE_350": (8, 25, 5.5),
    "SPIRE_500": (12, 36, 5.5),
}


def test_bands_and_roles_are_those_of_the_paper():
    assert bands_of("input") == list(TABLE_1_INPUT)
    assert bands_of("target") == list(TABLE_1_TARGET)
    assert len(bands_of("input", "target")) == 18 + 8
    assert bands_of("extra") == [
        "Spitzer_160",
        "IRAS_60",
        "IRAS_100",
        "Planck_350",
        "Planck_550",
        "Planck_850",
    ]
    assert len(band_table()) == 32
    assert REFERENCE_BAND == "WISE_3.4"


def test_pivots_are_those_of_table_1():
    for band, printed in (TABLE_1_INPUT | TABLE_1_TARGET).items():
        assert band_table()[band].pivot_um == float(printed), band


def test_resolution_and_calibration_are_those_of_the_archive():
    for band, (pixel, fwhm, percent) in CLARK.items():
        row = band_table()[band]
        assert (row.pixel_arcsec, row.fwhm_arcsec) == (pixel, fwhm), band
        assert row.calibration == pytest.approx(percent / 100, rel=1e-12), band


def test_bands_without_images_have_no_resolution():
    for band in ("IRAS_60", "Planck_350"):
        row = band_table()[band]
        assert np.isnan([row.pixel_arcsec, row.fwhm_arcsec, row.calibration]).all()


def test_names_of_every_generation_resolve():
    for names in CIGALE.values():
        ids = [band_of_name(name) for name in names.split()]
        assert ids == [*TABLE_1_INPUT, *TABLE_1_TARGET]
    assert all(band_of_name(band) == band for band in band_table())
    assert band_of_name("WISE5") is None
    assert band_of_name("") is None


def test_no_name_belongs_to_two_bands():
    owners = {}
    for band in band_table().values():
        for name in {band.id, *band.cigale}:
            assert owners.setdefault(name, band.id) == band.id, name
            assert name
            # The second part of a name may be an error's suffix in tables.
            assert not name.endswith("_err")


def test_pivots_agree_with_cigales_curves(data):
    """The curves are read and integrated here: three header lines, Angstrom and response."""
    folder = data / "filters"
    if not folder.is_dir():
        pytest.skip(f"no transmission curves at {folder}")
    curves = {}
    for path in folder.glob("*.dat"):
        lines = path.read_text().splitlines()
        name, kind = lines[0].lstrip("# "), lines[1].lstrip("# ")
        angstrom, response = np.loadtxt(path, usecols=(0, 1), unpack=True)
        order = np.argsort(angstrom)
        angstrom, response = angstrom[order], response[order]
        if kind.strip() == "photon":
            response = response * angstrom
        fine = np.linspace(angstrom[0], angstrom[-1], 200_001)
        energy = np.interp(fine, angstrom, response)
        squared = np.trapezoid(energy, fine) / np.trapezoid(energy / fine**2, fine)
        curves[name.strip()] = np.sqrt(squared) / 1e4
    for band in band_table().values():
        own = next(curves[name] for name in band.cigale if name in curves)
        assert own == pytest.approx(band.pivot_um, rel=0.01), band.id


def test_unknown_and_repeated_bands_are_refused():
    check_bands(["WISE_12", "WISE_22"], "here")
    with pytest.raises(DataError, match=r"^here: the band WISE_13 is not known: use GALEX_FUV, "):
        check_bands(["WISE_12", "WISE_13"], "here")
    with pytest.raises(DataError, match=r"^here: a band stands twice: remove one$"):
        check_bands(["WISE_12", "WISE_12"], "here")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("GALEX_NUV,", "GALEX_FUV,", "has the band GALEX_FUV twice: remove one"),
        (",input,0.229", ",inputs,0.229", "has the role 'inputs': use input, target, extra"),
        (",input,0.229", ",input,0.2x", "pivot_um of GALEX_NUV is '0.2x': a number is needed"),
        ("fwhm_arcsec,cal", "fwhm,cal", "lacks the column fwhm_arcsec"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, old, new, message):
    text = BAND_TABLE.read_text()
    assert text.count(old) >= 1
    path = tmp_path / "bands.csv"
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message) as fault:
        band_table(path)
    assert str(path) in str(fault.value)

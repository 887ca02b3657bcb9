"""pcigale.ini of three generations: grids, bands, options, and refusals that list everything."""

import re

import pytest

from dustcast.config import CONFIG_FOLDER, read_yaml
from dustcast.sed.configuration import read_configuration
from dustcast.sed.grid import read_spec
from dustcast.tables import DataError

OLD = """
# File containing the input data.
data_file = fluxes.mag
parameters_file =
sed_modules = sfhdelayedtrunc, bc03, nebular, dustatt_calzleit, dl2007, redshifting
analysis_method = pdf_analysis
cores = 4
bands = FUV, FUV_err, WISE1, WISE1_err, PSW_HIPE, PSW_HIPE_err
properties =

[sed_modules_params]

  [[sfhdelayedtrunc]]
    tau_main = 500, 2000.0
    age = 2000, 9500
    age_trunc = 200.0
    r_sfr = 0.1,1.0
    sfr_A = 1.0
    normalise = True
  [[bc03]]
    imf = 0
    metallicity = 0.02
    separation_age = 10
  [[nebular]]
    logU = -2.0
    f_esc = 0.0
    f_dust = 0.0
    lines_width = 300.0
    emission = True
  [[dustatt_calzleit]]
    E_BVs_young = 0.01, 0.3
    E_BVs_old_factor = 0.44
    uv_bump_wavelength = 217.5
    uv_bump_width = 35.0
    uv_bump_amplitude = 0.0
    powerlaw_slope = 0.0
    filters = B_B90 & V_B90 & FUV
  [[dl2007]]
    qpah = 0.47, 2.5
    umin = 1.0, 5.0
    umax = 1000000.0
    gamma = 0.0, 0.1
  [[redshifting]]
    redshift =

[analysis_params]
  variables = sfh.sfr, dust.mass_log
  save_best_sed = True
  save_chi2 = False
  lim_flag = False
  mock_flag = True
  redshift_decimals = 3
  blocks = 1
"""

NEW = """
data_file = "fluxes.fits"
parameters_file = ""
sed_modules = sfhdelayedbq, bc03, nebular, dustatt_modified_starburst, dl2007, redshifting
analysis_method = pdf_analysis
cores = 4
bands = galex.FUV, galex.FUV_err, wise.W1, wise.W1_err
properties = ,
additionalerror = 0.05   # a fraction
[sed_modules_params]
  [[sfhdelayedbq]]
    tau_main = range 500 2000 500
    age_main = 2000, 9500
    age_bq = 200
    r_sfr = 0.1,
    sfr_A = 1.0
    normalise = True
  [[bc03]]
    imf = 0
    metallicity = 0.02
    separation_age = 10
  [[nebular]]
    logU = -2.0
    zgas = 0.014
    ne = 100
    f_esc = 0.0
    f_dust = 0.0
    lines_width = 300.0
    emission = False
    line_list =
  [[dustatt_modified_starburst]]
    E_BV_lines = 0.1, 0.3
    E_BV_factor = 0.44
    uv_bump_amplitude = 0.0
    powerlaw_slope = -0.2
    Ext_law_emission_lines = 1
    Rv = 3.1
    filters = generic.bessell.B & generic.bessell.V & galex.FUV & jwst.nircam.F090W
  [[dl2007]]
    qpah = 0.47
    umin = 1.0
    umax = 1000000.0
    gamma = 0.1
  [[redshifting]]
    redshift = 0.02
[analysis_params]
  variables =
  bands = galex.FUV, sloan.sdss.r
  save_best_sed = False
  save_chi2 = properties
  lim_flag = full
  mock_flag = False
  redshift_decimals = 2
  blocks = 1
"""


@pytest.fixture
def read(tmp_path):
    def inner(text):
        path = tmp_path / "pcigale.ini"
        path.write_text(text)
        return read_configuration(path)

    return inner


def test_an_old_file(read, tmp_path):
    found = read(OLD)
    assert found.data_file == tmp_path / "fluxes.mag"
    names = {"GALEX_FUV": "FUV", "WISE_3.4": "WISE1", "SPIRE_250": "PSW_HIPE"}
    assert found.names == names
    assert found.fluxes == tuple(names)
    assert found.spec.modules["sfh"] == "sfhdelayedtrunc"
    assert found.spec.parameters["sfh"]["tau_main"] == (500.0, 2000.0)
    assert found.spec.parameters["attenuation"]["E_BVs_young"] == (0.01, 0.3)
    assert found.spec.parameters["nebular"]["emission"] == (True,)
    assert found.spec.n_models() == (16, 8)
    assert found.redshift is None
    assert found.additional_error == 0.1
    assert found.upper_limits == "none"
    assert found.variables == ("sfh.sfr", "dust.mass_log")
    assert found.mock
    assert found.save_best_sed
    assert found.redshift_decimals == 3
    assert len(found.notes) == 1  # the ionising photons


def test_a_new_file_and_what_is_done_otherwise(read):
    found = read(NEW)
    assert found.data_file.name == "fluxes.fits"
    assert found.names == {"GALEX_FUV": "galex.FUV", "WISE_3.4": "wise.W1"}
    assert found.fluxes == ("GALEX_FUV", "SDSS_r")
    assert found.spec.parameters["sfh"] == {
        "tau_main": (500.0, 1000.0, 1500.0),
        "age_main": (2000.0, 9500.0),
        "age_bq": (200.0,),
        "r_sfr": (0.1,),
    }
    assert found.spec.parameters["nebular"]["emission"] == (False,)
    assert found.spec.parameters["attenuation"]["Rv"] == (3.1,)
    assert found.redshift == 0.02
    assert found.additional_error == 0.05
    assert found.upper_limits == "noscaling"
    assert found.variables == ()
    notes = "\n".join(found.notes)
    for word in ("zgas", "ne has no effect", "jwst.nircam.F090W", "lim_flag = full", "save_chi2"):
        assert word in notes
    assert "galex.FUV" not in notes


def test_everything_that_is_not_known_is_listed_at_once(read):
    text = NEW.replace("dl2007, redshifting", "dl2014, skirtor2016, redshifting")
    text = text.replace("Ext_law_emission_lines = 1", "Ext_law_emission_lines = 3")
    text = text.replace("imf = 0", "imf = 1").replace("normalise = True", "normalise = False")
    text = text.replace("wise.W1_err", "wise.W1_err, jwst.nircam.F090W, jwst.nircam.F090W_err")
    text = text.replace("E_BV_factor = 0.44", "E_BV_factor = eval np.ones(1)\n    colour = 3")
    text = text.replace("properties = ,", "properties = line.H-alpha")
    with pytest.raises(DataError) as fault:
        read(text)
    for part in (
        "the module dl2014",
        "the module skirtor2016",
        "Ext_law_emission_lines = 3",
        "imf = 1 (0 is known, Salpeter)",
        "normalise = False",
        "the band jwst.nircam.F090W",
        "E_BV_factor = eval np.ones(1)",
        "the parameter colour",
        "properties = line.H-alpha",
    ):
        assert part in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("data_file = fluxes.mag", "", "names no data_file"),
        ("sed_modules =", "modules =", "has no sed_modules: is it a pcigale.ini?"),
        ("pdf_analysis", "savefluxes", "analysis_method = savefluxes"),
        ("cores = 4", "cores 4", "line 7 is 'cores 4': `key = value` is needed"),
        (", PSW_HIPE_err", "", "the band PSW_HIPE without PSW_HIPE_err"),
        ("PSW_HIPE, PSW_HIPE_err", "galex.FUV, galex.FUV_err", "has the band GALEX_FUV twice"),
        ("redshift =\n", "redshift = 0.1, 0.2\n", "several redshifts"),
        ("bands = FUV, FUV_err, WISE1, WISE1_err, PSW_HIPE, PSW_HIPE_err", "", "lists no bands"),
        ("umin = 1.0, 5.0", "umin =", "dl2007: umin must list values"),
        ("redshift_decimals = 3", "redshift_decimals = x", "redshift_decimals are numbers"),
        ("lim_flag = False", "lim_flag = maybe", "lim_flag = maybe"),
    ],
)
def test_refusals(read, old, new, message):
    assert old in OLD
    with pytest.raises(DataError, match=re.escape(message)) as fault:
        read(OLD.replace(old, new))
    assert "\n" not in str(fault.value)


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(DataError, match=r"does not exist: name a pcigale\.ini"):
        read_configuration(tmp_path / "none.ini")
    with pytest.raises(DataError, match="is not a text file"):
        read_configuration(tmp_path)


@pytest.mark.parametrize("kind", ["full", "short"])
def test_the_published_configurations_are_the_papers_grid(data, kind):
    found = read_configuration(data / "cigale" / kind / "pcigale.ini")
    spec = read_spec(read_yaml(CONFIG_FOLDER / "grids" / "dustpedia.yaml"))
    assert found.spec == spec
    assert found.spec.hash == spec.hash
    assert len(found.names) == 32
    assert found.data_file.is_file()
    assert found.variables == ("sfh.sfr",)
    assert not found.mock

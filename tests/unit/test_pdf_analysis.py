"""CIGALE's analysis from table to table: known models are found again, in CIGALE's columns."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import astropy.table
import numpy as np
import pytest
from astropy.cosmology import WMAP7
from test_configuration import OLD

from dustcast.bands import band_table
from dustcast.sed import cli, cosmology, pdf_analysis
from dustcast.sed.cigale import read_results
from dustcast.sed.configuration import read_configuration
from dustcast.sed.engine import FitOptions
from dustcast.sed.filters import load_curves
from dustcast.sed.grid import build_grid
from dustcast.tables import DataError, Table

BANDS = ["GALEX_FUV", "SDSS_r", "WISE_3.4", "WISE_12", "PACS_100", "SPIRE_250"]
NAMES = {band: band_table()[band].cigale[0] for band in BANDS}
BRUTE = FitOptions(method="brute")
INI = OLD.replace(
    "FUV, FUV_err, WISE1, WISE1_err, PSW_HIPE, PSW_HIPE_err",
    ", ".join(f"{name}, {name}_err" for name in NAMES.values()),
)
INI = INI.replace("age = 2000, 9500", "age = 2000, 13000").replace("= sfh.sfr, dust.mass_log", "=")
INI = INI.replace("redshift_decimals = 3", "redshift_decimals = 2")
MASS = 1e10  # Msun formed
NAN = float("nan")
# id, redshift, distance in Mpc (NaN: not given), row of the stellar and of the dust model.
OBJECTS = [
    ("near", 0.0, 20.0, 1, 3),
    ("ten_parsec", 0.0, NAN, 2, 5),
    ("far", 0.04, NAN, 5, 1),
    ("measured", 0.04, 150.0, 9, 0),
    ("rounded", 0.096, NAN, 1, 6),
]


@pytest.fixture
def run_of(tmp_path):
    """Return a function that makes a run's folder and reads its configuration."""

    def inner(rows, change=lambda text: text):
        write_fluxes(tmp_path / "fluxes.mag", rows)
        (tmp_path / "pcigale.ini").write_text(change(INI))
        return read_configuration(tmp_path / "pcigale.ini")

    return inner


def write_fluxes(path, rows):
    """Write rows {column: value} as CIGALE's table, missing values as empty fields."""
    names = [name + end for name in NAMES.values() for end in ("", "_err")]
    lines = [" ".join(["id", "redshift", "distance", *names])]
    for row in rows:
        values = [row.get(name, NAN) for name in ("redshift", "distance", *names)]
        lines.append(" ".join([row["id"], *("" if v != v else repr(float(v)) for v in values)]))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Return rows of fluxes of single models, and what is true of each."""
    folder = tmp_path_factory.mktemp("truth")
    (folder / "pcigale.ini").write_text(INI)
    spec = read_configuration(folder / "pcigale.ini").spec
    rows, truth = [], []
    for name, redshift, distance, i, j in OBJECTS:
        rounded = round(redshift, 2)
        grid = build_grid(cosmology.without_older_models(spec, rounded), BANDS, redshift=rounded)
        parsecs = distance * 1e6
        if np.isnan(distance):
            parsecs = WMAP7.luminosity_distance(redshift).to_value("pc") if redshift else 10.0
        flux = grid.stellar_flux[i] + grid.luminosity[i] * grid.dust_flux[j]
        # The band of the rounded redshift, the dimming of the true one.
        flux = flux * MASS * (10 / parsecs) ** 2 * (1 + redshift) / (1 + rounded)
        row = {"id": name, "redshift": redshift, "distance": distance}
        for band, value in zip(BANDS, flux):
            row |= {NAMES[band]: value, f"{NAMES[band]}_err": 0.001 * value}
        rows.append(row)
        truth.append(
            {
                q.name: MASS**q.power
                * (1.0 if q.stellar is None else q.stellar[i])
                * (1.0 if q.dust is None else q.dust[j])
                for q in grid.quantities
            }
        )
    return rows, truth


def exact(text):
    """Leave out the additional error, so that one model stands out."""
    return text.replace("cores = 4", "cores = 4\nadditionalerror = 0.0")


def test_known_models_are_found_at_their_redshift_and_distance(run_of, objects, tmp_path):
    rows, truth = objects
    lost = pdf_analysis.run(run_of(rows, exact), tmp_path / "out", options=BRUTE)
    assert lost == []
    found = read_results(tmp_path / "out/results.fits")
    assert list(found["id"]) == [row["id"] for row in rows]
    np.testing.assert_allclose(found["best.chi_square"], 0, atol=1e-9)
    for row, expected in enumerate(truth):
        for name, value in expected.items():
            close = pytest.approx(value, rel=1e-9, abs=1e-12)
            assert found[f"best.{name}"][row] == close, (row, name)
    for band, name in NAMES.items():
        np.testing.assert_allclose(found[f"best.{name}"], [row[name] for row in rows], rtol=1e-9)
        assert f"best.{band}" not in found
    np.testing.assert_array_equal(found["best.universe.redshift"], [0, 0, 0.04, 0.04, 0.1])
    age = [WMAP7.age(z).to_value("Myr") for z in (0, 0, 0.04, 0.04, 0.1)]
    for end in ("old", "young"):
        screen = found[f"best.attenuation.E_BVs.stellar.{end}"]
        for part in ("continuum", "lines"):
            gas = found[f"best.attenuation.E_BVs.nebular.{part}_{end}"]
            np.testing.assert_array_equal(gas, screen)
    np.testing.assert_allclose(found["best.universe.age"], age)


def test_models_older_than_the_universe_are_left_out(run_of, objects, tmp_path):
    rows, _ = objects
    # Errors far above the fluxes: all models count alike.
    blind = [
        {k: (1e3 * abs(row[k[:-4]]) if k.endswith("_err") else v) for k, v in row.items()}
        for row in rows
    ]
    pdf_analysis.run(run_of(blind, exact), tmp_path / "out", options=BRUTE)
    ages = read_results(tmp_path / "out/results.fits")["bayes.sfh.age"]
    # 13,000 Myr is above the age of the universe at redshift 0.1 (12,444 Myr) and 0.06.
    assert WMAP7.age(0.1).to_value("Myr") < 13000 < WMAP7.age(0.04).to_value("Myr")
    assert ages[4] == pytest.approx(2000, rel=1e-12)
    assert (ages[:4] > 5000).all()


def test_a_grid_of_nothing_but_older_models_is_refused(run_of, objects, tmp_path):
    rows, _ = objects
    configuration = run_of(rows, lambda text: text.replace("age = 2000, 13000", "age = 13000"))
    with pytest.raises(DataError, match="all ages of the grid are above that of the universe at"):
        pdf_analysis.run(configuration, tmp_path / "out", options=BRUTE)


def test_columns_and_units_are_those_of_cigale(run_of, objects, tmp_path):
    rows, _ = objects

    def some(text):
        return text.replace("variables =", "variables = sfh.sfr, dust.mass_log, dust.umin")

    pdf_analysis.run(run_of(rows, some), tmp_path / "out", options=BRUTE)
    table = astropy.table.Table.read(tmp_path / "out/results.fits")
    bayes = [name for name in table.colnames if name.startswith("bayes.")]
    wanted = sorted(["sfh.sfr", "dust.mass_log", "dust.umin", *NAMES.values()])
    assert bayes == [f"bayes.{name}{end}" for name in wanted for end in ("", "_err")]
    assert table.colnames[0] == "id"
    after = table.colnames[1 + len(bayes) :]
    assert after[:2] == ["best.chi_square", "best.reduced_chi_square"]
    assert after[-6:] == [f"best.{name}" for name in NAMES.values()]
    units = {
        "bayes.sfh.sfr": "solMass / yr",
        "best.dust.mass": "kg",
        "best.dust.luminosity": "W",
        "best.stellar.m_star": "solMass",
        "best.universe.luminosity_distance": "m",
        "bayes.FUV": "mJy",
        "bayes.FUV_err": "mJy",
    }
    for name, unit in units.items():
        assert table[name].unit == astropy.units.Unit(unit), name
    # The log of a posterior is not that of its mean, but near it.
    log = np.log10(table["best.dust.mass"])
    np.testing.assert_allclose(table["bayes.dust.mass_log"], log, atol=0.5)
    observations = astropy.table.Table.read(tmp_path / "out/observations.fits")
    assert observations.colnames[:5] == ["id", "redshift", "distance", "FUV", "FUV_err"]
    np.testing.assert_allclose(
        observations["FUV_err"], np.hypot(0.1, 0.001) * observations["FUV"], rtol=1e-12
    )


def test_objects_that_cannot_be_fitted_stay_with_no_numbers(run_of, objects, tmp_path):
    rows, _ = objects
    dark = {"id": "dark", "redshift": 0.0, "distance": 3.0}
    lost = pdf_analysis.run(run_of([rows[0], dark, rows[2]]), tmp_path / "out", options=BRUTE)
    assert lost == ["dark: no flux in a band that the fit sees"]
    found = read_results(tmp_path / "out/results.txt")
    assert list(found["id"]) == ["near", "dark", "far"]
    for name, column in found.items():
        if name != "id":
            assert np.isfinite(column[[0, 2]]).all(), name
            assert np.isnan(column[1]), name
    # Nothing but such objects.
    pdf_analysis.run(run_of([dark]), tmp_path / "out", options=BRUTE)
    assert np.isnan(read_results(tmp_path / "out/results.fits")["bayes.sfh.sfr"]).all()


def test_redshift_of_the_configuration_is_that_of_all(run_of, objects, tmp_path):
    rows, _ = objects

    def fixed(text):
        return text.replace("redshift =\n", "redshift = 0.04\n")

    pdf_analysis.run(run_of(rows, fixed), tmp_path / "out", options=BRUTE)
    found = read_results(tmp_path / "out/results.fits")
    np.testing.assert_array_equal(found["best.universe.redshift"], 0.04)


@pytest.mark.parametrize(
    ("change", "edit", "message"),
    [
        ({"redshift": -1.0}, None, "near has no redshift of 0 or more"),
        ({"redshift": NAN}, None, "near has no redshift of 0 or more"),
        ({"redshift": 0.3}, None, "redshift 0.3 is outside 0 to 0.1"),
        ({"distance": -2.0}, None, "gives near a distance of -2"),
        ({}, ("variables =", "variables = agn.fracAGN"), "variables names agn.fracAGN, which"),
        ({}, ("FUV, FUV_err", "NUV, NUV_err"), "has no column NUV, which bands names"),
    ],
)
def test_refusals_are_one_sentence(run_of, objects, tmp_path, change, edit, message):
    rows = [objects[0][0] | change]
    configuration = run_of(rows, (lambda text: text.replace(*edit)) if edit else str)
    with pytest.raises(DataError, match=re.escape(message)) as fault:
        pdf_analysis.run(configuration, tmp_path / "out", options=BRUTE)
    assert "\n" not in str(fault.value)


def test_best_models_have_the_fluxes_of_the_results(run_of, objects, tmp_path):
    rows, _ = objects
    configuration = run_of(rows, exact)
    assert configuration.save_best_sed
    pdf_analysis.run(configuration, tmp_path / "out", options=BRUTE)
    found = read_results(tmp_path / "out/results.fits")
    curves = load_curves(BANDS)
    for row, name in enumerate(found["id"]):
        spectrum = astropy.table.Table.read(tmp_path / f"out/{name}_best_model.fits")
        wavelength = np.asarray(spectrum["wavelength"], float)
        total = np.asarray(spectrum["L_lambda_total"], float)
        parts = spectrum.colnames[3:]
        np.testing.assert_allclose(sum(spectrum[part] for part in parts), total, rtol=1e-12)
        # Dust emits what is lost.
        lost = -np.trapezoid(np.asarray(spectrum["attenuation"], float), wavelength)
        assert np.trapezoid(np.asarray(spectrum["dust"], float), wavelength) == pytest.approx(
            lost, rel=5e-3
        )
        power = found["best.dust.luminosity"][row]
        # The spectrum begins a node before the dust templates do.
        assert np.trapezoid(spectrum["dust"], wavelength) == pytest.approx(power, rel=1e-5)
        # Through the curves, by an integral of its own.
        fnu = np.asarray(spectrum["Fnu"], float)
        for band, label in NAMES.items():
            nodes, response = curves[band].wavelength_nm, curves[band].transmission
            fine = np.unique(np.concatenate([wavelength, np.linspace(nodes[0], nodes[-1], 20000)]))
            weight = np.interp(fine, nodes, response, left=0, right=0)
            flambda = np.interp(fine, wavelength, fnu / wavelength**2)
            mean = np.trapezoid(weight * flambda, fine) / np.trapezoid(weight, fine)
            pivot2 = np.trapezoid(weight, fine) / np.trapezoid(weight / fine**2, fine)
            expected = pytest.approx(found[f"best.{label}"][row], rel=3e-3)
            assert mean * pivot2 == expected, (name, band)


# --- Mock analysis -------------------------------------------------------------------------------


def test_mock_analysis_refits_the_best_models_with_noise(run_of, objects, tmp_path):
    rows, _ = objects
    rows = [dict(row) for row in rows]
    rows[0]["PSW_HIPE_err"] *= -1  # an upper limit
    rows[2]["WISE3"] = rows[2]["WISE3_err"] = NAN
    configuration = run_of(rows, lambda text: text.replace("lim_flag = False", "lim_flag = full"))
    pdf_analysis.run(configuration, tmp_path / "out", options=BRUTE)
    out = tmp_path / "out"
    expected = {
        f"{name}{mock}.{suffix}"
        for name in ("results", "observations")
        for mock in ("", "_mock")
        for suffix in ("fits", "txt")
    }
    expected |= {f"{row['id']}_best_model.fits" for row in rows}
    assert {path.name for path in out.iterdir()} == expected
    best, mock = read_results(out / "results.fits"), read_results(out / "results_mock.fits")
    seen = read_results(out / "observations.fits")
    drawn = read_results(out / "observations_mock.fits")
    assert list(mock) == list(best)
    pulls = []
    for name in NAMES.values():
        np.testing.assert_array_equal(drawn[f"{name}_err"], seen[f"{name}_err"])
        good = seen[f"{name}_err"] > 0
        pulls += ((drawn[name] - best[f"best.{name}"]) / seen[f"{name}_err"])[good].tolist()
        np.testing.assert_array_equal(drawn[name][~good], seen[name][~good])
    assert len(pulls) == 28
    assert 0.5 < np.std(pulls) < 1.5
    # Of unit variance they are compatible with the models they came from.
    assert (mock["best.chi_square"] < 30).all()


def test_mock_noise_of_an_object_is_its_own():
    names = np.array([f"G{k}" for k in range(400)], dtype=object)
    observed = Table({"id": names, "A": np.ones(400), "A_err": np.full(400, 0.2)})
    fits = Table({"id": names, "best.A": np.full(400, 3.0)})
    drawn = pdf_analysis.mock_observations(observed, fits, ["A"])["A"]
    assert np.mean(drawn) == pytest.approx(3.0, abs=4 * 0.2 / 20)
    assert np.std(drawn) == pytest.approx(0.2, rel=0.15)
    back = slice(None, None, -1)
    again = pdf_analysis.mock_observations(observed.rows(back), fits.rows(back), ["A"])["A"]
    np.testing.assert_array_equal(again[back], drawn)


# --- The command line ----------------------------------------------------------------------------

CLI = [sys.executable, str(Path(cli.__file__))]


def environment():
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


def test_command_line_fits(run_of, objects, tmp_path):
    run_of(objects[0])
    done = subprocess.run(
        [*CLI, "fit", "--method", "brute", "--threads", "1"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "128 models, 6 bands" in done.stderr
    assert "note: bc03: the ionising photons" in done.stderr
    assert "SEDs fitted: 2 of 2" in done.stdout
    found = read_results(tmp_path / "out/results.txt")
    assert list(found["id"]) == [row["id"] for row in objects[0]]


def test_command_line_says_what_is_wrong_in_one_sentence(tmp_path, capsys):
    (tmp_path / "pcigale.ini").write_text(INI.replace("bc03", "bpassv2"))
    assert cli.main(["fit", "--config", str(tmp_path / "pcigale.ini")]) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "asks for what dustcast does not know: the module bpassv2" in text


def test_command_line_converts_a_grid(run_of, objects, tmp_path, capsys):
    import yaml

    from dustcast.sed.grid import read_spec

    configuration = run_of(objects[0])
    config = ["--config", str(tmp_path / "pcigale.ini")]
    assert cli.main(["convert", *config]) == 0
    assert read_spec(yaml.safe_load(capsys.readouterr().out)) == configuration.spec
    assert cli.main(["convert", *config, "--output", str(tmp_path / "grid.yaml")]) == 0
    assert read_spec(yaml.safe_load((tmp_path / "grid.yaml").read_text())) == configuration.spec


def test_bar_shows_progress_and_time_left(capsys):
    clock = iter([0.0, 10.0, 10.01, 20.0]).__next__
    bar = cli.Bar(4, "SEDs fitted", clock=clock, width=4)
    bar(1, 4)
    bar(2, 4)  # too soon after the last
    bar(4, 4)
    out = capsys.readouterr().out
    assert out.endswith("\n")
    assert [line.rstrip() for line in out.split("\r")[1:]] == [
        "[#   ] 1 of 4 SEDs fitted, 0.1 per s, 0:30 left",
        "[####] 4 of 4 SEDs fitted, 0.2 per s",
    ]


KILLED = """
import sys, time
sys.path.insert(0, {scripts!r})
from dustcast.sed import pdf_analysis
from dustcast.sed.configuration import read_configuration
from dustcast.sed.engine import FitOptions
def slow(n, label):
    return lambda done, total: time.sleep(1.0)
pdf_analysis.run(
    read_configuration({ini!r}), {out!r}, options=FitOptions(method="brute"), progress=slow
)
"""


def test_a_killed_run_continues(run_of, objects, tmp_path):
    configuration = run_of(objects[0])
    out, ini = tmp_path / "out", tmp_path / "pcigale.ini"
    scripts = str(Path(cli.__file__).parents[2])
    code = KILLED.format(scripts=scripts, ini=str(ini), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", code], env=environment())
    try:
        limit = time.monotonic() + 60
        while not list(out.glob(".dustcast/fits/fits_*.parquet")):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < limit
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "results.fits").exists()
    counted = []

    def progress(n, label):
        return lambda done, total: counted.append(total)

    pdf_analysis.run(configuration, out, options=BRUTE, progress=progress)
    # Of three redshifts, and a mock analysis of three, the first was there.
    assert len(counted) == 5
    pdf_analysis.run(configuration, tmp_path / "undisturbed", options=BRUTE)
    for path in sorted((tmp_path / "undisturbed").glob("*.txt")):
        assert path.read_bytes() == (out / path.name).read_bytes()
    assert not (out / ".dustcast").exists()

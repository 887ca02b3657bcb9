"""Fits of a photometry table against sums over all models, written from the definition."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dustcast.sed import engine, fit
from dustcast.sed.fit import fit_file, fit_table
from dustcast.sed.spec import FactorisedGrid, Quantity
from dustcast.tables import DataError, Table, read_table, write_table

BANDS = ("GALEX_FUV", "SDSS_r", "WISE_3.4", "WISE_12", "PACS_100", "SPIRE_250", "SPIRE_500")
FITTED = [band for band in BANDS if band != "SPIRE_500"]
N_STELLAR, N_DUST = 50, 40
NAN = float("nan")
ONE_BAND = 5  # row of the galaxy with a single flux
PARSECS = 1e5  # 1 Mpc over 10 pc


def make_grid():
    """2,000 models; dust shines from WISE 12 on."""
    rng = np.random.default_rng(11)
    colour = rng.normal(size=(N_STELLAR, 1)) * np.array([1.5, 0.5, 0.1, 0.1, 0, 0, 0])
    stellar = 1e-9 * np.array([1, 8, 10, 3, 0.02, 1e-3, 1e-4]) * 10 ** (0.3 * colour)
    dusty = (
        1e-35
        * np.array([0, 0, 0.01, 1, 30, 8, 1])
        * 10 ** (0.3 * rng.normal(size=(N_DUST, 1)) * np.array([0, 0, 0, 1, -0.3, 0.6, 1.0]))
    )
    luminosity = 1e26 * rng.uniform(0, 1, N_STELLAR) ** 2
    luminosity[:3] = 0.0
    return FactorisedGrid(
        BANDS,
        stellar,
        luminosity,
        dusty,
        quantities=(
            Quantity("stellar.m_star", 1, "solMass", stellar=rng.uniform(0.4, 0.9, N_STELLAR)),
            Quantity("sfh.integrated", 1, "solMass"),
            Quantity("dust.luminosity", 1, "W", stellar=luminosity),
            Quantity(
                "dust.mass", 1, "kg", stellar=luminosity, dust=rng.uniform(1, 40, N_DUST) * 1e4
            ),
            Quantity("attenuation.V_B90", 0, "mag", stellar=rng.uniform(0, 3, N_STELLAR)),
            Quantity("dust.umin", 0, "", dust=rng.uniform(0.1, 50, N_DUST)),
            Quantity(
                "made.up", 0, "", stellar=rng.normal(size=N_STELLAR), dust=rng.normal(size=N_DUST)
            ),
        ),
        meta={"hash": "tiny"},
    )


GRID = make_grid()


def photometry(n_galaxies=20):
    """Galaxies between the models, with gaps, negative fluxes, upper limits and one band only."""
    rng = np.random.default_rng(12)
    flux = np.empty((n_galaxies, len(BANDS)))
    for row in range(n_galaxies):
        i, j = rng.integers(N_STELLAR, size=2), rng.integers(N_DUST, size=2)
        models = GRID.stellar_flux[i] + GRID.luminosity[i, None] * GRID.dust_flux[j]
        flux[row] = 10 ** rng.uniform(8, 11) * models.mean(axis=0)
    error = flux * rng.choice([0.02, 0.1, 0.4], size=flux.shape)
    flux += error * rng.normal(size=flux.shape)
    missing = rng.random(flux.shape) < 0.15
    flux[missing] = error[missing] = NAN
    flux[1, 4] = -0.5 * error[0, 4] if np.isfinite(error[0, 4]) else -1.0
    error[1, 4] = 1.5 * abs(flux[1, 4])
    for row, column in ((2, 5), (3, 0), (4, 3)):  # upper limits
        error[row, column] = -0.3 * abs(np.nan_to_num(flux[row, column], nan=5.0))
        flux[row, column] = abs(np.nan_to_num(flux[row, column], nan=5.0))
    flux[ONE_BAND], error[ONE_BAND] = NAN, NAN
    flux[ONE_BAND, 2], error[ONE_BAND, 2] = 3.0, 0.3
    names = np.array([f"G{row}" for row in range(n_galaxies)], dtype=object)
    columns = {
        "id": np.array([f"{name}/global" for name in names], dtype=object),
        "galaxy": names,
        "scale": np.full(n_galaxies, "global", dtype=object),
        "distance": rng.uniform(1, 40, n_galaxies),
    }
    for column, band in enumerate(BANDS):
        columns[band], columns[f"{band}_err"] = flux[:, column], error[:, column]
    return Table(columns)


def by_hand(table, row, bands, *, additional=0.1, limits=True):
    """Return chi2 and scale of every model of one galaxy, with loops over models and bands."""
    chi2, scale = {}, {}
    data, upper = [], []
    for column, band in enumerate(BANDS):
        f, e = float(table[band][row]), float(table[f"{band}_err"][row])
        if band not in bands or math.isnan(f) or math.isnan(e) or e == 0:
            continue
        if e > 0:
            data.append((column, f, math.sqrt(e**2 + (additional * f) ** 2)))
        elif limits:
            upper.append((column, f, -e))
    for i in range(N_STELLAR):
        for j in range(N_DUST):
            model = [
                float(GRID.stellar_flux[i, b] + GRID.luminosity[i] * GRID.dust_flux[j, b])
                for b in range(len(BANDS))
            ]
            a = math.fsum(f * model[b] / s**2 for b, f, s in data) / math.fsum(
                model[b] ** 2 / s**2 for b, f, s in data
            )
            if a <= 0:
                continue
            scale[i, j] = a
            chi2[i, j] = math.fsum(((f - a * model[b]) / s) ** 2 for b, f, s in data)
            for b, f, s in upper:
                # An upper limit: the chance of a measurement below it.
                chance = 0.5 * math.erfc(-(f - a * model[b]) / s / math.sqrt(2))
                chi2[i, j] += -2 * math.log(chance) if chance > 0 else math.inf
    return chi2, scale, len(data) + len(upper)


def moments(values, weights):
    total = math.fsum(weights)
    mean = math.fsum(w * v for w, v in zip(weights, values)) / total
    spread = math.fsum(w * (v - mean) ** 2 for w, v in zip(weights, values)) / total
    return mean, math.sqrt(spread)


def expected_row(table, row, bands, **options):
    """Return what a fit must say of one galaxy: column to value."""
    chi2, scale, n_bands = by_hand(table, row, bands, **options)
    own = (float(table["distance"][row]) * PARSECS) ** 2
    best = min(chi2, key=chi2.get)
    keys = list(chi2)
    weights = [math.exp(-0.5 * (chi2[key] - chi2[best])) for key in keys]
    found = {"best.chi_square": chi2[best], "n_bands": n_bands}
    found["best.reduced_chi_square"] = chi2[best] / (n_bands - 1) if n_bands > 1 else NAN

    def value(quantity, i, j):
        g = 1.0 if quantity.stellar is None else float(quantity.stellar[i])
        h = 1.0 if quantity.dust is None else float(quantity.dust[j])
        return (scale[i, j] * own) ** quantity.power * g * h

    for quantity in GRID.quantities:
        mean, spread = moments([value(quantity, *key) for key in keys], weights)
        if quantity.power:
            spread = max(spread, 0.05 * abs(mean))  # CIGALE's floor of extensive quantities
        found[f"bayes.{quantity.name}"] = mean
        found[f"bayes.{quantity.name}_err"] = spread
        found[f"best.{quantity.name}"] = value(quantity, *best)
    for b, band in enumerate(BANDS):
        fluxes = [
            scale[i, j] * (GRID.stellar_flux[i, b] + GRID.luminosity[i] * GRID.dust_flux[j, b])
            for i, j in keys
        ]
        found[f"bayes.{band}"], found[f"bayes.{band}_err"] = moments(fluxes, weights)
        found[f"best.{band}"] = fluxes[keys.index(best)]
    return found


def screen(**options):
    return engine.FitOptions(method="screen", **options)


@pytest.mark.parametrize(
    ("bands", "options", "by"),
    [
        (FITTED, {}, {}),
        (list(BANDS[:4]), {}, {}),
        (FITTED, {"additional_error": 0.03}, {"additional": 0.03}),
        (FITTED, {"upper_limits": "none"}, {"limits": False}),
    ],
    ids=["full", "short", "less added error", "limits left out"],
)
def test_every_number_of_a_fit_is_the_sum_over_all_models(bands, options, by):
    table = photometry()
    fit = fit_table(table, GRID, bands, screen(**options))
    assert list(fit["id"]) == list(table["id"])
    for row in range(table.n_rows):
        expected = expected_row(table, row, bands, **by)
        assert set(expected) | {"id", "galaxy", "scale"} == set(fit)
        if row == ONE_BAND:
            # All models fit without residual: which is best, and how well, is rounding.
            expected = {
                name: value
                for name, value in expected.items()
                if name.startswith("bayes") and name != "bayes.WISE_3.4_err"
            }
        for name, value in expected.items():
            # One detection fixes its own flux: the spread is rounding, of the mean.
            mean = expected[name.removesuffix("_err")]
            rounding = 1e-15 * abs(mean) if name.endswith("_err") else 0
            if name.endswith("_err") and value < 1e-6 * abs(mean):
                # The posterior is one model: what is left is the rounding of a variance, and the
                # square root makes of that of double precision 1.5e-8 of the mean.
                rounding = np.sqrt(np.finfo(float).eps) * abs(mean)
            close = pytest.approx(value, rel=1e-10, abs=rounding, nan_ok=True)
            assert fit[name][row] == close, (row, name)


@pytest.mark.parametrize("method", ["pruned", "brute"])
def test_other_methods_agree(method):
    """Pruned may leave out what lies 50 in chi2 above the best: exp(-25) of 2,000 models."""
    table = photometry().rows(np.arange(20) != ONE_BAND)
    reference = fit_table(table, GRID, FITTED, screen())
    fit = fit_table(table, GRID, FITTED, engine.FitOptions(method=method))
    assert list(fit) == list(reference)
    for name in list(fit)[3:]:
        rtol = 1e-10 if method == "brute" else 1e-6
        np.testing.assert_allclose(fit[name], reference[name], rtol=rtol, err_msg=name)


def test_bands_that_are_not_fitted_do_not_matter_and_get_a_flux():
    table = photometry()
    fit = fit_table(table, GRID, FITTED, screen())
    table["SPIRE_500"] = table["SPIRE_500"] * 100
    again = fit_table(table, GRID, FITTED, screen())
    for name in list(fit)[3:]:
        np.testing.assert_array_equal(fit[name], again[name])
    assert (fit["bayes.SPIRE_500"] > 0).all()
    del table["SPIRE_500"]
    fit_table(table, GRID, FITTED, screen())


def test_distance_scales_what_is_extensive_and_nothing_else():
    table = photometry()
    near = fit_table(table, GRID, FITTED, screen())
    table["distance"] = table["distance"] * 3
    far = fit_table(table, GRID, FITTED, screen())
    extensive = {q.name for q in GRID.quantities if q.power}
    for name in list(near)[3:]:
        factor = 9 if name.split(".", 1)[-1].removesuffix("_err") in extensive else 1
        np.testing.assert_allclose(far[name], factor * near[name], rtol=1e-12, err_msg=name)


def test_units_and_meta():
    fit = fit_table(photometry(), GRID, FITTED, screen())
    assert fit.units["bayes.dust.mass_err"] == "kg"
    assert fit.units["best.SPIRE_500"] == "mJy"
    assert fit.meta["grid"] == {"hash": "tiny"}
    assert fit.meta["exclusions"] == []


def test_one_band_gives_the_prior():
    """A single band fits every model: all count alike, and reduced chi2 has no meaning."""
    table = photometry()
    fit = fit_table(table, GRID, FITTED, screen())
    assert fit["n_bands"][5] == 1
    assert fit["best.chi_square"][5] == pytest.approx(0, abs=1e-20)
    assert np.isnan(fit["best.reduced_chi_square"][5])
    dust = next(q for q in GRID.quantities if q.name == "dust.umin").dust
    assert fit["bayes.dust.umin"][5] == pytest.approx(dust.mean(), rel=1e-10)
    assert fit["bayes.dust.umin_err"][5] == pytest.approx(dust.std(), rel=1e-10)
    assert fit["bayes.WISE_3.4"][5] == pytest.approx(3.0, rel=1e-10)


def test_galaxies_that_cannot_be_fitted_are_left_out_with_their_reason():
    table = photometry()
    for band in BANDS:
        table[band][[3, 7]] = NAN
    table["SPIRE_500"][7], table["SPIRE_500_err"][7] = 1.0, 0.1  # not among the fitted
    for band in BANDS:
        table[band][9] = -abs(np.nan_to_num(table[band][9], nan=1.0))
        table[f"{band}_err"][9] = 0.1 * abs(table[band][9])
    fit = fit_table(table, GRID, FITTED, screen())
    assert [f"G{k}" for k in range(20) if k not in (3, 7, 9)] == list(fit["galaxy"])
    no_band = "no flux in a band that the fit sees"
    negative = "no model of positive mass fits: negative fluxes dominate"
    assert fit.meta["exclusions"] == [
        ["G3", "", "global", "fit_sed", no_band],
        ["G7", "", "global", "fit_sed", no_band],
        ["G9", "", "global", "fit_sed", negative],
    ]
    # The others are fitted as if alone.
    alone = fit_table(photometry().rows(np.array([0])), GRID, FITTED, screen())
    assert alone["bayes.dust.mass"][0] == fit["bayes.dust.mass"][0]


def test_an_empty_table_stays_empty():
    fit = fit_table(photometry().rows(np.zeros(20, dtype=bool)), GRID, FITTED, screen())
    assert fit.n_rows == 0
    assert "bayes.dust.mass" in fit
    assert fit.meta["reason"] == "the photometry table is empty"


def test_an_empty_product_is_not_an_error_and_its_reason_goes_on(tmp_path):
    empty = Table(meta={"reason": "no image of any input band"})
    write_table(tmp_path / "fit.parquet", fit_table(empty, GRID, FITTED, screen()))
    fit = read_table(tmp_path / "fit.parquet", required=("id", "bayes.dust.mass", "n_bands"))
    assert fit.n_rows == 0
    assert fit.meta["reason"] == "no image of any input band"


def test_pixels_that_cannot_be_fitted_share_a_row():
    table = photometry().rows(np.arange(4))
    table["galaxy"] = np.full(4, "G0", dtype=object)
    table["scale"] = np.full(4, "18arcsec", dtype=object)
    for band in BANDS:
        table[band] = np.full(4, NAN)
    fit = fit_table(table, GRID, FITTED, screen())
    reason = "no flux in a band that the fit sees"
    assert fit.meta["exclusions"] == [["G0", "", "18arcsec", "fit_sed", reason]]
    assert fit.meta["reason"] == reason
    assert fit.n_rows == 0


def test_progress_is_told_to_the_end():
    told = []
    fit_table(photometry(), GRID, FITTED, screen(), progress=lambda done, all_: told.append(done))
    assert told[-1] == 20
    assert told == sorted(told)


def broken(name, row, value):
    table = photometry()
    table[name] = table[name].copy()
    table[name][row] = value
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (broken("distance", 4, -3.0), "gives G4 a distance of -3.0 Mpc: it must be above 0"),
        (broken("distance", 4, 0.0), "gives G4 a distance of 0.0 Mpc"),
        (broken("distance", 4, NAN), "gives G4 a distance of nan Mpc"),
        (broken("distance", 4, math.inf), "gives G4 a distance of inf Mpc"),
        (broken("WISE_12", 6, math.inf), "has an infinite WISE_12 for G6/global: leave the field"),
        (broken("WISE_12_err", 6, -math.inf), "has an infinite WISE_12_err for G6/global"),
        (broken("id", 6, "G2/global"), "has the id G2/global twice: remove one row"),
        (
            Table({k: v for k, v in photometry().items() if k != "WISE_12_err"}),
            "lacks the column WISE_12_err: make it anew",
        ),
        (
            Table({k: v for k, v in photometry().items() if k != "distance"}),
            "lacks the column distance: make it anew",
        ),
    ],
)
def test_wrong_tables_are_refused_in_one_sentence(table, message):
    with pytest.raises(DataError, match=message) as fault:
        fit_table(table, GRID, FITTED, screen())
    assert str(fault.value).startswith("the photometry table ")
    assert "\n" not in str(fault.value)


def test_a_band_that_the_grid_lacks_is_refused():
    table = photometry()
    table["PACS_70"], table["PACS_70_err"] = table["PACS_100"], table["PACS_100_err"]
    with pytest.raises(DataError, match="the grid has no fluxes in PACS_70: add the band to the r"):
        fit_table(table, GRID, [*FITTED, "PACS_70"], screen())


# --- Logarithms ----------------------------------------------------------------------------------


def test_logarithms_are_those_of_every_model():
    table = photometry().rows(np.arange(4))
    found = fit_table(table, GRID, FITTED, screen(error_floor_log=0.0), logs=["stellar.m_star"])
    mass = GRID.quantities[0].stellar
    for row in range(4):
        chi2, scale, _ = by_hand(table, row, FITTED)
        own = (float(table["distance"][row]) * PARSECS) ** 2
        weights = [math.exp(-0.5 * (value - min(chi2.values()))) for value in chi2.values()]
        values = [math.log10(scale[key] * own * mass[key[0]]) for key in chi2]
        mean, spread = moments(values, weights)
        assert found["bayes.stellar.m_star_log"][row] == pytest.approx(mean, rel=1e-10)
        assert found["bayes.stellar.m_star_log_err"][row] == pytest.approx(spread, rel=1e-6)


def test_posteriors_of_a_parameter_are_sums_over_all_models():
    table = photometry().rows(np.arange(4))
    levels = np.arange(N_DUST) % 3
    grid = dataclasses.replace(GRID, dust_parameters={"dust.gamma": 0.1 * levels})
    found = fit_table(table, grid, FITTED, marginals=["dust.gamma"])
    for row in range(4):
        chi2, _, _ = by_hand(table, row, FITTED)
        least = min(chi2.values())
        weights = {key: math.exp(-0.5 * (value - least)) for key, value in chi2.items()}
        for level in range(3):
            share = math.fsum(w for (_, j), w in weights.items() if levels[j] == level)
            share /= math.fsum(weights.values())
            pdf = found[f"pdf.dust.gamma={0.1 * level:g}"][row]
            assert pdf == pytest.approx(share, rel=1e-7, abs=1e-10)


def test_a_posterior_of_no_parameter_is_refused():
    with pytest.raises(DataError, match=r"no parameter dust\.nosuch to give the posterior"):
        fit_table(photometry(), GRID, FITTED, marginals=["dust.nosuch"])


# --- From file to file, in chunks ----------------------------------------------------------------


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A photometry table on disk that is fitted in chunks of three rows."""
    monkeypatch.setattr(fit, "CHUNK_ROWS", 3)
    write_table(tmp_path / "photometry.parquet", photometry())
    return tmp_path / "photometry.parquet"


def chunk_folders(path):
    return list(path.parent.glob(".*.chunks"))


def assert_same_tables(one, two):
    assert list(one) == list(two)
    assert one.units == two.units
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_chunks_change_nothing(file):
    output = file.with_name("fit.parquet")
    told = []
    fit_file(file, output, GRID, FITTED, screen(), progress=lambda *news: told.append(news))
    found, expected = read_table(output), fit_table(photometry(), GRID, FITTED, screen())
    assert_same_tables(found, expected)
    assert found.meta.pop("fit")
    assert found.meta == expected.meta
    assert told[-1] == (20, 20)
    assert told == sorted(told)
    assert not chunk_folders(file)


def test_exclusions_of_all_chunks_are_kept(file):
    table = photometry()
    for band in BANDS:
        table[band][[0, 1, 2, 7]] = NAN
    write_table(file, table)
    output = file.with_name("fit.parquet")
    fit_file(file, output, GRID, FITTED, screen())
    found, expected = read_table(output), fit_table(table, GRID, FITTED, screen())
    assert [row[0] for row in found.meta["exclusions"]] == ["G0", "G1", "G2", "G7"]
    assert_same_tables(found, expected)
    assert "reason" not in found.meta


def test_faults_of_late_rows_end_the_fit_before_it_begins(file):
    write_table(file, broken("id", 19, "G2/global"))
    with pytest.raises(DataError, match="has the id G2/global twice"):
        fit_file(file, file.with_name("fit.parquet"), GRID, FITTED, screen())
    write_table(file, broken("distance", 19, -1.0))
    with pytest.raises(DataError, match="gives G19 a distance of"):
        fit_file(file, file.with_name("fit.parquet"), GRID, FITTED, screen())
    assert not chunk_folders(file)


INTERRUPTED = """
import sys, time
sys.path[:0] = {paths!r}
from dustcast.sed import fit
import test_fit
fit.CHUNK_ROWS = 3
def slow(done, total):
    time.sleep(0.05)
fit.fit_file({file!r}, {output!r}, test_fit.GRID, test_fit.FITTED, test_fit.screen(), progress=slow)
"""


def kill_in_the_middle(file, output):
    """Start a fit in another process, kill it after two chunks and return their folder."""
    paths = [str(Path(__file__).parent), str(Path(fit.__file__).parents[2])]
    code = INTERRUPTED.format(paths=paths, file=str(file), output=str(output))
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        limit = time.monotonic() + 120
        while len(list(file.parent.glob(".*.chunks/0*.parquet"))) < 2:
            assert process.poll() is None, "the fit ended before it could be killed"
            assert time.monotonic() < limit
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not output.exists()
    (folder,) = chunk_folders(file)
    return folder


def test_a_killed_fit_continues_to_the_same_bytes(file, capsys):
    output, undisturbed = file.with_name("fit.parquet"), file.with_name("whole.parquet")
    folder = kill_in_the_middle(file, output)
    kept = len(list(folder.glob("0*.parquet")))
    assert 2 <= kept < 7
    told = []
    fit_file(file, output, GRID, FITTED, screen(), progress=lambda *news: told.append(news))
    assert f"continuing: {3 * kept} of 20 rows were fitted before" in capsys.readouterr().out
    assert told[-1] == (20 - 3 * kept, 20 - 3 * kept)
    fit_file(file, undisturbed, GRID, FITTED, screen())
    assert output.read_bytes() == undisturbed.read_bytes()
    assert not chunk_folders(file)


def test_chunks_of_another_fit_are_never_used(file):
    output = file.with_name("fit.parquet")
    folder = kill_in_the_middle(file, output)
    other = screen(additional_error=0.03)
    fit_file(file, output, GRID, FITTED, other)
    assert not folder.exists()
    assert_same_tables(read_table(output), fit_table(photometry(), GRID, FITTED, other))


@pytest.mark.parametrize("what", ["photometry", "grid", "bands", "options", "logs", "chunk"])
def test_key_knows_what_the_fit_depends_on(file, monkeypatch, what):
    key = fit._key(file, GRID, FITTED, screen(), ())
    assert key == fit._key(file, make_grid(), list(FITTED), screen(threads=2), ())
    arguments = {"photometry": file, "grid": GRID, "bands": FITTED, "options": screen(), "logs": ()}
    if what == "photometry":
        write_table(file, broken("WISE_12", 3, 7.0))
    elif what == "chunk":
        monkeypatch.setattr(fit, "CHUNK_ROWS", 4)
    else:
        other = make_grid()
        other.stellar_flux[3, 2] *= 1.0000001
        arguments[what] = {
            "grid": other,
            "bands": FITTED[1:],
            "options": screen(tolerance=40.0),
            "logs": ("stellar.m_star",),
        }[what]
    assert fit._key(*arguments.values()) != key


def test_a_finished_fit_is_not_made_again(file):
    output = file.with_name("fit.parquet")
    fit_file(file, output, GRID, FITTED, screen())
    stamp = os.stat(output).st_mtime_ns
    fit_file(file, output, GRID, FITTED, screen())
    assert os.stat(output).st_mtime_ns == stamp
    fit_file(file, output, GRID, FITTED, screen(additional_error=0.2))
    assert os.stat(output).st_mtime_ns != stamp

"""The figure of simulated galaxies over real ones."""

import numpy as np
import pytest
from figure_samples import text, words

from dustcast.figures import style
from dustcast.figures.population import COLOURS, population
from dustcast.tables import DataError, Table

BANDS = {band for pair in COLOURS for colour in pair for band in colour}


def galaxies(n, seed, bands=BANDS):
    """Return galaxies whose fluxes are one decade apart at most, in fluxes and in targets."""
    rng = np.random.default_rng(seed)
    columns = {"galaxy": text(f"G{k}" for k in range(n))}
    for band in sorted(bands):
        columns |= {band: 10 ** rng.uniform(0, 0.5, n), f"{band}_err": np.full(n, 0.1)}
    targets = {target: rng.normal(size=n) for target in style.TARGETS}
    return Table(columns | targets)


def test_colours_and_targets():
    real, mock = galaxies(200, 1), galaxies(90, 2)
    figure = population(real, mock, mock)
    assert len(figure.axes) == 6
    for ax in figure.axes[:3]:
        assert [len(part.get_offsets()) for part in ax.collections] == [200, 90]
        assert "WISE 1" in ax.get_xlabel() + ax.get_ylabel()
    upper = np.log10(mock["GALEX_NUV"] / mock["WISE_3.4"])
    np.testing.assert_allclose(figure.axes[0].collections[1].get_offsets()[:, 0], upper)
    assert "DustPedia (200 galaxies)" in words(figure)
    assert "simulated (90 galaxies)" in words(figure)


def test_faint_fluxes_have_no_colour():
    real, mock = galaxies(200, 1), galaxies(90, 2)
    mock["WISE_12_err"] = np.where(np.arange(90) < 60, 100.0, 0.1)
    seen = population(real, mock, mock).axes[0].collections[1].get_offsets()
    assert np.isfinite(np.ma.filled(seen, np.nan)).all(axis=1).sum() == 30


def test_bands_and_targets_that_are_missing():
    real, mock = galaxies(50, 1), galaxies(50, 2, bands=BANDS - {"SPIRE_250"})
    assert "lacks\nthese bands" in words(population(real, mock, mock))
    with pytest.raises(DataError, match="the survey lacks the column Td"):
        population(real, mock, Table({"sLd": real["sLd"], "sMd": real["sMd"]}))

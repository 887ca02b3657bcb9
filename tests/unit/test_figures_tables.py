"""The page of metrics, and the captions of the report."""

import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from figure_samples import metrics, text

from dustcast.figures import tables
from dustcast.tables import DataError, Table

CAPTIONS = Path(__file__).parents[2] / "resources" / "captions"


class Cells(HTMLParser):
    """Rows of cells of all tables of a page, and whether tags are balanced."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta",):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.rows and self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def seeds():
    rows = [
        (experiment, regressor, target, seed)
        for experiment in ("fiducial", "no_wise")
        for regressor in ("random_forest", "ensemble")
        for target in ("sLd", "Td")
        for seed in (123, 1, 2)
        if not (experiment == "no_wise" and regressor == "ensemble" and target == "Td")
    ]
    columns = dict(zip(("experiment", "regressor", "target"), (text(c) for c in zip(*rows))))
    columns["fold_seed"] = np.array([row[3] for row in rows])
    rng = np.random.default_rng(0)
    for name in ("rmse", "r2", "me", "chi2"):
        columns[name] = rng.normal(0.3, 0.01, len(rows))
    return Table(columns)


def test_metrics_page_shows_every_number_with_its_error():
    html = tables.metrics_page(
        metrics(regressors=("random_forest", "extra_trees")),
        descriptions={"fiducial": "as in the <paper>"},
    )
    parsed = Cells(html)
    assert parsed.open == []
    assert len(parsed.rows) == 1 + 6
    assert parsed.rows[0][:4] == ["experiment", "target", "scale", "regressor"]
    # Regressors of one target stand below each other.
    assert [row[1] for row in parsed.rows[1:]] == ["log sLd"] * 2 + ["log sMd"] * 2 + ["Td"] * 2
    assert parsed.rows[1][3:] == [
        "random_forest",
        "60",
        "1\N{THIN SPACE}260",
        "0.324 ± 0.012 dex",
        "0.831 ± 0.021",
        "\N{MINUS SIGN}0.013 ± 0.010 dex",
        "1.04 ± 0.11",
    ]
    assert parsed.rows[5][6] == "0.324 ± 0.012 K"
    assert "as in the &lt;paper&gt;" in html
    assert "<script" not in html
    assert not re.search(r"(src|href)=", html)


def test_seeds_are_summarised_as_by_hand():
    table = seeds()
    summary = tables.summarise_seeds(table)
    assert summary.n_rows == 7
    for i in range(summary.n_rows):
        same = np.ones(table.n_rows, dtype=bool)
        for name in ("experiment", "regressor", "target"):
            same &= table[name] == summary[name][i]
        assert summary["n_seeds"][i] == 3
        values = table["rmse"][same]
        assert summary["rmse"][i] == pytest.approx(sum(values) / 3)
        variance = sum((value - values.mean()) ** 2 for value in values) / 2
        assert summary["rmse_std"][i] == pytest.approx(np.sqrt(variance))


def test_seeds_page_has_a_row_a_regressor_and_columns_a_target():
    html = tables.metrics_page(metrics(), seeds())
    parsed = Cells(html)
    assert parsed.open == []
    below = parsed.rows[4:]
    assert below[0] == ["", "log sLd", "Td"]
    assert below[1] == [
        "experiment", "regressor", "seeds", "RMSE [dex]", "R²", "χ²", "RMSE [K]", "R²", "χ²",
    ]  # fmt: skip
    assert [row[:3] for row in below[2:]] == [
        ["fiducial", "random_forest", "3"],
        ["fiducial", "ensemble", "3"],
        ["no_wise", "random_forest", "3"],
        ["no_wise", "ensemble", "3"],
    ]
    assert below[-1][-3:] == ["", "", ""]
    assert "(123, 1, 2)" in html


def test_one_seed_has_no_scatter_and_a_repeated_one_is_refused():
    table = seeds()
    one = table.rows(table["fold_seed"] == 123)
    assert np.all(np.isnan(tables.summarise_seeds(one)["rmse_std"]))
    assert "±" not in tables.seeds_section(one).split("<table>")[1]
    twice = table.rows(np.array([0, 0, 1]))
    with pytest.raises(DataError, match="fiducial, random_forest, sLd stands twice"):
        tables.summarise_seeds(twice)


def test_empty_tables_say_so():
    empty = metrics().rows(np.zeros(3, dtype=bool))
    empty.meta["reason"] = "no galaxy is left"
    assert "The table is empty: no galaxy is left." in tables.metrics_page(empty)
    assert "no row was given" in tables.seeds_section(seeds().rows(np.zeros(21, dtype=bool)))


def test_a_missing_column_is_named():
    table = metrics()
    del table["r2"]
    with pytest.raises(DataError, match="metrics lacks the column r2"):
        tables.metrics_page(table)


class Wildcards(dict):
    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("path", sorted(CAPTIONS.glob("*.rst")), ids=lambda path: path.stem)
@pytest.mark.parametrize("known", [True, False])
def test_captions_are_valid(path, known):
    jinja2 = pytest.importorskip("jinja2")
    docutils = pytest.importorskip("docutils.core")
    wildcards = Wildcards(
        {"experiment": "no_wise", "regressor": "forest", "scale": "18arcsec", "fit": "full"}
        if known
        else {}
    )
    snakemake = SimpleNamespace(
        wildcards=wildcards,
        # What the rules of the paper's figures have; a run may highlight no galaxies.
        params=SimpleNamespace(
            galaxy="M33",
            galaxies=["NGC3031", "NGC5457"] if known else [],
            highlight=["M31", "M33"] if known else [],
            scale="18arcsec",
            target="sMd",
            told=Wildcards(scale="3kpc", instead="400pc"),
            fine=Wildcards(scale="6.7arcsec", experiment="fine"),
        ),
        config={"run": "global", "scales": ["global", "400pc"]},
    )
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    rendered = environment.from_string(path.read_text(encoding="utf-8")).render(snakemake=snakemake)
    assert "{" not in rendered
    settings = {"halt_level": 2, "report_level": 1}  # a warning of the parser is an error
    body = docutils.publish_doctree(rendered, settings_overrides=settings).astext()
    assert len(body) > 300
    if path.stem in ("predicted_vs_true", "calibration"):
        assert ("no_wise" in body) == known
    if path.stem == "workflow":
        assert "pixel scales global, 400pc" in " ".join(body.split())

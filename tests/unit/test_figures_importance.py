"""Figures of importance and dependence: what is on their axes."""

import numpy as np
import pytest

from dustcast.figures import importance, style
from dustcast.tables import Table

NAMES = {"feature": ["c_GALEX_NUV", "log_w1", "log_scale"], "instrument": ["WISE"]}


@pytest.fixture
def bars():
    rows = [
        (target, kind, name, 0.2, 0.01 * (k + 1), 0.002)
        for target in style.TARGETS
        for kind, names in NAMES.items()
        for k, name in enumerate(names)
    ]
    keys = ("target", "kind", "feature", "rmse", "increase", "increase_err")
    return Table({key: np.array(column) for key, column in zip(keys, zip(*rows))})


@pytest.fixture
def curves():
    rows = [
        (target, name, rank, value, 0.1 * value, 0.02)
        for target in style.TARGETS
        for rank, name in enumerate(["c_WISE_22", "hubble_stage"])
        for value in (-1.0, 0.0, 1.0)
    ]
    keys = ("target", "feature", "rank", "value", "effect", "effect_err")
    return Table({key: np.array(column) for key, column in zip(keys, zip(*rows))})


def test_bars_are_in_order_and_as_long_as_the_table_says(bars):
    figure = importance.bars(bars)
    axes = figure.axes
    assert [text.get_text() for text in axes[0].get_yticklabels()] == [
        "GALEX NUV / WISE 1",
        "WISE 1",
        "pixel scale",
    ]
    assert [bar.get_width() for bar in axes[1].patches] == pytest.approx([0.01, 0.02, 0.03])
    assert [ax.get_xlabel() for ax in axes[3:]] == [
        "rise of the RMSE [dex]",
        "rise of the RMSE [dex]",
        "rise of the RMSE [K]",
    ]


def test_curves_have_a_panel_a_feature(curves):
    axes = importance.curves(curves).axes
    assert len(axes) == 6
    assert axes[0].get_xlabel() == "log W4 / W1"
    assert axes[1].get_xlabel() == "Hubble stage"
    assert list(axes[2].lines[0].get_ydata()) == pytest.approx([-0.1, 0.0, 0.1])


def test_empty_tables_say_so(bars, curves):
    for draw, table in ((importance.bars, bars), (importance.curves, curves)):
        figure = draw(table.rows(np.zeros(table.n_rows, bool)))
        assert "no galaxy has features" in figure.axes[0].texts[0].get_text()

"""Which features matter for which property, and how predictions depend on them."""

from __future__ import annotations

import numpy as np

from dustcast.bands import REFERENCE_BAND, band_table
from dustcast.figures import style

_ROW_MM, _FRAME_MM = 4.2, 22.0
_PANEL_MM = 38.0
_NAMES = {
    "log_scale": "pixel scale",
    "r_r25": "radius",
    "hubble_stage": "Hubble stage",
}
_PREFIXES = {"o": "observed", "e": "error of", "s": "error of", "n": "neighbours'"}


# How instruments are written where room is scarce.
_SHORT = {"GALEX ": "", "SDSS ": "", "2MASS ": "", "WISE ": "W", "IRAC ": "I"}


def feature_label(name, short=False):
    """Return how a feature is written: a colour by its band and the reference band."""
    label = _label(name)
    for instrument, letter in _SHORT.items() if short else ():
        label = label.replace(instrument, letter)
    return label


def _label(name):
    bands = band_table()
    reference = bands[REFERENCE_BAND].label
    if name in _NAMES:
        return _NAMES[name]
    prefix, _, rest = name.partition("_")
    if rest in bands:
        label = bands[rest].label
        return f"{label} / {reference}" if prefix == "c" else f"{_PREFIXES[prefix]} {label}"
    if name == "log_w1":
        return reference
    return f"{_PREFIXES[prefix]} {_label(rest)}" if prefix in _PREFIXES else name


def bars(table):
    """Draw how much the RMSE rises without each feature and each instrument.

    Parameters
    ----------
    table : Table
        ``tables/importance.csv``: target, kind, feature, rmse, increase, increase_err.

    Returns
    -------
    matplotlib.figure.Figure
        A panel a target; features in the order of their mean relative rise over the targets.
    """
    relative = np.asarray(table["increase"], float) / np.asarray(table["rmse"], float)
    kinds = np.asarray(table["kind"], dtype=str)
    names = np.asarray(table["feature"], dtype=str)
    order = {}
    for kind in ("feature", "instrument"):
        rise = {
            name: relative[(kinds == kind) & (names == name)].mean()
            for name in names[kinds == kind]
        }
        order[kind] = sorted(rise, key=rise.get)
    with style.context():
        if not table.n_rows:
            figure = style.new_figure(style.PAGE_MM, _PANEL_MM)
            style.explain(figure.subplots(), "no galaxy has features")
            return figure
        counts = [len(order["feature"]), max(1, len(order["instrument"]))]
        figure = style.new_figure(style.PAGE_MM, _FRAME_MM + _ROW_MM * (sum(counts) + 2))
        axes = figure.subplots(
            2, len(style.TARGETS), height_ratios=counts, sharey="row", sharex="col", squeeze=False
        )
        for column, (target, look) in enumerate(style.TARGETS.items()):
            for ax, kind, colour in zip(axes[:, column], order, (style.BLUE, style.ORANGE)):
                own = table.rows((table["target"] == target) & (kinds == kind))
                place = {name: k for k, name in enumerate(order[kind])}
                y = [place[name] for name in own["feature"]]
                error = np.nan_to_num(np.asarray(own["increase_err"], float))
                ax.barh(
                    y, own["increase"], xerr=error, color=colour, height=0.7, error_kw={"lw": 0.8}
                )
                ax.axvline(0, color="black", lw=0.6)
                ax.set_ylim(-0.7, len(order[kind]) - 0.3)
                ax.tick_params(axis="y", which="both", length=0)
                if column == 0:
                    labels = [feature_label(n) if kind == "feature" else n for n in order[kind]]
                    ax.set_yticks(range(len(labels)), labels)
            axes[0, column].set_title(look.name)
            axes[1, column].set_xlabel(f"rise of the RMSE [{look.unit}]")
    return figure


def curves(table):
    """Draw how mean predictions depend on the features that matter most.

    Parameters
    ----------
    table : Table
        ``tables/partial_dependence.csv``: target, feature, rank, value, effect, effect_err.

    Returns
    -------
    matplotlib.figure.Figure
        A row a target, its most important feature first; bands are one standard deviation of the
        folds.
    """
    with style.context():
        n_column = int(np.max(table["rank"], initial=0)) + 1
        figure = style.new_figure(style.PAGE_MM, 6 + _PANEL_MM * len(style.TARGETS))
        if not table.n_rows:
            style.explain(figure.subplots(), "no galaxy has features")
            return figure
        axes = figure.subplots(len(style.TARGETS), n_column, sharey="row", squeeze=False)
        for row, (target, look) in zip(axes, style.TARGETS.items()):
            for rank, ax in enumerate(row):
                own = table.rows((table["target"] == target) & (table["rank"] == rank))
                if not own.n_rows:
                    ax.set_visible(False)
                    continue
                value, effect = (np.asarray(own[name], float) for name in ("value", "effect"))
                error = np.nan_to_num(np.asarray(own["effect_err"], float))
                ax.fill_between(
                    value, effect - error, effect + error, color=style.SKY, alpha=0.5, lw=0
                )
                ax.plot(value, effect, color=style.BLUE)
                ax.axhline(0, color=style.GREY, lw=0.5)
                ax.locator_params(axis="x", nbins=4)
                ax.set_xlabel(_axis(str(own["feature"][0])))
            row[0].set_ylabel(f"change of {look.label()}")
    return figure


def _axis(name):
    """Return the label of a feature's axis."""
    label = feature_label(name, short=True)
    return f"log {label}" if name.startswith(("c_", "log_")) else label

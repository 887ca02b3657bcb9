"""The paper's figures from tables of predictions: each function makes one, or one family."""

from __future__ import annotations

import numpy as np

from dustcast.figures import predicted_vs_true, style
from dustcast.figures.predicted_vs_true import Panel, metrics_row, select
from dustcast.tables import Table

HIGHLIGHTS = (style.VERMILION, style.BLUE, style.GREEN, style.SKY)
GLOBAL, POOLED = "global", "all"
_RESIDUAL_MAP = "RdBu_r"
_TARGETS = ("sLd", "sMd", "Td")


def scale_title(scale):
    """Return how a scale is written: 18″, 400 pc, all scales."""
    if scale == POOLED:
        return "all scales"
    if scale == GLOBAL:
        return "whole galaxies"
    for unit, written in (("arcsec", "\N{DOUBLE PRIME}"), ("kpc", " kpc"), ("pc", " pc")):
        if scale.endswith(unit):
            return scale.removesuffix(unit) + written
    return scale


def resolved_scales(scales):
    """Return the scales without `global`: physical ones first, each kind from small to large."""
    chosen = [scale for scale in scales if scale != GLOBAL]
    return sorted(
        chosen,
        key=lambda scale: (
            scale.endswith("arcsec"),
            float(scale.rstrip("acekprs")) * (1000 if scale.endswith("kpc") else 1),
        ),
    )


def scales(predictions, metrics, *, regressor, target, order):
    """Return predicted against true values of one target at every scale and pooled (Fig. 2).

    Parameters
    ----------
    predictions, metrics : Table
        As for `predicted_vs_true.predicted_vs_true`; metrics of the scale ``all`` are those of
        all pixels, without whole galaxies.
    regressor, target : str
        Which predictions.
    order : sequence of str
        Scales of the run.

    Returns
    -------
    matplotlib.figure.Figure
    """
    mine = select(predictions, regressor=regressor, target=target)
    panels = []
    chosen = resolved_scales(order)
    for scale in chosen:
        row = metrics_row(metrics, regressor=regressor, target=target, scale=scale)
        panels.append(Panel(select(mine, scale=scale), row, target, scale_title(scale)))
    if len(chosen) > 1:
        pooled = select(mine, scale=chosen)
        weight = 1.0 / _count(pooled["galaxy"])
        pooled = Table(dict(pooled) | {"weight": weight}, units=pooled.units)
        row = metrics_row(metrics, regressor=regressor, target=target, scale=POOLED)
        panels.append(Panel(pooled, row, target, scale_title(POOLED)))
    columns = -(-len(panels) // 2) if len(panels) > 4 else 4
    return predicted_vs_true.figure(
        panels, n_columns=min(columns, 4), message="this run has no pixels: name scales"
    )


def averages(averaged, metrics, *, highlight):
    """Return predicted against true averages of galaxies, some of them marked (Fig. 3).

    Parameters
    ----------
    averaged : Table
        galaxy, target, weight, truth, prediction: one row a galaxy and target.
    metrics : Table
        Rows of these averages, one a target.
    highlight : sequence of str
        Galaxies to mark; those that are not there are left out of the legend.

    Returns
    -------
    matplotlib.figure.Figure
    """
    panels = [
        Panel(select(averaged, target=target), metrics_row(metrics, target=target), target)
        for target in _TARGETS
    ]
    figure = predicted_vs_true.figure(panels)
    with style.context():
        marks = {}
        for ax, panel in zip(figure.axes, panels):
            for name, colour in zip(highlight, HIGHLIGHTS):
                one = select(panel.predictions, galaxy=name)
                if one.n_rows:
                    marks[name] = ax.plot(
                        *(one["truth"], one["prediction"]),
                        **{"marker": "*", "ms": 9, "mfc": colour, "mec": "white", "mew": 0.6},
                        **{"ls": "", "zorder": 9, "label": name},
                    )[0]
        if marks:
            handles = [*figure.legends[0].legend_handles, *marks.values()]
            figure.legends[0].remove()
            figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def overview(predictions, metrics, *, galaxy, reason=""):
    """Return maps of truth, prediction and residual of a galaxy beside their scatter (Fig. 5).

    Parameters
    ----------
    predictions : Table
        Rows of one scale and regressor: id, galaxy, target, weight, truth, prediction.
    metrics : Table
        Rows of this galaxy, one a target, without errors.
    galaxy : str
        Which.
    reason : str
        What to write if there is no such galaxy.

    Returns
    -------
    matplotlib.figure.Figure
    """
    mine = select(_pixels(predictions), galaxy=galaxy)
    with style.context():
        figure = style.new_figure(style.PAGE_MM, 0.74 * style.PAGE_MM)
        if mine.n_rows == 0:
            style.explain(figure.subplots(), reason or f"{galaxy} is not in this run")
            return figure
        figure.suptitle(galaxy)
        axes = figure.subplots(len(_TARGETS), 4, squeeze=False)
        for row, target in zip(axes, _TARGETS):
            part = select(mine, target=target)
            quantity = style.quantity(target)
            residual = part["prediction"] - part["truth"]
            low, high = predicted_vs_true.limits(part["truth"], part["prediction"], margin=0.0)
            reach = np.quantile(np.abs(residual), 0.99) or 1.0
            shown = (
                ("truth", part["truth"], style.DENSITY_MAP, low, high, quantity.label()),
                ("prediction", part["prediction"], style.DENSITY_MAP, low, high, quantity.label()),
                ("residual", residual, _RESIDUAL_MAP, -reach, reach, f"[{quantity.unit}]"),
            )
            for ax, (title, values, colours, least, most, label) in zip(row, shown):
                mesh = _image(ax, part["id"], values, cmap=colours, vmin=least, vmax=most)
                bar = figure.colorbar(mesh, ax=ax, pad=0.02, shrink=0.9)
                bar.set_label(label, labelpad=1)
                ax.set_title(title if target == _TARGETS[0] else "")
            row[0].set_ylabel(quantity.name)
            predicted_vs_true.panel(
                row[3],
                part,
                metrics_row(metrics, target=target),
                **{"target": target, "title": "", "names": ("rmse", "r2", "me"), "compact": True},
            )
            row[3].set_box_aspect(1)
    return figure


def told(predictions, metrics, *, scale, told_scale, reason=""):
    """Return predictions of pixels against those where they are told another scale (Fig. 8).

    Parameters
    ----------
    predictions : Table
        galaxy, target, weight, prediction, and told: the prediction for the wrong pixel scale.
    metrics : Table
        Rows of told minus prediction, one a target.
    scale, told_scale : str
        The pixels' scale and what the model is told.
    reason : str
        What to write if there are no rows.

    Returns
    -------
    matplotlib.figure.Figure
    """
    panels = []
    for target in _TARGETS if predictions.n_rows else ():
        part = select(predictions, target=target)
        columns = dict(part) | {"truth": part["prediction"], "prediction": part["told"]}
        panels.append(Panel(Table(columns), metrics_row(metrics, target=target), target))
    figure = predicted_vs_true.figure(panels, names=("rmse", "me"), message=reason)
    if panels:
        # Percentiles would be of a prediction at a prediction, which the legend does not say.
        figure.legends[0].remove()
        for ax, target in zip(figure.axes, _TARGETS):
            for line in ax.lines[1:]:
                line.remove()
            # Most pixels lie on the line, which is to hide none.
            ax.lines[0].set(zorder=1, path_effects=[], linewidth=0.8)
            quantity = style.quantity(target)
            ax.set_xlabel(quantity.label(f"at {scale_title(scale)}:"))
            ax.set_ylabel(quantity.label(f"told {scale_title(told_scale)}:"))
    return figure


def fine_maps(fine, coarse, *, target, galaxies, titles, reason=""):
    """Return maps of predictions above the truth of several galaxies (Fig. 9).

    Parameters
    ----------
    fine, coarse : Table
        id, galaxy, target, and prediction (of `fine`) or truth (of `coarse`).
    target : str
        Which.
    galaxies : sequence of str
        In their order, at most eight.
    titles : tuple of str
        What the two rows show.
    reason : str
        What to write if there is no galaxy.

    Returns
    -------
    matplotlib.figure.Figure
    """
    above, below = (select(_pixels(table), target=target) for table in (fine, coarse))
    shown = [name for name in galaxies if name in set(above["galaxy"]) & set(below["galaxy"])]
    n_columns = min(4, len(shown))
    quantity = style.quantity(target)
    with style.context():
        n_blocks = -(-len(shown) // 4)
        figure = style.new_figure(style.PAGE_MM, max(n_blocks, 1) * 0.52 * style.PAGE_MM)
        if not shown:
            style.explain(figure.subplots(), reason or "none of the galaxies is in this run")
            return figure
        axes = figure.subplots(2 * n_blocks, n_columns, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        values = select(below, galaxy=shown)["truth"], select(above, galaxy=shown)["prediction"]
        low, high = predicted_vs_true.limits(*values, margin=0.0)
        for number, name in enumerate(shown):
            block, column = divmod(number, n_columns)
            for row, table, key in ((0, above, "prediction"), (1, below, "truth")):
                ax = axes[2 * block + row, column]
                ax.set_axis_on()
                part = select(table, galaxy=name)
                colours = {"cmap": style.DENSITY_MAP, "vmin": low, "vmax": high}
                mesh = _image(ax, part["id"], part[key], **colours)
                ax.set_title(name if row == 0 else "")
                ax.set_ylabel(titles[row] if column == 0 else "")
        bar = figure.colorbar(mesh, ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.02)
        bar.set_label(quantity.label())
    return figure


def largest(predictions, number=8):
    """Return the galaxies with most pixels, the largest first; of equals the first in order."""
    names, counts = np.unique(np.asarray(predictions["galaxy"], dtype=str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return names[order[:number]].tolist()


def _pixels(predictions):
    """Return the rows that are pixels: a whole galaxy has no place on a map."""
    return predictions.rows(np.asarray(predictions["scale"]) != GLOBAL)


def _image(ax, sample_id, values, **colours):
    """Draw values of pixels where their ids say that they lie."""
    pairs = [str(name).rsplit("/", 1)[1].split("_") for name in sample_id]
    x, y = np.array(pairs, dtype=int).reshape(-1, 2).T
    # A frame of one pixel, so that no edge touches the axes.
    image = np.full((np.ptp(y) + 3, np.ptp(x) + 3), np.nan)
    image[y - y.min() + 1, x - x.min() + 1] = values
    ax.set_facecolor("0.85")
    mesh = ax.imshow(image, origin="lower", interpolation="nearest", rasterized=True, **colours)
    ax.set_xticks([])
    ax.set_yticks([])
    return mesh


def _count(labels):
    """Return for each row how many rows have its label."""
    _, group = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    return np.bincount(group)[group]

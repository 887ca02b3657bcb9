"""Prediction error against predicted uncertainty: are the error bars right (Fig. 4 style)."""

from __future__ import annotations

import numpy as np

from dustcast.figures import density, style
from dustcast.figures.predicted_vs_true import (
    counts_text,
    metrics_row,
    metrics_text,
    select,
    usable,
)

_GRID = 160
# Fewer points have no density worth a contour.
_MIN_FOR_CONTOURS = 20


def panel(ax, predictions, metrics, *, target, title=None, font_size=style.SMALL_FONT_SIZE):
    """Draw prediction minus truth against the predicted sigma of one target.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The panel.
    predictions : Table
        Rows of one target: galaxy, target, weight, truth, prediction, sigma.
    metrics : Mapping or None
        The row of the metrics table; chi2 is written as it stands there.
    target : str
        Name of the target.
    title : str, optional
        Above the panel; the definition of the target if None.
    font_size : float
        Of the text in the panel.
    """
    quantity = style.quantity(target)
    ax.set_title(quantity.title if title is None else title)
    unit = f" [{quantity.unit}]" if quantity.unit else ""
    ax.set_xlabel(rf"predicted $\sigma${unit}")
    ax.set_ylabel(rf"predicted $-$ true {quantity.symbol}{unit}")
    shown = usable(predictions, ("truth", "prediction", "sigma"))
    shown = shown.rows(np.asarray(shown["sigma"], dtype=float) > 0)
    if shown.n_rows == 0:
        reason = predictions.meta.get("reason") or "no samples with a\npredicted uncertainty"
        style.explain(ax, reason)
        return
    weight = shown["weight"]
    sigma = np.asarray(shown["sigma"], dtype=float)
    error = np.asarray(shown["prediction"] - shown["truth"], dtype=float)
    log_sigma = np.log10(sigma)

    # The brightest point is the median of its bin, the darkest the most extreme.
    rank = density.rank_in_bin(log_sigma, error, weight)
    style.dots(ax, sigma, error, 1.0 - np.abs(2.0 * rank - 1.0))
    (low, high), reach = _extent(log_sigma, error, weight)
    _contours(ax, log_sigma, error, weight, (low, high), reach)
    line = np.geomspace(10.0**low, 10.0**high, 100)
    for sign in (-1.0, 1.0):
        ax.plot(line, sign * line, color="black", lw=1.1, path_effects=style.edged(1.1), zorder=5)
    centre, rms = density.binned_rms(log_sigma, error, weight)
    for sign in (-1.0, 1.0):
        ax.plot(
            10.0**centre,
            sign * rms,
            color=style.GREEN,
            lw=1.4,
            marker="o" if centre.size == 1 else "",
            ms=3,
            path_effects=style.edged(1.1),
            zorder=6,
        )
    ax.set_xscale("log")
    ax.set_xlim(10.0**low, 10.0**high)
    ax.set_ylim(-reach, reach)
    _log_ticks(ax)
    style.note(ax, metrics_text(metrics, quantity.unit, names=("chi2",)), "top left", font_size)
    outside = np.count_nonzero((np.abs(error) > reach) | (log_sigma < low) | (log_sigma > high))
    counts = counts_text(shown) + (f"\n{outside} beyond the axes" if outside else "")
    style.note(ax, counts, "bottom left", font_size)


def _extent(log_sigma, error, weight):
    """Return limits of log10(sigma) and the largest error shown (a rare few are left out)."""
    trim = 0.0 if log_sigma.size <= 1000 else 0.0005
    low, high = density.weighted_quantile(log_sigma, [trim, 1.0 - trim], weight)
    pad = max(0.04 * (high - low), 0.02)
    reach = density.weighted_quantile(np.abs(error), [1.0 - trim], weight)[0]
    return (low - pad, high + pad), 1.15 * max(reach, 10.0**low)


def _contours(ax, log_sigma, error, weight, x_limits, reach):
    """Draw the contours of the weighted density that enclose 68.3, 95.5 and 99.7%."""
    if log_sigma.size < _MIN_FOR_CONTOURS or np.ptp(log_sigma) == 0 or np.ptp(error) == 0:
        return
    at_points = density.kde(log_sigma, error, weight)
    levels = density.contour_levels(at_points, weight)[::-1]
    if np.any(np.diff(levels) <= 0) or levels[0] <= 0:
        return
    # Beyond the limits of the panel, so that contours are closed or cut by its frame.
    x = np.linspace(x_limits[0] - 0.05, x_limits[1] + 0.05, _GRID)
    y = np.linspace(-1.05 * reach, 1.05 * reach, _GRID)
    grid = density.kde(log_sigma, error, weight, at=np.meshgrid(x, y))
    ax.contour(
        10.0**x,
        y,
        grid,
        levels=levels,
        colors=style.SKY,
        linewidths=[0.7, 0.9, 1.1],
        zorder=4,
    )


def _log_ticks(ax):
    """Label a short logarithmic axis with plain numbers, enough of them to read it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = np.log10(ax.get_xlim())
    decades = high - low
    subs = (1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.2 else (1.0, 2.0, 3.0, 5.0)
    ax.xaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(LogLocator(subs=np.arange(1.0, 10.0), numticks=100))
    ax.xaxis.set_minor_formatter(NullFormatter())


def calibration(predictions, metrics, *, regressor, scale, targets=("sLd", "sMd", "Td")):
    """Return the figure of one regressor at one scale: a panel a target (Fig. 4 of the paper).

    Parameters
    ----------
    predictions : Table
        Columns galaxy, scale, regressor, target, weight, truth, prediction, sigma.
    metrics : Table
        Columns regressor, target, scale, chi2, chi2_err, ... of one experiment.
    regressor : str
        Name of the regressor.
    scale : str
        Name of the scale.
    targets : sequence of str
        One panel each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.lines import Line2D

    targets = list(targets)
    width = style.PAGE_MM if len(targets) > 1 else style.COLUMN_MM
    with style.context():
        height = width / max(len(targets), 1) + 6.0
        figure = style.new_figure(width, height)
        axes = figure.subplots(1, max(len(targets), 1), squeeze=False)[0]
        if not targets:
            style.explain(axes[0], "nothing to show: no target was named")
        for ax, target in zip(axes, targets):
            wanted = {"regressor": regressor, "scale": scale, "target": target}
            rows = select(predictions, **wanted)
            panel(ax, rows, metrics_row(metrics, **wanted), target=target)
        handles = [
            Line2D([], [], color="black", lw=1.1, label=r"$\pm$ predicted $\sigma$"),
            Line2D([], [], color=style.GREEN, lw=1.4, label=r"$\pm$ binned RMS error"),
            Line2D([], [], color=style.SKY, lw=1.0, label="68.3, 95.5 and 99.7% contours"),
        ]
        columns = 3 if len(targets) > 1 else 2
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        style.square(figure, axes[0], 1)
    return figure

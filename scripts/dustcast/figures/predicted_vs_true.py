"""Predicted against true values: panels with densities, percentiles and metrics (Fig. 1 style).

x is the truth, y the prediction. The 16th, 50th and 84th percentiles are those of the truth in
running bins of the predicted value: what the truth is likely to be, given a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dustcast.figures import density, style
from dustcast.tables import DataError, Table

PREDICTION_COLUMNS = ("galaxy", "target", "weight", "truth", "prediction")

# Panels below this width get smaller letters (mm).
_NARROW_MM = 52.0

# Percentiles of fewer samples would be the samples themselves.
_MIN_FOR_PERCENTILES = 20


def _median_line(scale=1.0):
    """Return how the median is drawn."""
    return _blue_line(1.2 * scale)


def _tail_line(scale=1.0):
    """Return how the 16th and 84th percentiles are drawn."""
    return {**_blue_line(1.4 * scale), "ls": (0, (1.0, 1.2))}


def _blue_line(width):
    """Return a line that is not black: black dots would be taken for galaxies."""
    return {"color": style.SKY, "lw": width, "path_effects": style.edged(width, "black", 0.4)}


@dataclass
class Panel:
    """What one panel shows.

    Attributes
    ----------
    predictions : Table
        Rows of one target, as `select` returns them.
    metrics : Mapping or None
        The row of the metrics table that belongs to these predictions; None writes none.
    target : str
        Name of the target.
    title : str or None
        Above the panel; the definition of the target if None.
    """

    predictions: Table
    metrics: Mapping | None
    target: str
    title: str | None = None


def select(table, **wanted):
    """Return the rows of a table in which every named column has the wanted value.

    Parameters
    ----------
    table : Table
        Predictions or metrics.
    **wanted
        Column name and value, or a list or set of values; None leaves a column unrestricted.

    Returns
    -------
    Table
    """
    keep = np.ones(table.n_rows, dtype=bool)
    for name, value in wanted.items():
        if value is None:
            continue
        if name not in table:
            raise DataError(f"the table lacks the column {name}: it has {', '.join(table)}")
        values = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
        keep &= np.isin(np.asarray(table[name]).astype(str), [str(v) for v in values])
    return table.rows(keep)


def metrics_row(metrics, **wanted):
    """Return the one row of a metrics table that matches, as a dictionary; None if there is none.

    Raises
    ------
    DataError
        If more than one row matches, so that none is taken at random.
    """
    rows = select(metrics, **wanted)
    if rows.n_rows > 1:
        described = ", ".join(f"{k} {v}" for k, v in wanted.items() if v is not None)
        raise DataError(f"{rows.n_rows} rows of the metrics match {described}: name one of them")
    return {name: column[0] for name, column in rows.items()} if rows.n_rows else None


def usable(predictions, columns=("truth", "prediction")):
    """Return the rows whose values are finite and whose weight is positive."""
    missing = [name for name in (*PREDICTION_COLUMNS, *columns) if name not in predictions]
    if missing:
        raise DataError(f"the predictions lack the column {', '.join(missing)}")
    keep = np.asarray(predictions["weight"], dtype=float) > 0
    for name in columns:
        keep &= np.isfinite(np.asarray(predictions[name], dtype=float))
    return predictions.rows(keep)


def counts_text(predictions):
    """Return how many galaxies there are and, if there are more of them, how many pixels."""
    galaxies = len(set(predictions["galaxy"]))
    lines = [f"{galaxies} {'galaxy' if galaxies == 1 else 'galaxies'}"]
    if predictions.n_rows > galaxies:
        # A thin space groups the digits, as the journal does.
        lines.append(f"{predictions.n_rows:,} pixels".replace(",", "\N{THIN SPACE}"))
    return "\n".join(lines)


def metrics_text(metrics, unit, *, names=("rmse", "r2")):
    """Return the lines with metrics and their bootstrap errors, as the metrics table has them.

    Parameters
    ----------
    metrics : Mapping or None
        A row of the metrics table.
    unit : str
        Unit of RMSE and ME.
    names : sequence of str
        Which of rmse, r2, me, chi2.

    Returns
    -------
    str
    """
    if metrics is None:
        return "no metrics for this selection"
    symbols = {
        "rmse": ("RMSE", unit),
        "r2": ("$R^2$", ""),
        "me": ("ME", unit),
        "chi2": (r"$\chi^2$", ""),
    }
    lines = []
    for name in names:
        symbol, its_unit = symbols[name]
        value = style.format_value(metrics[name], metrics.get(f"{name}_err"), its_unit)
        lines.append(f"{symbol} = {value}")
    return "\n".join(lines)


def limits(*samples, margin=0.05):
    """Return limits that hold all values, or all but a thousandth at each end of large samples.

    A single wild pixel among a hundred thousand must not squeeze the others into a corner;
    `panel` says how many points it leaves outside.
    """
    values = np.concatenate([np.asarray(sample, dtype=float) for sample in samples])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    trim = 0.0 if values.size <= 10_000 else 0.001
    low, high = np.quantile(values, [trim, 1.0 - trim])
    spread = high - low if high > low else max(abs(high), 1.0) * 0.1
    return float(low - margin * spread), float(high + margin * spread)


def panel(
    ax,
    predictions,
    metrics,
    *,
    target,
    title=None,
    names=("rmse", "r2"),
    extent=None,
    compact=False,
):
    """Draw predicted against true values of one target into a panel.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The panel.
    predictions : Table
        Rows of one target: galaxy, target, weight, truth, prediction.
    metrics : Mapping or None
        The row of the metrics table; its numbers are written as they are.
    target : str
        Name of the target.
    title : str, optional
        Above the panel; the definition of the target if None.
    names : sequence of str
        Metrics to write.
    extent : tuple of float, optional
        Lower and upper limit of both axes.
    compact : bool
        Smaller letters and points, and no units in the text, for a panel under 5 cm.
    """
    quantity = style.quantity(target)
    ax.set_title(quantity.title if title is None else title)
    ax.set_xlabel(quantity.label("true"))
    ax.set_ylabel(quantity.label("predicted"))
    shown = usable(predictions)
    if shown.n_rows == 0:
        reason = predictions.meta.get("reason") or "no samples with both\ntruth and prediction"
        style.explain(ax, reason)
        return
    truth, prediction, weight = (shown[name] for name in ("truth", "prediction", "weight"))
    low, high = extent or limits(truth, prediction)

    colour = density.kde(truth, prediction, weight)
    style.dots(ax, truth, prediction, colour / colour.max(), size=0.6 if compact else 1.0)
    ax.plot(
        [low, high], [low, high], color="black", lw=1.2, path_effects=style.edged(1.2), zorder=5
    )
    if shown.n_rows >= _MIN_FOR_PERCENTILES:
        centre, (lower, median, upper) = density.binned_quantiles(prediction, truth, weights=weight)
        scale = 0.7 if compact else 1.0
        for line in (lower, upper):
            ax.plot(line, centre, **_tail_line(scale), zorder=6)
        ax.plot(median, centre, **_median_line(scale), zorder=7)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    same_ticks(ax)
    font_size = style.SMALL_FONT_SIZE - (1.0 if compact else 0.0)
    text = metrics_text(metrics, "" if compact else quantity.unit, names=names)
    style.note(ax, text, "top left", font_size)
    outside = np.count_nonzero(
        (np.minimum(truth, prediction) < low) | (np.maximum(truth, prediction) > high)
    )
    counts = counts_text(shown) + (f"\n{outside} beyond the axes" if outside else "")
    style.note(ax, counts, "bottom right", font_size)


def same_ticks(ax, n_steps=6):
    """Give both axes the same ticks, few enough for a narrow panel."""
    from matplotlib.ticker import MaxNLocator

    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(n_steps, steps=[1, 2, 5, 10]))


def figure(panels, *, n_columns=3, names=("rmse", "r2"), width_mm=None, message=None):
    """Return a figure of panels, as many to a row as wanted, with one legend below.

    Panels of one target share their limits and have labels at the outer sides only.

    Parameters
    ----------
    panels : sequence of Panel
        What to show, row by row.
    n_columns : int
        Panels in a row.
    names : sequence of str
        Metrics to write into the panels.
    width_mm : float, optional
        Width; the page's, or the column's for one panel in a row.
    message : str, optional
        What to write if there is no panel.

    Returns
    -------
    matplotlib.figure.Figure
    """
    panels = list(panels)
    n_columns = max(1, min(n_columns, len(panels)))
    n_rows = max(1, -(-len(panels) // n_columns))
    width = width_mm or (style.PAGE_MM if n_columns > 1 else style.COLUMN_MM)
    side = width / n_columns
    with style.context():
        result = style.new_figure(width, n_rows * (side - 3.0) + 9.0)
        axes = result.subplots(n_rows, n_columns, squeeze=False)
        if not panels:
            style.explain(axes[0, 0], message or "nothing to show: no predictions were given")
            return result
        common = len(panels) > 1 and len({each.target for each in panels}) == 1
        extent = None
        if common:
            tables = [usable(each.predictions) for each in panels]
            values = [table[name] for table in tables for name in ("truth", "prediction")]
            extent = limits(*values)
        for ax, each in zip(axes.flat, panels):
            panel(
                ax,
                each.predictions,
                each.metrics,
                target=each.target,
                title=each.title,
                names=names,
                extent=extent,
                compact=side < _NARROW_MM,
            )
        for ax in axes.flat[len(panels) :]:
            ax.set_axis_off()
        if common:
            for i, ax in enumerate(axes.flat[: len(panels)]):
                below = i + n_columns < len(panels)
                if below:
                    ax.set_xlabel("")
                    ax.tick_params(labelbottom=False)
                if i % n_columns:
                    ax.set_ylabel("")
                    ax.tick_params(labelleft=False)
        result.legend(
            handles=_legend_lines(),
            loc="outside lower center",
            ncols=3 if n_columns > 1 else 2,
            handlelength=2.4,
        )
        style.square(result, axes[0, 0], n_rows)
    return result


def _legend_lines():
    """Return the lines of the legend."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color="black", lw=1.2, label="one to one"),
        Line2D([], [], **_median_line(), label="median truth at a prediction"),
        Line2D([], [], **_tail_line(), label="16th and 84th percentile"),
    ]


def predicted_vs_true(
    predictions,
    metrics,
    *,
    regressor,
    scale,
    targets=("sLd", "sMd", "Td"),
    names=("rmse", "r2"),
):
    """Return the figure of one regressor at one scale: a panel a target (Fig. 1 of the paper).

    Parameters
    ----------
    predictions : Table
        Columns galaxy, scale, regressor, target, weight, truth, prediction.
    metrics : Table
        Columns regressor, target, scale, rmse, rmse_err, r2, r2_err, ... of one experiment.
    regressor : str
        Name of the regressor.
    scale : str
        Name of the scale.
    targets : sequence of str
        One panel each.
    names : sequence of str
        Metrics to write.

    Returns
    -------
    matplotlib.figure.Figure
    """
    panels = [
        Panel(
            select(predictions, regressor=regressor, scale=scale, target=target),
            metrics_row(metrics, regressor=regressor, scale=scale, target=target),
            target,
        )
        for target in targets
    ]
    return figure(panels, names=names)

"""What each stage adds to the error of a survey of known truth, within and between galaxies."""

from __future__ import annotations

import numpy as np

from dustcast.figures import style
from dustcast.tables import DataError

STAGES = {
    "fit_true": ("fit of true fluxes against truth", style.GREY),
    "fit_full": ("full fit against truth", style.BLUE),
    "fit_short": ("short fit against truth", style.SKY),
    "predict_fit": ("prediction against full fit", style.ORANGE),
    "predict_truth": ("prediction against truth", style.VERMILION),
}
COLUMNS = ("stage", "quantity", "scale", "within", "between")
_GROUP = 0.8  # width of the bars of a scale
_HEIGHT_MM = 62.0


def closure(table):
    """Draw the closure table: a panel a property, a bar a stage at each scale.

    Parameters
    ----------
    table : Table
        ``tables/closure.csv``: stage, quantity, scale, within, between.

    Returns
    -------
    matplotlib.figure.Figure
        Pale bars reach the root mean square error, dark ones its part between galaxies.
    """
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise DataError(f"the closure table lacks the column {', '.join(missing)}")
    with style.context():
        figure = style.new_figure(style.PAGE_MM, _HEIGHT_MM)
        axes = figure.subplots(1, len(style.TARGETS), squeeze=False)[0]
        for ax, (target, look) in zip(axes, style.TARGETS.items()):
            rows = table.rows(np.asarray(table["quantity"], dtype=str) == target)
            panel(ax, rows)
            ax.set_title(look.title)
            ax.set_ylabel(f"root mean square error [{look.unit}]")
        handles, labels = axes[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(STAGES))
    return figure


def panel(ax, rows):
    """Draw the stages of one property; scales in the order of the table."""
    scales = list(dict.fromkeys(rows["scale"]))
    if not scales:
        style.explain(ax, "no sample with\na known truth")
        return
    present = [stage for stage in STAGES if stage in set(rows["stage"])]
    bar = _GROUP / len(present)
    for number, stage in enumerate(present):
        label, colour = STAGES[stage]
        of_stage = rows.rows(np.asarray(rows["stage"], dtype=str) == stage)
        place = np.array([scales.index(scale) for scale in of_stage["scale"]], dtype=float)
        place += (number - (len(present) - 1) / 2) * bar
        within, between = (np.asarray(of_stage[name], float) for name in ("within", "between"))
        total = np.hypot(within, between)
        ax.bar(place, total, 0.9 * bar, color=colour, alpha=0.4, linewidth=0)
        ax.bar(place, between, 0.9 * bar, color=colour, label=label, linewidth=0)
    ax.set_xticks(range(len(scales)), scales)
    ax.tick_params(axis="x", which="both", length=0)

"""What each stage adds to the error of a survey of known truth, within and between galaxies."""

from __future__ import annotations

import numpy as np

from dustcast.bands import band_table
from dustcast.figures import style
from dustcast.tables import DataError

STAGES = {
    "fit_true": ("fit of true fluxes against truth", style.GREY),
    "fit_full": ("full fit against truth", style.BLUE),
    "fit_short": ("short fit against truth", style.SKY),
    "predict_fit": ("prediction against full fit", style.ORANGE),
    "predict_truth": ("prediction against truth", style.VERMILION),
}
# Stages of the images, by stage and quantity: shares of a band's flux.
IMAGE_STAGES = {
    ("stars", "flux_left"): ("stars without a mask", "*", style.ORANGE),
    ("stars", "flux_filled"): ("masks that are filled", "s", style.VERMILION),
    ("sky", "flux"): ("sky", "o", style.SKY),
    ("convolve", "flux"): ("convolution and resampling", "D", style.BLUE),
}
COLUMNS = ("stage", "quantity", "scale", "within", "between", "band")
_GROUP = 0.8  # width of the bars of a scale
_HEIGHT_MM, _IMAGES_MM = 62.0, 55.0
_SMALLEST = 0.01  # percent, below which there is nothing to see
# How names stand that do not fit beside each other; those of scales if they are more than these.
_SLANTED = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
_MANY_SCALES = 4


def closure(table):
    """Draw the closure table: a panel a property, a bar a stage at each scale.

    Parameters
    ----------
    table : Table
        ``tables/closure.csv``: stage, quantity, scale, band, within, between.

    Returns
    -------
    matplotlib.figure.Figure
        Pale bars reach the root mean square error, dark ones its part between galaxies. Of a
        survey of images a lower panel shows the root mean square of what each stage adds to a band.
    """
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise DataError(f"the closure table lacks the column {', '.join(missing)}")
    with style.context():
        keys = list(zip(table["stage"], table["quantity"]))
        seen = any(key in IMAGE_STAGES for key in keys)
        page = style.new_figure(style.PAGE_MM, _HEIGHT_MM + _IMAGES_MM * seen)
        # Two halves, each with its legend.
        heights = [_HEIGHT_MM, _IMAGES_MM] if seen else [_HEIGHT_MM]
        figure, *below = page.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[
            :, 0
        ]
        axes = figure.subplots(1, len(style.TARGETS), squeeze=False)[0]
        for ax, (target, look) in zip(axes, style.TARGETS.items()):
            rows = table.rows(np.asarray(table["quantity"], dtype=str) == target)
            panel(ax, rows)
            ax.set_title(look.title)
            ax.set_ylabel(f"root mean square error [{look.unit}]")
        handles, labels = axes[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(STAGES))
        for part in below:
            images(part.subplots(), table, keys)
            part.legend(loc="outside lower center", ncols=len(IMAGE_STAGES))
    return page


def images(ax, table, keys):
    """Draw what the stages of the images add to each band: the largest, and a line to the least."""
    shown = np.array([key in IMAGE_STAGES for key in keys])
    bands = [band for band in band_table() if band in set(np.asarray(table["band"])[shown])]
    for number, (stage, (label, marker, colour)) in enumerate(IMAGE_STAGES.items()):
        rows = table.rows(np.array([key == stage for key in keys]))
        total = 100 * np.hypot(*(np.asarray(rows[name], float) for name in ("within", "between")))
        of_band = np.asarray(rows["band"], dtype=str)
        ends = []
        for place, band in enumerate(bands):
            values = total[(of_band == band) & np.isfinite(total)]
            if values.size and values.max() >= _SMALLEST:
                ends.append((place, max(values.min(), _SMALLEST), values.max()))
        place, least, largest = np.array(ends).reshape(-1, 3).T
        place = place + _GROUP / len(IMAGE_STAGES) * (number - (len(IMAGE_STAGES) - 1) / 2)
        ax.vlines(place, least, largest, color=colour, lw=1)
        ax.plot(place, largest, marker, color=colour, label=label, ms=4)
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.8 * _SMALLEST)
    ax.set_ylabel("root mean square [% of flux]")
    names = [band_table()[band].label for band in bands]
    ax.set_xticks(range(len(bands)), names, **_SLANTED)
    ax.set_xlim(-0.6, len(bands) - 0.4)
    ax.tick_params(axis="x", which="both", length=0)
    for edge in range(1, len(bands)):
        ax.axvline(edge - 0.5, color=style.GREY, lw=0.3, alpha=0.5, zorder=0)


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
    look = _SLANTED if len(scales) > _MANY_SCALES else {}
    ax.set_xticks(range(len(scales)), scales, **look)
    ax.tick_params(axis="x", which="both", length=0)

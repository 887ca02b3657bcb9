"""Simulated galaxies over those of DustPedia: observed colours, and the dust that fits find."""

from __future__ import annotations

import numpy as np

from dustcast.bands import REFERENCE_BAND, band_table
from dustcast.figures import style
from dustcast.tables import DataError

# Each panel's colours as (band, reference), x and y.
COLOURS = (
    (("GALEX_NUV", REFERENCE_BAND), ("WISE_12", REFERENCE_BAND)),
    (("SDSS_r", REFERENCE_BAND), ("WISE_22", REFERENCE_BAND)),
    (("PACS_160", "SPIRE_250"), ("SPIRE_250", REFERENCE_BAND)),
)
LEAST_SNR = 3.0  # of each flux of a colour
_BINS = 30
_OUTLIERS = 0.5  # percent beyond each end of an axis
_HEIGHT_MM = 115.0


def population(real, photometry, features):
    """Draw colours and targets.

    Parameters
    ----------
    real : Table
        Of the DustPedia galaxies: galaxy, fluxes and errors (mJy), sLd, sMd, Td of official fits.
    photometry : Table
        Of the simulated galaxies as wholes: galaxy, fluxes and errors.
    features : Table
        Of the same: sLd, sMd, Td of their full fits.

    Returns
    -------
    matplotlib.figure.Figure
        Above: colours of fluxes with S/N above `LEAST_SNR`. Below: histograms, each of unit area.

    Raises
    ------
    DataError
        If a target is missing.
    """
    for name, table in (("DustPedia", real), ("the survey", features)):
        missing = [target for target in style.TARGETS if target not in table]
        if missing:
            raise DataError(f"the table of {name} lacks the column {', '.join(missing)}")
    with style.context():
        figure = style.new_figure(style.PAGE_MM, _HEIGHT_MM)
        axes = figure.subplots(2, len(COLOURS))
        for ax, pair in zip(axes[0], COLOURS):
            _colours(ax, pair, real, photometry)
        for ax, (target, look) in zip(axes[1], style.TARGETS.items()):
            parts = [np.asarray(table[target], float) for table in (real, features)]
            edges = np.linspace(*_range(parts), _BINS + 1)
            for values, look_of in zip(parts, _looks()):
                ax.hist(values, edges, density=True, **look_of)
            ax.set_xlabel(look.label())
            ax.set_yticks([])
        handles, labels = axes[1][0].get_legend_handles_labels()
        counts = (real.n_rows, photometry.n_rows)
        labels = [f"{label} ({count} galaxies)" for label, count in zip(labels, counts)]
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _looks():
    """Return how histograms of the real and of the simulated galaxies look."""
    return (
        {"label": "DustPedia", "color": style.GREY, "alpha": 0.5},
        {"label": "simulated", "color": style.BLUE, "histtype": "step", "lw": 1.2},
    )


def _colours(ax, pair, real, photometry):
    """Draw one plane of colours."""
    points = [[_colour(table, *colour) for colour in pair] for table in (real, photometry)]
    if not all(np.isfinite(x + y).any() for x, y in points):
        style.explain(ax, "the survey lacks\nthese bands")
        return
    for (x, y), colour, order in zip(points, (style.GREY, style.BLUE), (1, 2)):
        size = style.point_size(np.isfinite(x + y).sum())
        ax.scatter(x, y, size, color=colour, linewidths=0, alpha=0.7, zorder=order)
    ax.set_xlim(_range([x for x, _ in points]))
    ax.set_ylim(_range([y for _, y in points]))
    for set_label, colour in zip((ax.set_xlabel, ax.set_ylabel), pair):
        upper, lower = (band_table()[band].label for band in colour)
        set_label(rf"$\log_{{10}}$ {upper} / {lower}")


def _colour(table, band, reference):
    """Return log10 of a ratio of fluxes, NaN where either is faint or missing."""
    flux, below = (
        np.where(table[name] > LEAST_SNR * table[f"{name}_err"], table[name], np.nan)
        if name in table
        else np.full(table.n_rows, np.nan)
        for name in (band, reference)
    )
    return np.log10(flux / below)


def _range(parts):
    """Return the limits of an axis: nearly all values, and a margin."""
    values = np.concatenate(parts)
    low, high = np.nanpercentile(values, (_OUTLIERS, 100 - _OUTLIERS))
    margin = 0.08 * (high - low)
    return low - margin, high + margin

"""Own Bayesian results against the official ones of the same galaxies, with residuals."""

from __future__ import annotations

import numpy as np

from dustcast.figures import style
from dustcast.figures.predicted_vs_true import limits, same_ticks, select
from dustcast.tables import DataError

_DEX = "dex"

QUANTITIES = {
    "log_Ldust": style.Quantity("dust luminosity", r"$\log\,(L_\mathrm{dust}/L_\odot)$", _DEX),
    "log_Mdust": style.Quantity("dust mass", r"$\log\,(M_\mathrm{dust}/M_\odot)$", _DEX),
    "Tdust": style.Quantity("dust temperature", r"$T_\mathrm{dust}$", "K"),
    "log_Mstar": style.Quantity("stellar mass", r"$\log\,(M_\star/M_\odot)$", _DEX),
    "log_SFR": style.Quantity(
        "star-formation rate", r"$\log\,(\mathrm{SFR}/M_\odot\,\mathrm{yr}^{-1})$", _DEX
    ),
}

SUBSETS = {"all": "all", "chi2_below_3": r"$\chi^2_\nu<3$"}
CHI2_LIMIT = 3.0


def parity(values, statistics, *, quantities=tuple(QUANTITIES), subsets=tuple(SUBSETS)):
    """Return the figure: own against official value, residual below, a column a quantity.

    Parameters
    ----------
    values : Table
        One row a galaxy and quantity: galaxy, quantity, own, official (log10 of solar units,
        or K); with a column reduced_chi2, galaxies at or above 3 are drawn open and grey.
    statistics : Table
        Columns quantity, subset (all, chi2_below_3), n, median_offset, rms, of own minus
        official; written into the panels as they are.
    quantities : sequence of str
        Which, in this order; see `QUANTITIES`.
    subsets : sequence of str
        Whose statistics are written.

    Returns
    -------
    matplotlib.figure.Figure
    """
    for name, table, columns in (
        ("values", values, ("quantity", "own", "official")),
        ("statistics", statistics, ("quantity", "subset", "n", "median_offset", "rms")),
    ):
        missing = [column for column in columns if column not in table]
        if missing:
            raise DataError(f"the table of {name} lacks the column {', '.join(missing)}")
    quantities = list(quantities)
    n_columns = max(1, len(quantities))
    with style.context():
        width = style.PAGE_MM if n_columns > 2 else style.COLUMN_MM
        side = width / n_columns
        figure = style.new_figure(width, 1.6 * side + 12.0)
        axes = figure.subplots(2, n_columns, squeeze=False, height_ratios=[1.0, 0.55], sharex="col")
        if not quantities:
            for ax in axes[:, 0]:
                style.explain(ax, "nothing to show: no quantity was named")
        for column, name in enumerate(quantities):
            rows = select(values, quantity=name)
            lines = select(statistics, quantity=name, subset=list(subsets))
            panels(axes[0, column], axes[1, column], rows, lines, quantity=name)
            if column:
                axes[0, column].set_ylabel("")
                axes[1, column].set_ylabel("")
        figure.align_ylabels(axes[:, 0])
    return figure


def panels(upper, lower, values, statistics, *, quantity):
    """Draw one quantity: own against official above, own minus official below.

    Parameters
    ----------
    upper, lower : matplotlib.axes.Axes
        The two panels.
    values : Table
        Rows of this quantity: own, official, and if known reduced_chi2.
    statistics : Table
        Rows of this quantity: subset, n, median_offset, rms.
    quantity : str
        A name of `QUANTITIES`; another one is written by its own name.
    """
    look = QUANTITIES.get(quantity) or style.quantity(quantity)
    unit = f" [{look.unit}]" if look.unit else ""
    upper.set_title(f"{look.name}{unit}")
    upper.set_ylabel("this work")
    lower.set_ylabel(r"this work $-$ official")
    lower.set_xlabel(f"official {look.symbol}")
    upper.set_box_aspect(1)
    own = np.asarray(values["own"], dtype=float)
    official = np.asarray(values["official"], dtype=float)
    finite = np.isfinite(own) & np.isfinite(official)
    if not finite.any():
        style.explain(upper, "no galaxy with\nboth values")
        style.explain(lower, "no galaxy with\nboth values")
        return
    chi2 = np.asarray(values.get("reduced_chi2", np.zeros(own.size)), dtype=float)
    # A galaxy without a chi2 is not known to be fitted well.
    good = finite & (chi2 < CHI2_LIMIT)
    size = style.point_size(int(finite.sum()))
    low, high = limits(own[finite], official[finite])
    # Offsets beyond the three-sigma range of a Gaussian are drawn as arrows at the edge.
    residual = own - official
    reach = float(np.quantile(np.abs(residual[finite]), 0.98)) * 1.6 or 1.0
    for which, look_of in (
        (finite & ~good, {"facecolors": "none", "edgecolors": style.GREY, "linewidths": 0.5}),
        (good, {"color": style.BLUE, "linewidths": 0, "alpha": 0.6}),
    ):
        if not which.any():
            continue
        look_of = {**look_of, "s": size, "rasterized": which.sum() > style.RASTER_ABOVE}
        upper.scatter(official[which], own[which], zorder=3, **look_of)
        inside = which & (np.abs(residual) <= reach)
        lower.scatter(official[inside], residual[inside], zorder=3, **look_of)
        for sign, marker in ((1.0, "^"), (-1.0, "v")):
            beyond = which & (sign * residual > reach)
            height = np.full(beyond.sum(), sign * reach * 0.96)
            lower.scatter(official[beyond], height, marker=marker, zorder=3, **look_of)
    upper.plot([low, high], [low, high], color="black", lw=1.0, path_effects=style.white_edge(1.0))
    lower.axhline(0.0, color="black", lw=1.0, path_effects=style.white_edge(1.0))
    upper.set_xlim(low, high)
    upper.set_ylim(low, high)
    lower.set_ylim(-reach, reach)
    same_ticks(upper, 4)
    text = statistics_text(statistics, look.unit)
    style.note(upper, text, "top left", style.SMALL_FONT_SIZE - 1.0)


def statistics_text(statistics, unit):
    """Return the lines with the number of galaxies, the median offset and the rms."""
    lines = []
    for i in range(statistics.n_rows):
        subset = str(statistics["subset"][i])
        places = 3 if unit == _DEX else 2
        offset = style.format_value(statistics["median_offset"][i], places=places)
        rms = style.format_value(statistics["rms"][i], places=places)
        lines.append(f"{SUBSETS.get(subset, subset)}: {int(statistics['n'][i])}")
        lines.append(f"  median {offset}, rms {rms}")
    return "\n".join(lines) or "no statistics given"

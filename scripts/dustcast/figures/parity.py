"""Own Bayesian results against the official ones of the same galaxies, with residuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dustcast.figures import style
from dustcast.figures.predicted_vs_true import limits, same_ticks, select
from dustcast.tables import DataError


@dataclass(frozen=True)
class Compared:
    """How a compared quantity is written.

    Attributes
    ----------
    name : str
        In words.
    symbol : str
        In mathtext, with log where the logarithm is shown.
    unit : str
        Unit of the quantity (inside the logarithm).
    residual_unit : str
        Unit of a difference.
    """

    name: str
    symbol: str
    unit: str
    residual_unit: str = "dex"


QUANTITIES = {
    "log_Ldust": Compared("dust luminosity", r"$\log\,L_\mathrm{dust}$", r"$L_{\odot}$"),
    "log_Mdust": Compared("dust mass", r"$\log\,M_\mathrm{dust}$", r"$M_{\odot}$"),
    "Tdust": Compared("dust temperature", r"$T_\mathrm{dust}$", "K", "K"),
    "log_Mstar": Compared("stellar mass", r"$\log\,M_{\star}$", r"$M_{\odot}$"),
    "log_SFR": Compared("star-formation rate", r"$\log\,\mathrm{SFR}$", r"$M_{\odot}$/yr"),
}

SUBSETS = {"all": "all", "chi2_below_3": r"$\chi^2_\nu<3$"}
CHI2_LIMIT = 3.0

_LOWER_HEIGHT = 0.6
# Residual panels do not zoom in further than this (dex or K): rounding is no disagreement.
_LEAST_REACH = 0.02


def parity(values, statistics, *, quantities=tuple(QUANTITIES), subsets=tuple(SUBSETS)):
    """Return the figure: own against official value, residual below, a column a quantity.

    Parameters
    ----------
    values : Table
        One row a galaxy and quantity: galaxy, quantity, own, official (log10 of solar units,
        or K); with a column reduced_chi2, galaxies not below 3 are drawn open and grey.
    statistics : Table
        Columns quantity, subset (all, chi2_below_3), n, median_offset, rms, of own minus
        official; written above the panels as they are.
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
        figure = style.new_figure(width, (1.0 + _LOWER_HEIGHT) * side + 20.0)
        axes = figure.subplots(
            2, n_columns, squeeze=False, height_ratios=[1.0, _LOWER_HEIGHT], sharex="col"
        )
        if not quantities:
            for ax in axes[:, 0]:
                style.explain(ax, "nothing to show:\nno quantity was named")
        for column, name in enumerate(quantities):
            rows = select(values, quantity=name)
            lines = select(statistics, quantity=name, subset=list(subsets))
            panels(axes[0, column], axes[1, column], rows, lines, quantity=name)
            if column:
                axes[0, column].set_ylabel("")
                axes[1, column].set_ylabel("")
        figure.align_ylabels(axes[:, 0])
        style.square(figure, axes[0, 0], 1.0 + _LOWER_HEIGHT)
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
    look = QUANTITIES.get(quantity) or Compared(quantity, quantity.replace("_", " "), "", "")
    # Above the panel: in it, the text would lie on the line that everything follows.
    upper.set_title(
        statistics_text(statistics, look.residual_unit),
        fontsize=style.SMALL_FONT_SIZE - 1.0,
        loc="left",
        linespacing=1.3,
    )
    upper.set_ylabel("this work")
    lower.set_ylabel(r"this work $-$ official")
    lower.set_xlabel(f"official {look.symbol}" + (f" [{look.unit}]" if look.unit else ""))
    style.note(upper, look.name.replace(" ", "\n", 1), "top left")
    style.note(lower, look.residual_unit, "top right")
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
    size = 0.6 * style.point_size(int(finite.sum()))
    low, high = limits(own[finite], official[finite])
    residual = own - official
    # A few wild galaxies must not hide the others: they become arrows at the edge.
    reach = max(1.6 * float(np.quantile(np.abs(residual[finite]), 0.98)), _LEAST_REACH)
    for which, colours in (
        (finite & ~good, {"facecolors": "none", "edgecolors": style.GREY, "linewidths": 0.5}),
        (good, {"color": style.BLUE, "linewidths": 0, "alpha": 0.6}),
    ):
        if not which.any():
            continue
        drawn = {**colours, "s": size, "zorder": 3}
        drawn["rasterized"] = bool(which.sum() > style.RASTER_ABOVE)
        upper.scatter(official[which], own[which], **drawn)
        inside = which & (np.abs(residual) <= reach)
        lower.scatter(official[inside], residual[inside], **drawn)
        for sign, marker in ((1.0, "^"), (-1.0, "v")):
            beyond = which & (sign * residual > reach)
            height = np.full(beyond.sum(), sign * reach * 0.96)
            lower.scatter(official[beyond], height, marker=marker, **{**drawn, "s": 3 * size})
    # Thin and without an edge: good results lie on these lines and must be seen.
    upper.plot([low, high], [low, high], color="black", lw=0.6, zorder=4)
    lower.axhline(0.0, color="black", lw=0.6, zorder=4)
    upper.set_xlim(low, high)
    upper.set_ylim(low, high)
    lower.set_ylim(-reach, reach)
    same_ticks(upper, 4)


def statistics_text(statistics, unit):
    """Return two lines a subset: number of galaxies, median offset and rms."""
    places = 2 if unit == "K" else 3
    lines = []
    for i in range(statistics.n_rows):
        subset = str(statistics["subset"][i])
        offset = style.format_value(statistics["median_offset"][i], places=places)
        rms = style.format_value(statistics["rms"][i], places=places)
        name = f"{SUBSETS.get(subset, subset)} ({int(statistics['n'][i])})"
        lines.append(f"{name}:\n  median {offset}, rms {rms}")
    return "\n".join(lines) or "no statistics given"

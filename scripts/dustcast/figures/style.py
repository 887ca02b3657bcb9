"""One look for every figure: widths, fonts, colours, labels of the targets, and saving.

Figures are made as `matplotlib.figure.Figure` objects, without pyplot, so that nothing global is
changed by an import and nothing is left open. Sizes are those of the journal (A&A: columns of
88 mm, pages of 180 mm), so that a figure is printed at the size at which it was drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

import matplotlib
import matplotlib.patheffects
import numpy as np
from matplotlib.figure import Figure

from dustcast.tables import atomic

COLUMN_MM = 88.0
PAGE_MM = 180.0
MM_PER_INCH = 25.4

# Points; 7 at the printed size is the smallest that a journal accepts comfortably.
FONT_SIZE = 8.0
SMALL_FONT_SIZE = 7.0

# Okabe & Ito (2008): told apart with every common colour blindness, and from inferno.
BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
ORANGE = "#E69F00"
VERMILION = "#D55E00"
GREY = "#7F7F7F"
DENSITY_MAP = "inferno"

# More points than this are drawn as an image inside the vector file.
RASTER_ABOVE = 2000
RASTER_DPI = 300
PNG_DPI = 200

RC = {
    "font.family": "STIXGeneral",  # shipped with matplotlib: the same on every machine
    "mathtext.fontset": "stix",
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": SMALL_FONT_SIZE,
    "ytick.labelsize": SMALL_FONT_SIZE,
    "legend.fontsize": SMALL_FONT_SIZE,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "axes.unicode_minus": True,
    "axes.axisbelow": False,
    "image.cmap": DENSITY_MAP,
    "pdf.fonttype": 42,  # text stays text that can be searched and edited
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class Quantity:
    """How a quantity is written on an axis.

    Attributes
    ----------
    name : str
        In words, for titles.
    symbol : str
        Symbol in mathtext.
    unit : str
        Unit of values, errors and residuals; empty if there is none.
    definition : str
        What the symbol stands for, in mathtext; empty where the name says it.
    """

    name: str
    symbol: str
    unit: str
    definition: str = ""

    def label(self, before=""):
        """Return an axis label: the words `before`, the symbol, the unit."""
        words = f"{before} {self.symbol}".strip()
        return f"{words} [{self.unit}]" if self.unit else words

    @property
    def title(self):
        """A panel's title: the definition of the symbol, or else the name."""
        return f"{self.symbol} = {self.definition}" if self.definition else self.name


TARGETS = {
    "sLd": Quantity(
        "specific dust luminosity",
        r"$\log\,sL_\mathrm{d}$",
        "dex",
        r"$\log_{10}(L_\mathrm{dust}/L_{\star})$",
    ),
    "sMd": Quantity(
        "specific dust mass",
        r"$\log\,sM_\mathrm{d}$",
        "dex",
        r"$\log_{10}(M_\mathrm{dust}/M_{\star})$",
    ),
    "Td": Quantity("dust temperature", r"$T_\mathrm{d}$", "K"),
}


def quantity(name, unit=""):
    """Return how a target is written; a target unknown here is written by its own name."""
    return TARGETS.get(name) or Quantity(name, name.replace("_", " "), unit)


def context():
    """Return the context in which figures of this style are made and saved."""
    return matplotlib.rc_context(RC)


def new_figure(width_mm, height_mm):
    """Return an empty figure with constrained layout.

    Parameters
    ----------
    width_mm, height_mm : float
        Printed size in millimetres; `COLUMN_MM` or `PAGE_MM` wide.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.02, wspace=0.02, hspace=0.02)
    return figure


def square(figure, ax, n_heights, iterations=3):
    """Change the height of a figure until a panel is square.

    Fixed aspects and constrained layout do not agree: titles end outside the page or wide
    gaps remain. Here the layout fills the page, and the page is given the height that it needs.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A finished figure.
    ax : matplotlib.axes.Axes
        The panel.
    n_heights : float
        Height of all panels above each other, in units of the height of `ax`.
    iterations : int
        Changes of the height change the ticks and with them the margins: how often to repeat.
    """
    with context():
        for _ in range(iterations):
            # The layout alone: drawing a hundred thousand points to measure margins is waste.
            figure.get_layout_engine().execute(figure)
            box = ax.get_position()
            width, height = figure.get_size_inches()
            excess = (box.width * width - box.height * height) * n_heights
            figure.set_size_inches(width, height + excess)


def save(figure, pdf_path=None, png_path=None):
    """Save a figure, whole or not at all, with equal bytes for equal content.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    pdf_path, png_path : str or Path, optional
        Where the vector and the pixel version go; either may be left out.
    """
    with context():
        if pdf_path is not None:
            # None removes an entry: a date or a library version would change the bytes.
            metadata = {"Creator": "dustcast", "Producer": None, "CreationDate": None}
            with atomic(pdf_path) as temporary:
                figure.savefig(temporary, format="pdf", dpi=RASTER_DPI, metadata=metadata)
        if png_path is not None:
            with atomic(png_path) as temporary:
                figure.savefig(temporary, format="png", dpi=PNG_DPI, metadata={"Software": None})


def edged(width, colour="white", edge=0.7):
    """Return path effects that give a line of some width an edge, to be seen on any colour."""
    effects = matplotlib.patheffects
    return [effects.Stroke(linewidth=width + 2.0 * edge, foreground=colour), effects.Normal()]


def note(ax, text, corner, size=SMALL_FONT_SIZE):
    """Write text into a corner of a panel, on a translucent ground.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The panel.
    text : str
        Lines of text; nothing is drawn for an empty one.
    corner : {'top left', 'top right', 'bottom left', 'bottom right'}
        Where.
    size : float
        Font size in points.
    """
    if not text:
        return
    vertical, horizontal = corner.split()
    ax.annotate(
        text,
        xy=(0.0 if horizontal == "left" else 1.0, 0.0 if vertical == "bottom" else 1.0),
        xycoords="axes fraction",
        xytext=(4 if horizontal == "left" else -4, 4 if vertical == "bottom" else -4),
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        fontsize=size,
        linespacing=1.25,
        zorder=20,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.0},
    )


def explain(ax, reason):
    """Write into an otherwise empty panel why it is empty."""
    ax.text(0.5, 0.5, reason, transform=ax.transAxes, ha="center", va="center", wrap=True)
    ax.set_xticks([])
    ax.set_yticks([])


def point_size(n_points):
    """Return the area of a scatter point (points^2): smaller where there are more."""
    return min(10.0, max(0.4, 120.0 / math.sqrt(max(n_points, 1))))


def dots(ax, x, y, brightness, *, size=1.0):
    """Draw points in the colours of the density map, the brightest on top.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The panel.
    x, y : array_like, shape (n,)
        Positions.
    brightness : array_like, shape (n,)
        0 (dark) to 1 (bright).
    size : float
        Area of a point, in units of `point_size`.
    """
    order = np.argsort(brightness, kind="stable")
    points = ax.scatter(
        x[order],
        y[order],
        c=brightness[order],
        s=size * point_size(len(x)),
        cmap=DENSITY_MAP,
        vmin=0.0,
        vmax=1.0,
        linewidths=0,
        rasterized=len(x) > RASTER_ABOVE,
        zorder=2,
    )
    points.set_in_layout(False)  # inside the frame: nothing to measure


def decimals(error):
    """Return how many decimals a value with this error is given with.

    The rule of the Particle Data Group: two digits of an error up to 0.354, one up to 0.949,
    and 0.10 beyond (of its three leading digits): 0.0141 is 0.014, 0.048 is 0.05.
    """
    exponent = math.floor(math.log10(abs(error)))
    leading = abs(error) / 10.0**exponent
    if leading >= 9.495:
        return max(0, -exponent)
    return max(0, (1 if leading < 3.545 else 0) - exponent)


def format_number(value, places):
    """Return a number with fixed decimals, a true minus sign, and no negative zero."""
    rounded = Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    text = f"{abs(rounded):f}"
    return f"\N{MINUS SIGN}{text}" if rounded < 0 else text


def format_value(value, error=None, unit="", places=None):
    """Return a number with its error, rounded where the error says that digits end.

    Parameters
    ----------
    value : float
        The number; not finite is written as a dash.
    error : float, optional
        Its standard error; without one (None, NaN or 0) three significant digits are given.
    unit : str
        Written behind.
    places : int, optional
        Decimals, if they are not to follow the error.

    Returns
    -------
    str
    """
    value = float(value)
    if not math.isfinite(value):
        return "\N{EN DASH}"
    known = error is not None and math.isfinite(error) and error > 0
    if places is None:
        if known:
            places = min(decimals(error), 6)
        elif value == 0:
            places = 2
        else:
            places = min(6, max(0, 2 - math.floor(math.log10(abs(value)))))
    text = format_number(value, places)
    if known:
        text += f" ± {format_number(error, places)}"
    return f"{text} {unit}".strip()

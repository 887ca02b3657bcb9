"""One page a galaxy: its dust, how sure it is, and where the model may be applied."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from dustcast.bands import REFERENCE_BAND, bands_of
from dustcast.figures import style
from dustcast.tables import DataError
from dustcast.units import ARCSEC_RAD

# Perceptually uniform and told apart with every common colour blindness.
COLUMNS = {
    "dust_mass": (r"$\Sigma_\mathrm{dust}$ [$M_\odot\,\mathrm{pc}^{-2}$]", "viridis", True),
    "dust_luminosity": (
        r"$\Sigma_{L\,\mathrm{dust}}$ [$L_\odot\,\mathrm{pc}^{-2}$]",
        "inferno",
        True,
    ),
    "sMd": (r"$\log\,sM_\mathrm{d}$", "viridis", False),
    "sLd": (r"$\log\,sL_\mathrm{d}$", "inferno", False),
    "Td": (r"$T_\mathrm{d}$ [K]", "cividis", False),
}
SIGMA_UNITS = {"Td": "K"}
CLASSES = ("inside", "edge", "outside")
CLASS_COLOURS = (style.SKY, style.ORANGE, "#000000")
NO_DATA_COLOUR = "#EEEEEE"
CONTOUR_SHARES = (0.1, 0.3, 0.6)
# Part of the width of a panel that a scale bar may fill.
BAR_SHARE = 0.4
# Millimetres: side of a panel, gap between columns, space above and below it for its title and
# its colour bar.
SIDE, GAP, ABOVE, BELOW, COLOUR_BAR = 32.4, 3.2, 6.0, 9.0, 2.0


def read_maps(paths):
    """Read maps as they are drawn.

    Parameters
    ----------
    paths : dict of str to str
        FITS files by product.

    Returns
    -------
    dict of str to dict
        By product, the planes by extension; under ``header`` the primary's cards.
    """
    from astropy.io import fits

    found = {}
    for name, path in paths.items():
        try:
            with fits.open(path, memmap=False) as hdus:
                found[name] = {hdu.name: hdu.data.astype(float) for hdu in hdus[1:]}
                found["header"] = dict(hdus[0].header)
        except (OSError, TypeError) as fault:
            raise DataError(f"{path} is no map ({fault}): delete it and run again") from None
    return found


def read_contours(path):
    """Return the image of a cube's W1, or else of its longest input band, and its name."""
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        table = hdus["BANDS"].data
        names = [str(name) for name in table["band"]]
        used = [name for name, ok in zip(names, table["used"]) if ok and name in bands_of("input")]
        # A galaxy without any has empty maps; then the contours do not matter.
        band = REFERENCE_BAND if REFERENCE_BAND in used else (used or names)[-1]
        return hdus["FLUX"].data[names.index(band)].astype(float), band


def dust_maps(maps, contours, band, totals):
    """Draw the page of a galaxy.

    Parameters
    ----------
    maps : dict
        From `read_maps`.
    contours : ndarray of shape (ny, nx)
        Image of which contours are drawn, on the grid of the maps.
    band : str
        Its band.
    totals : list of dict
        Rows of totals.csv.

    Returns
    -------
    matplotlib.figure.Figure
    """
    header = maps["header"]
    window = _window(maps["sMd"]["VALUE"])
    with style.context():
        figure, axes = _page(3, len(COLUMNS))
        for column, (name, (label, colours, logarithmic)) in enumerate(COLUMNS.items()):
            value, sigma = (maps[name][key][window] for key in ("VALUE", "SIGMA"))
            _panel(figure, axes[0, column], value, colours, logarithmic)
            axes[0, column].set_title(label)
            _panel(figure, axes[1, column], sigma, "Greys", False)
            axes[1, column].set_title(f"its sigma [{SIGMA_UNITS.get(name, 'dex')}]")
            for ax in axes[:2, column]:
                _contours(ax, contours[window])
        for column, name in enumerate(("sMd", "sLd", "Td")):
            _classes(axes[2, column], maps[name]["APPLIC"][window])
            axes[2, column].set_title(f"applicability, {style.TARGETS[name].symbol}")
        _panel(figure, axes[2, 3], _known(maps["sMd"], window), "cividis", False, whole=True)
        axes[2, 3].set_title("bands with a flux")
        _scale_bar(axes[0, 0], header["DC_PIXEL"], header["DC_DIST"])
        _beam(axes[0, 0], header["DC_EFWHM"] / header["DC_PIXEL"])
        for ax in axes.flat:
            ax.set_xticks([])
            ax.set_yticks([])
        _text(axes[2, 4], header, band, totals)
    return figure


def _page(n_rows, n_columns):
    """Return a figure and its square panels: nothing on it moves with what is drawn."""
    width, height = style.PAGE_MM, n_rows * (ABOVE + SIDE + BELOW)
    figure = Figure(figsize=(width / style.MM_PER_INCH, height / style.MM_PER_INCH))
    margin = (width - n_columns * SIDE - (n_columns - 1) * GAP) / 2
    axes = np.empty((n_rows, n_columns), dtype=object)
    for row, column in np.ndindex(n_rows, n_columns):
        left = margin + column * (SIDE + GAP)
        bottom = height - (row + 1) * (ABOVE + SIDE) - row * BELOW
        axes[row, column] = figure.add_axes(
            (left / width, bottom / height, SIDE / width, SIDE / height)
        )
    return figure, axes


def _window(value):
    """Return the slices around the pixels with a value, square and with a margin."""
    rows, columns = np.nonzero(np.isfinite(value))
    if not len(rows):
        return slice(None), slice(None)
    middle = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
    half = max(np.ptp(rows), np.ptp(columns)) // 2 + 2
    return tuple(slice(max(0, m - half), min(n, m + half + 1)) for m, n in zip(middle, value.shape))


def _known(planes, window):
    return np.where(np.isfinite(planes["VALUE"]), planes["COVERAGE"], np.nan)[window]


def _panel(figure, ax, image, colours, logarithmic, whole=False):
    """Draw an image with its colour bar; without a value the panel says so."""
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import LogLocator, MaxNLocator

    known = image[np.isfinite(image) & ((image > 0) | (not logarithmic))]
    ax.set_facecolor(NO_DATA_COLOUR)
    if not known.size:
        style.explain(ax, "no data")
        return
    low, high = np.percentile(known, (1, 99))
    if high <= low:
        # A common value has a bar too.
        low, high = low - 0.5 * abs(low) - 1e-6, high + 0.5 * abs(high) + 1e-6
    norm = LogNorm(low, high) if logarithmic else Normalize(low, high)
    shown = ax.imshow(
        image, origin="lower", cmap=colours, norm=norm, interpolation="nearest", aspect="auto"
    )
    place = ax.inset_axes((0.0, -2 * COLOUR_BAR / SIDE, 1.0, COLOUR_BAR / SIDE))
    bar = figure.colorbar(shown, cax=place, orientation="horizontal")
    bar.ax.tick_params(labelsize=6, pad=1.5)
    if not logarithmic:
        bar.ax.xaxis.set_major_locator(MaxNLocator(3, integer=whole))
    else:
        bar.ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        bar.ax.xaxis.set_major_formatter("{x:g}")
        bar.ax.minorticks_off()


def _classes(ax, image):
    """Draw the map of applicability with its legend."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    ax.set_facecolor(NO_DATA_COLOUR)
    shown = np.where(image <= 2, image, np.nan)
    ax.imshow(
        shown,
        origin="lower",
        cmap=ListedColormap(CLASS_COLOURS),
        vmin=-0.5,
        vmax=2.5,
        interpolation="nearest",
        aspect="auto",
    )
    known = shown[np.isfinite(shown)]
    shares = [np.mean(known == k) if known.size else 0.0 for k in range(3)]
    patches = [
        Patch(color=colour, label=f"{name} {100 * share:.0f}%")
        for name, colour, share in zip(CLASSES, CLASS_COLOURS, shares)
    ]
    ax.legend(
        handles=patches,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        fontsize=6,
        handlelength=0.8,
        borderpad=0.1,
        labelspacing=0.2,
    )


def _contours(ax, image):
    known = image[np.isfinite(image)]
    if known.size and known.max() > 0:
        levels = np.percentile(known, 99.5) * np.array(CONTOUR_SHARES)
        filled = np.where(np.isfinite(image), image, 0.0)
        ax.contour(filled, levels=levels, colors="white", linewidths=0.8)
        ax.contour(filled, levels=levels, colors="black", linewidths=0.35)


def _scale_bar(ax, pixel, distance):
    """Draw a bar of 1, 2 or 5 times a power of ten kpc."""
    kpc = pixel * ARCSEC_RAD * distance * 1e3
    width = abs(np.diff(ax.get_xlim())[0])
    longest = BAR_SHARE * width * kpc
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    left, bottom = ax.get_xlim()[0] + 0.06 * width, ax.get_ylim()[0] + 0.06 * width
    ax.plot(
        [left, left + length / kpc],
        [bottom, bottom],
        color="black",
        linewidth=1.2,
        path_effects=style.edged(1.2),
    )
    ax.text(
        left,
        bottom + 0.03 * width,
        f"{length:g} kpc",
        fontsize=6,
        va="bottom",
        path_effects=style.edged(0.0, edge=0.8),
    )


def _beam(ax, fwhm):
    """Draw the beam as an open circle in the lower right corner."""
    from matplotlib.patches import Circle

    width = abs(np.diff(ax.get_xlim())[0])
    centre = ax.get_xlim()[1] - 0.06 * width - fwhm / 2, ax.get_ylim()[0] + 0.06 * width + fwhm / 2
    ax.add_patch(Circle(centre, fwhm / 2, fill=False, linewidth=0.8, path_effects=style.edged(0.8)))


def _text(ax, header, band, totals):
    """Write what was summed and what the page shows."""
    ax.set_axis_off()
    names = {"dust_mass": r"$M_\mathrm{dust}$", "dust_luminosity": r"$L_\mathrm{dust}$"}
    units = {"dust_mass": r"$M_\odot$", "dust_luminosity": r"$L_\odot$"}
    lines = [f"{header['DC_GAL']}, {header['DC_SCALE']}"]
    for row in totals:
        log = math.log10(float(row["total"]))
        lines.append(
            f"log {names[row['quantity']]}/{units[row['quantity']]} = "
            f"{log:.2f} ± {float(row['error_dex']):.2f}"
        )
    if totals:
        lines.append(f"{totals[0]['n_pixel']} of {totals[0]['n_pixel_d25']} pixels in D25")
    lines += [f"model {header['DC_MODEL']}", f"({header['DC_FOLD']})", f"contours: {band}"]
    ax.text(0.0, 1.0, "\n".join(lines), va="top", fontsize=6.5, linespacing=1.4, clip_on=False)

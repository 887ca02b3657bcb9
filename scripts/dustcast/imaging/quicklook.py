"""One page a galaxy: each band raw, its stars and sky, clean, and in a cube with its S/N."""

from __future__ import annotations

import io
import math
import textwrap

import numpy as np

from dustcast.bands import band_table
from dustcast.imaging.geometry import pixel
from dustcast.imaging.images import read_clean, read_image
from dustcast.imaging.sky import block_cut, downsample
from dustcast.tables import DataError, atomic
from dustcast.units import ARCSEC_RAD

# Half a panel's side in units of the semi-major axis of D25: the ring of the sky is seen.
REACH = 3.2
PANEL_PIXELS = 120
HALF = PANEL_PIXELS / 2
EXTENT = (-HALF, HALF, -HALF, HALF)
LARGEST_BYTES = 300_000
# From the finest: the first whose file is small enough is taken.
RESOLUTIONS_DPI = (150, 130, 115, 100, 85, 70, 55, 40)
# The palette: greys of images, the colours of the sky model, and those of lines.
GREYS, SKY_COLOURS = 40, 24
# More bands than this stand in two columns.
ONE_COLUMN = 6
TITLES = ("raw", "sky model, stars", "clean")
# Drawn black.
LARGEST_SN = 20.0
STAR_COLOUR, ELLIPSE_COLOUR, NO_DATA, EMPTY = "#D55E00", "#0072B2", "#C6DBEF", "#EEEEEE"
FONT = {"font.family": "STIXGeneral", "font.size": 8}


def draw_page(path, galaxy, raw, clean, apertures, *, missing_unit=None, cube=None):
    """Draw the quick-look page of a galaxy.

    Parameters
    ----------
    path : str or Path
        PNG file, at most `LARGEST_BYTES` large.
    galaxy : dustcast.sample.Galaxy
        Whose D25 ellipse is drawn.
    raw, clean : dict of str to str
        Paths of raw and clean images by band.
    apertures : list of dustcast.imaging.stars.Aperture
        Star apertures of all bands.
    missing_unit : str, optional
        Unit of a raw image whose header names none.
    cube : dustcast.imaging.cube.Cube, optional
        Its images and their signal over error are shown too.
    """
    import matplotlib
    from matplotlib.figure import Figure

    n_columns = 1 if len(clean) <= ONE_COLUMN else 2
    n_rows = max(1, math.ceil(len(clean) / n_columns))
    side = 1.6 if n_columns == 1 else 1.05
    titles = [*TITLES, *((f"at {cube.scale}", "S/N") if cube else ())]
    n_panels = len(titles)
    with matplotlib.rc_context(FONT):
        figure = Figure(
            figsize=((n_panels * side + 0.45) * n_columns, side * n_rows + 0.42), facecolor="white"
        )
        width, height = figure.get_size_inches()
        figure.text(
            0.01,
            1 - 0.06 / height,
            f"{galaxy.galaxy}: {2 * REACH * galaxy.d25_arcsec / 120:.1f} arcmin across, north up, "
            "east left",
            va="top",
            fontsize=9,
        )
        for number, band in enumerate(clean):
            column, row = divmod(number, n_rows)
            left = column * (n_panels * side + 0.45) + 0.4
            bottom = height - 0.38 - (row + 1) * side
            axes = [
                figure.add_axes(
                    [(left + k * side) / width, bottom / height, 0.96 * side / width,
                     0.96 * side / height]
                )
                for k in range(n_panels)
            ]  # fmt: skip
            for ax, title in zip(axes, titles):
                ax.set_xticks([])
                ax.set_yticks([])
                if row == 0:
                    ax.set_title(title, fontsize=8, pad=3)
            axes[0].set_ylabel(band_table()[band].label, fontsize=8, labelpad=3)
            stars = [star for star in apertures if star.band == band]
            own = axes[: len(TITLES)]
            _draw_band(own, galaxy, band, raw.get(band), clean[band], stars, missing_unit)
            if cube:
                _draw_cube(axes[len(TITLES) :], galaxy, band, cube)
        content = _small_png(figure)
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def _draw_band(axes, galaxy, band, raw_path, clean_path, stars, missing_unit):
    """Draw the panels of one band."""
    image = read_clean(clean_path)
    try:
        raw = read_image(raw_path, band, missing_unit=missing_unit) if raw_path else None
    except DataError:
        raw = None
    raw_panel = None if raw is None else _panel(raw.data, raw.wcs, raw.pixel_arcsec, galaxy)
    if not image.ok:
        for ax in axes:
            ax.set_facecolor(EMPTY)
        if raw_panel is not None:
            _show(axes[0], raw_panel, *_limits(raw_panel))
        _say_why(axes[1], str(image.cards.get("DC_WHY", "")))
        return
    clean_panel = _panel(image.data, image.wcs, image.cards["DC_PIX"], galaxy)
    low, high = _limits(clean_panel)
    factor = image.cards["DC_EXT"]
    sky = raw_panel - _panel(
        np.where(np.isfinite(image.data), image.data, 0) / factor,
        image.wcs,
        image.cards["DC_PIX"],
        galaxy,
    )
    level = float(np.nanmedian(sky))
    _show(axes[0], (raw_panel - level) * factor, low, high)
    # Under a star the model is not known from these two.
    masked = _panel(image.stars.astype(float), image.wcs, image.cards["DC_PIX"], galaxy) > 0
    swing = max(float(np.nanpercentile(np.abs(sky - level), 99)), (high - low) / factor / 50)
    model = np.ma.masked_invalid(np.where(masked, np.nan, sky - level))
    axes[1].imshow(
        model, origin="lower", cmap=_colours("coolwarm"), vmin=-swing, vmax=swing, extent=EXTENT
    )
    _show(axes[2], clean_panel, low, high)
    _outline(axes, galaxy, stars)
    method = image.cards["DC_SKY"]
    words = f"poly {image.cards['DC_SKORD']}" if method == "poly" else "level"
    _note(axes[1], f"{words}, {len(stars)} stars")
    _note(axes[2], f"max {high:.3g} MJy/sr")


def _note(ax, text):
    """Write a few words into the lower left corner of a panel."""
    ground = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.8}
    ax.text(0.03, 0.03, text, transform=ax.transAxes, fontsize=6, bbox=ground)


def _say_why(ax, reason):
    """Write into an empty panel why it is empty."""
    # Letters of 5 points are about 2.6 points wide.
    size = ax.get_window_extent().width / ax.figure.dpi * 72
    text = textwrap.fill(reason, int(size / 2.6), max_lines=8)
    ax.text(0.02, 0.95, text, transform=ax.transAxes, va="top", fontsize=5)


def _draw_cube(axes, galaxy, band, cube):
    """Draw what a cube holds of a band, and its signal over error."""
    why = "" if band in cube.bands else f"not at {cube.scale}"
    why = why or cube.why[cube.bands.index(band)]
    if why:
        for ax in axes:
            ax.set_facecolor(EMPTY)
        _say_why(axes[0], why)
        return
    plane = cube.bands.index(band)
    flux, error = (
        _panel(np.asarray(part[plane], dtype=float), cube.grid.wcs, cube.grid.pixel, galaxy)
        for part in (cube.flux, cube.error)
    )
    _show(axes[0], flux, *_limits(flux))
    axes[1].imshow(
        np.ma.masked_invalid(flux / error),
        origin="lower",
        cmap=_colours("gray_r"),
        vmin=0,
        vmax=LARGEST_SN,
        extent=EXTENT,
    )
    for ax in axes:
        ax.add_patch(_ellipse(galaxy))
        ax.set_xlim(-HALF, HALF)
        ax.set_ylim(-HALF, HALF)
    _note(axes[1], f"0 to {LARGEST_SN:g}")


def _panel(data, wcs, pixel_arcsec, galaxy):
    """Return an image on the page's grid around a galaxy, north up; NaN where it has no data."""
    from scipy.ndimage import map_coordinates

    reach = REACH * galaxy.d25_arcsec / 2
    step = 2 * reach / PANEL_PIXELS
    block = max(1, int(step / pixel_arcsec))
    small = downsample(data, block)
    axis = (np.arange(PANEL_PIXELS) + 0.5) * step - reach
    east, north = np.meshgrid(-axis, axis)
    ra, dec = _offset(galaxy, east, north)
    x, y = pixel(wcs, ra, dec)
    x, y = (
        (places - block_cut(n, block) + 0.5) / block - 0.5
        for places, n in zip((x, y), data.shape[::-1])
    )
    return map_coordinates(small, [y, x], order=0, mode="constant", cval=np.nan)


def _offset(galaxy, east, north):
    """Return positions (deg) at offsets in arcsec on the tangent plane of the centre."""
    xi, eta = east * ARCSEC_RAD, north * ARCSEC_RAD
    dec0 = math.radians(galaxy.dec)
    down = np.cos(dec0) - eta * np.sin(dec0)
    ra = np.radians(galaxy.ra) + np.arctan2(xi, down)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, down))
    return np.degrees(ra), np.degrees(dec)


def _limits(panel):
    """Return the brightness that is drawn black and the one that is drawn white."""
    finite = panel[np.isfinite(panel)]
    if finite.size == 0:
        return 0.0, 1.0
    middle = float(np.median(finite))
    scatter = 1.4826 * float(np.median(np.abs(finite - middle)))
    low, high = middle - 2 * scatter, float(np.percentile(finite, 99.8))
    return low, max(high, low + 5 * scatter, low + 1e-30)


def _show(ax, panel, low, high):
    """Draw an image with a stretch that shows both the disc's edge and its centre."""
    stretched = np.arcsinh(10 * np.clip((panel - low) / (high - low), 0, 1)) / math.asinh(10)
    ax.imshow(
        np.ma.masked_invalid(stretched),
        origin="lower",
        cmap=_colours("gray_r"),
        vmin=0,
        vmax=1,
        extent=EXTENT,
    )


def _colours(name):
    """Return a colour map in which what is masked or not covered is light blue."""
    import matplotlib

    return matplotlib.colormaps[name].with_extremes(bad=NO_DATA)


def _outline(axes, galaxy, stars):
    """Draw the D25 ellipse and the stars."""
    from matplotlib.patches import Circle

    for ax in axes[1:]:
        ax.add_patch(_ellipse(galaxy))
    per_arcsec = PANEL_PIXELS / (REACH * galaxy.d25_arcsec)
    for star in stars:
        east = (star.ra - galaxy.ra + 180) % 360 - 180
        east *= 3600 * math.cos(math.radians(galaxy.dec)) * per_arcsec
        place = (-east, (star.dec - galaxy.dec) * 3600 * per_arcsec)
        radius = max(star.radius * per_arcsec, 0.7)
        axes[1].add_patch(Circle(place, radius, fill=False, lw=0.6, ec=STAR_COLOUR))
    for ax in axes:
        ax.set_xlim(-HALF, HALF)
        ax.set_ylim(-HALF, HALF)


def _ellipse(galaxy):
    """Return the outline of D25 on a panel."""
    from matplotlib.patches import Ellipse

    major = PANEL_PIXELS / REACH
    # East is left, so that north to east turns counter-clockwise as on the sky.
    return Ellipse(
        (0, 0),
        major * galaxy.axis_ratio,
        major,
        angle=galaxy.pa,
        fill=False,
        lw=0.6,
        ec=ELLIPSE_COLOUR,
    )


def _small_png(figure):
    """Return a figure as a PNG file with few colours, as fine as the limit of size allows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    for dpi in RESOLUTIONS_DPI:
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        page = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        buffer = io.BytesIO()
        page.quantize(palette=_palette(), dither=Image.Dither.NONE).save(
            buffer, "PNG", optimize=True
        )
        if buffer.tell() <= LARGEST_BYTES:
            break
    return buffer.getvalue()


def _palette():
    """Return an image whose palette holds the colours of a page, so that greys stay grey."""
    import matplotlib
    from matplotlib.colors import to_rgb
    from PIL import Image

    named = [to_rgb(name) for name in (STAR_COLOUR, ELLIPSE_COLOUR, NO_DATA, EMPTY)]
    greys = [(level,) * 3 for level in np.linspace(0, 1, GREYS)]
    sky = matplotlib.colormaps["coolwarm"](np.linspace(0, 1, SKY_COLOURS))[:, :3]
    colours = np.round(255 * np.array([*named, *greys, *sky])).astype(int)
    page = Image.new("P", (1, 1))
    page.putpalette(colours.ravel().tolist())
    return page

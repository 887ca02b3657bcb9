"""Speed, memory and accuracy of convolution and cubes, beside a plain chain of libraries.

Run ``make bench-images``, or ``python tests/bench/bench_images.py`` with scripts/ on PYTHONPATH. A
galaxy fills a third of its field; images in `BANDS`, with noise, masked stars and a few missing
pixels, are brought to the PSFs and grids of 18 and, in fields that leave sky enough, 36 arcsec. The
plain chain convolves each image with `astropy.convolution.convolve_fft` and the same kernels, and
resamples the result with `reproject.reproject_adaptive`. Both chains begin with an image and made
kernels; ours makes cover, star and error planes too, and fills the star masks, which the plain
chain finds filled. Times are processor seconds on one thread. Peak memory is that of a process that
runs our chain only. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

# One band of each pixel size, from 0.45 to 4 arcsec, and one that is not convolved at 18 arcsec.
BANDS = (
    "SDSS_r",
    "Spitzer_3.6",
    "2MASS_Ks",
    "WISE_12",
    "GALEX_NUV",
    "PACS_100",
    "PACS_160",
    "SPIRE_250",
)
FIELDS = {"3arcmin": 3, "10arcmin": 10, "60arcmin": 60}
M31_ARCMIN = 180
START = (
    "import reproject, photutils.psf_matching, astropy.stats; from dustcast import bridge; "
    "from dustcast.imaging import convolution, cube, images, layers"
)


def galaxy_of(side_arcmin):
    """Return a galaxy of which D25 is a third of the field."""
    from scenes import GALAXY

    from dustcast.sample import Galaxy

    d25_arcsec = 20.0 * side_arcmin
    return Galaxy("BENCH", GALAXY.ra, GALAXY.dec, 5.0, 0.0, d25_arcsec, 0.7, 35.0, math.nan, "")


def scales_of(side_arcmin):
    """Return the scales whose grids find sky in the field."""
    from dustcast.imaging.layers import Scale

    scales = [Scale("18arcsec", "SPIRE_250", 18.0, BANDS)]
    return scales + [Scale("36arcsec", "SPIRE_500", 36.0, BANDS)] * (side_arcmin > 5)


def settings_of():
    """Return settings with which a cube has the side of the field."""
    from dustcast.imaging.layers import Settings

    return Settings(field=3.0, sky_pixels=4)


def image_of(band, side_arcmin):
    """Return the clean image of a band: an exponential disc, noise, masked stars, lost pixels."""
    from scenes import clean, wcs_of

    from dustcast.bands import band_table

    pixel = band_table()[band].pixel_arcsec
    n = math.ceil(60 * side_arcmin / pixel)
    rng = np.random.default_rng(BANDS.index(band))
    image = rng.normal(0, 0.02, (n, n)).astype(np.float32)
    axis = ((np.arange(n) - n / 2) * pixel / (4 * side_arcmin)).astype(np.float32)
    image += 3 * np.exp(-np.hypot(axis[:, None], axis))
    stars = np.zeros((n, n), bool)
    reach = max(1, int(5 / pixel))
    for y, x in rng.integers(0, n, (max(3, side_arcmin**2 // 10), 2)):
        stars[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = True
    image[stars] = np.nan
    image[tuple(rng.integers(0, n, (2, max(1, n**2 // 10_000))))] = np.nan
    return clean(band, image, wcs_of((n, n), pixel, rotation=12.0), stars=stars, DC_EBVERR=0.005)


def filled(image):
    """Return the data of an image with its star masks filled."""
    from dustcast.imaging.filling import FilledImage

    return FilledImage(image.data, image.stars)[:]


def own_chain(side_arcmin, folder):
    """Run our chain; write its planes and return what it took."""
    from dustcast.imaging.layers import make_layers

    galaxy, scales, settings = galaxy_of(side_arcmin), scales_of(side_arcmin), settings_of()
    # What a job loads and makes once is not counted to the field.
    make_layers(image_of("WISE_12", 3), scales, galaxy_of(3), settings)
    planes, seconds = {}, {}
    for band in BANDS:
        image = image_of(band, side_arcmin)
        make_kernels(image, scales)
        start = time.process_time()
        layers = make_layers(image, scales, galaxy, settings)
        seconds[band] = time.process_time() - start
        for name, layer in layers.items():
            assert not layer.why, (band, name, layer.why)
            planes[f"{band}/{name}"] = layer.flux
    np.savez(folder / "own.npz", **planes)
    return {
        "seconds": seconds,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def make_kernels(image, scales):
    """Return pixel size and kernels of an image, as the layers have them."""
    from astropy.wcs.utils import proj_plane_pixel_scales

    from dustcast.imaging.layers import _kernel

    pixel = float(3600 * np.sqrt(np.prod(proj_plane_pixel_scales(image.wcs))))
    band = image.cards["DC_BAND"]
    return pixel, [_kernel(band, scale.target, round(pixel, 4), None) for scale in scales]


def plain_chain(side_arcmin, folder):
    """Run the plain chain and our convolution alone; compare and return what they took."""
    from astropy.convolution import convolve_fft
    from reproject import reproject_adaptive

    from dustcast.imaging.layers import grid_of

    own = np.load(folder / "own.npz")
    galaxy, scales, settings = galaxy_of(side_arcmin), scales_of(side_arcmin), settings_of()
    out = {"seconds": {}, "convolve": {}, "own_convolve": {}, "convolve_error": 0.0, "error": 0.0}
    for band in BANDS:
        image = image_of(band, side_arcmin)
        pixel, kernels = make_kernels(image, scales)
        data = filled(image)
        convolved, took = convolve_own(image, data, scales, kernels)
        out["own_convolve"][band], spent, convolution = took, 0.0, 0.0
        for scale, kernel in zip(scales, kernels):
            begin = time.process_time()
            values = data
            if not kernel.is_identity:
                values = convolve_fft(
                    data,
                    kernel.sampled(pixel, pixel),
                    boundary="fill",
                    fill_value=np.nan,
                    nan_treatment="interpolate",
                    normalize_kernel=True,
                    allow_huge=True,
                )
                convolution += time.process_time() - begin
            grid = grid_of(galaxy, scale, settings)
            cube, _ = reproject_adaptive(
                (values, image.wcs),
                grid.wcs,
                shape_out=grid.shape,
                kernel=settings.resampling,
                conserve_flux=False,
            )
            spent += time.process_time() - begin
            peak = np.nanmax(np.abs(values))
            if not kernel.is_identity:
                stride, found = convolved[scale.name]
                difference = np.abs(found - values[::stride, ::stride])
                out["convolve_error"] = max(out["convolve_error"], float(difference.max() / peak))
                difference = np.abs(own[f"{band}/{scale.name}"] - cube)
                error = float(np.nanmax(difference) / np.nanmax(np.abs(cube)))
                out["error"] = max(out["error"], error)
        out["seconds"][band], out["convolve"][band] = spent, convolution
    return out


def convolve_own(image, data, scales, kernels):
    """Return our convolved images with their strides by scale, and the seconds they took."""
    from dustcast.imaging.convolution import STRIDES, Convolver
    from dustcast.imaging.layers import _stride

    pixel, _ = make_kernels(image, scales)
    wanted = [
        (scale, kernel, _stride(image, kernel, scale, pixel))
        for scale, kernel in zip(scales, kernels)
        if not kernel.is_identity
    ]
    if not wanted:
        return {}, 0.0
    begin = time.process_time()
    reach = max(math.ceil(kernel.reach / pixel) for _, kernel, _ in wanted) + max(STRIDES)
    convolver = Convolver(data, reach=(reach, reach), strides=[k for *_, k in wanted])
    found = {
        scale.name: (k, convolver.convolve(kernel.sampled(k * pixel, k * pixel), k))
        for scale, kernel, k in wanted
    }
    return found, time.process_time() - begin


def child(part, field, folder):
    """Run one part of a field in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--field", field, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def startup_cpu_s():
    """Return the processor seconds in which a job has loaded all that it needs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    times = []
    for _ in range(3):
        subprocess.run([sys.executable, "-c", START], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        before = after
    return min(times)


def main():
    """Print a table of the fields, and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", nargs="*", default=list(FIELDS), choices=list(FIELDS))
    parser.add_argument("--part", choices=["own", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--field", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        run = {"own": own_chain, "plain": plain_chain}[arguments.part]
        print(json.dumps(run(FIELDS[arguments.field], arguments.folder)))
        return
    report = {"bench": "images", "fields": {}, "startup_cpu_s": round(startup_cpu_s(), 3)}
    print(f"start of a job: {report['startup_cpu_s']:.2f} s of processor time\n")
    for field in arguments.fields:
        with tempfile.TemporaryDirectory() as folder:
            own, plain = (child(part, field, folder) for part in ("own", "plain"))
        print(f"{field}: seconds of processor time")
        print(
            f"{'band':<14}{'chain':>9}{'plain':>9}{'ratio':>8}{'convolve':>11}{'plain':>9}{'ratio':>8}"
        )
        for band in [*BANDS, "all"]:
            times = [
                sum(part.values()) if band == "all" else part[band]
                for part in (
                    own["seconds"], plain["seconds"], plain["own_convolve"], plain["convolve"]
                )
            ]  # fmt: skip
            ratios = [times[1] / times[0], times[3] / times[2] if times[2] else math.nan]
            print(
                f"{band:<14}{times[0]:>9.3f}{times[1]:>9.3f}{ratios[0]:>8.1f}"
                f"{times[2]:>11.3f}{times[3]:>9.3f}{ratios[1]:>8.1f}"
            )
        print(
            f"largest difference over the peak: convolved {plain['convolve_error']:.1e}, cubes "
            f"{plain['error']:.1e}; peak memory {own['rss_mb']:.0f} MB\n"
        )
        report["fields"][field] = {
            "s": float(f"{times[0]:.4g}"),
            "reference_s": float(f"{times[1]:.4g}"),
            "ratio": float(f"{ratios[0]:.4g}"),
            "convolve_ratio": float(f"{ratios[1]:.4g}"),
            "peak_rss_mb": round(own["rss_mb"]),
        }
    if "60arcmin" in report["fields"]:
        area = (M31_ARCMIN / FIELDS["60arcmin"]) ** 2
        largest = report["fields"]["60arcmin"]
        print(
            f"M31, 3 degrees, extrapolated by area: {area * largest['s']:.0f} s for these "
            f"{len(BANDS)} bands, at most {area * largest['peak_rss_mb'] / 1024:.0f} GB\n"
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()

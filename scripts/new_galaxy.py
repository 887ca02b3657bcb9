"""Write the configuration of a galaxy of one's own: ``make new-galaxy NAME=NGC628``.

It is no rule's script: it writes what Snakemake then reads.
"""

import argparse
import sys
from pathlib import Path

from dustcast.bands import band_table, bands_of
from dustcast.sample import check_galaxy_name
from dustcast.tables import DataError, write_text

TEMPLATE = """\
# Dust maps of {name}: fill in what is between < and >, remove what you do not have.
#   snakemake maps --configfile {file} --cores 4 -n     says what would be done, or what is wrong
#   snakemake maps --configfile {file} --cores 4
# The maps are results/{run}/maps/{name}/*/*.fits, their page is in results/{run}/figures/dust_maps.
# Keys: config/README.md. A walk-through with real galaxies: docs/maps.md.
run: {run}

# best is the PSF of the widest input image; or an angle (18arcsec) or a length (400pc), or several.
scales: [best]

sample:
  own:
    {name}:
      ra: <degrees>
      dec: <degrees>
      distance: <Mpc>
      # distance_err: <Mpc> # its error is a column of the totals by itself
      d25_arcsec: <arcsec> # diameter within which dust is predicted; or radius_arcsec, its half
      axis_ratio: 1.0 # minor over major axis
      pa: 0 # position angle of the major axis in degrees, north to east
      # Galactic E(B-V) of Schlegel et al. (1998); without these lines it is fetched from IRSA.
      # ebv: 0.03
      # ebv_err: 0.005

survey:
  source: local
  # Unit of images whose header names none: one for all, such as Jy/pix or MJy/sr, or by band.
  # missing_unit: Jy/pix
  # missing_unit: {{GALEX_NUV: ct/s, WISE_12: DN}}
  images:
    {name}:
      # Any of these; with fewer bands the maps are less certain, and say so.
{inputs}
      # Far-infrared, if you have it: at scales of 18arcsec and more it is fitted too, and maps hold
      # the truth beside the prediction. Finer maps of the same run are matched to it
      # (scales: [best, 18arcsec]).
{targets}

stars:
  # gaia fetches the stars of Gaia DR2; by_hand masks only those of the table config/stars.csv.
  source: gaia

# images:
#   kernels: <folder under data_dir with kernels of Aniano et al. (2011); else kernels are made>

maps:
  # The model that ships; or one of your own that rule ship_model wrote.
  model: resources/models/dustpedia
  # true multiplies surface densities by the axis ratio: as seen from above.
  deproject: false
"""


def template(name, file):
    """Return the text of the configuration of a galaxy."""
    known = band_table()
    lines = {
        role: "\n".join(
            f"      # {band}: <path>.fits"
            for band in bands_of(role)
            if known[band].fwhm_arcsec == known[band].fwhm_arcsec
        )
        for role in ("input", "target")
    }
    run = name.lower().replace("+", "p").replace(".", "_")
    run = run if run[0].isalpha() else f"g{run}"
    return TEMPLATE.format(
        name=name, run=run, file=file, inputs=lines["input"], targets=lines["target"]
    )


def main():
    """Write the file; one that is there is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="name of the galaxy, for instance NGC628")
    try:
        name = check_galaxy_name(parser.parse_args().name, "NAME")
        path = Path(f"{name.lower()}.yaml")
        if path.exists():
            raise DataError(f"{path} is there already: edit it, or remove it first")
        write_text(path, template(name, path))
    except DataError as fault:
        print(f"dustcast: {fault}", file=sys.stderr)
        return 2
    print(
        f"{path} is written: fill it in, then run snakemake maps --configfile {path} --cores 4 -n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

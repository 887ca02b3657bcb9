"""Sum the images of whole galaxies: over D25, and over the apertures of the catalogue."""

from dustcast.bridge import run
from dustcast.imaging.cube import read_cube
from dustcast.imaging.pixels import (
    CATALOGUE_ANNULUS,
    catalogue_apertures,
    d25_ellipse,
    sum_galaxies,
)
from dustcast.sample import galaxy_table
from dustcast.tables import write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        galaxies = galaxy_table(snakemake.input.galaxies)
        bands = snakemake.params.bands
        d25 = {name: d25_ellipse(galaxy) for name, galaxy in galaxies.items()}
        files = snakemake.input.apertures
        known = catalogue_apertures(files[0]) if files else {}
        apertures = {name: known[name] for name in galaxies if name in known}
        for output, ellipses, annulus in (
            (snakemake.output.photometry, d25, None),
            (snakemake.output.apertures, apertures, CATALOGUE_ANNULUS),
        ):
            cubes = map(read_cube, snakemake.input.cubes)
            table = sum_galaxies(cubes, galaxies, bands, ellipses, annulus=annulus)
            write_table(output, table, meta=origin)

"""Write the photometry of the pixels of a cube inside D25."""

from dustcast.bridge import run
from dustcast.imaging.cube import read_cube
from dustcast.imaging.pixels import pixel_photometry
from dustcast.sample import galaxy_table
from dustcast.tables import write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        galaxy = galaxy_table(snakemake.input.galaxies)[snakemake.wildcards.galaxy]
        cube = read_cube(snakemake.input.cube)
        table = pixel_photometry(cube, galaxy, snakemake.params.bands)
        write_table(snakemake.output[0], table, meta=origin)

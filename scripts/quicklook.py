"""Draw the quick-look page of a galaxy."""

from dustcast.bridge import run
from dustcast.imaging.cube import read_cube
from dustcast.imaging.quicklook import draw_page
from dustcast.imaging.stars import read_apertures
from dustcast.sample import galaxy_table

if __name__ == "__main__":
    with run(snakemake):
        inputs, params = snakemake.input, snakemake.params
        draw_page(
            snakemake.output[0],
            galaxy_table(inputs.galaxies)[snakemake.wildcards.galaxy],
            dict(zip(params.bands, inputs.raw)),
            dict(zip(params.bands, inputs.clean)),
            read_apertures(inputs.stars),
            missing_unit=params.missing_unit,
            cube=read_cube(inputs.cube[0]) if inputs.cube else None,
        )

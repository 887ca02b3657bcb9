"""Bring what the sky of a simulated galaxy holds to the grid of a scale: maps and a table."""

from dustcast.bridge import run
from dustcast.imaging.layers import Settings
from dustcast.mock.sky import read_sky
from dustcast.mock.truth import true_maps, true_table, write_maps
from dustcast.sample import galaxy_table
from dustcast.tables import write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        outputs, params = snakemake.output, snakemake.params
        galaxy = galaxy_table(snakemake.input.galaxies)[snakemake.wildcards.galaxy]
        settings = Settings(**params.settings, made=snakemake.input.kernels)
        sky = read_sky(snakemake.input.sky)
        grid, maps = true_maps(galaxy, sky, params.row, params.rows, settings)
        write_maps(outputs.maps, galaxy, params.row, grid, maps)
        table = true_table(galaxy, params.row, params.bands, grid, maps)
        write_table(outputs.table, table, meta=origin)

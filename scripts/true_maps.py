"""Bring what the sky of a simulated galaxy holds to the grids of scales: maps and a table."""

from dustcast.bridge import run
from dustcast.imaging.layers import Settings
from dustcast.mock.sky import read_sky
from dustcast.mock.truth import true_maps, true_table, write_maps
from dustcast.sample import galaxy_table
from dustcast.tables import stack_tables, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        outputs, params = snakemake.output, snakemake.params
        galaxy = galaxy_table(snakemake.input.galaxies)[snakemake.wildcards.galaxy]
        settings = Settings(**params.settings, made=snakemake.input.kernels)
        found = true_maps(galaxy, read_sky(snakemake.input.sky), params.made, params.rows, settings)
        write_maps(outputs.maps, galaxy, found)
        tables = [
            true_table(galaxy, row, params.bands, *found[row["scale"]]) for row in params.made
        ]
        write_table(outputs.table, stack_tables(tables), meta=origin)

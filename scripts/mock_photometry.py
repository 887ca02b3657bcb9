"""Simulate the photometry of whole galaxies, and keep what is true of them."""

from dustcast.bands import bands_of
from dustcast.bridge import run
from dustcast.mock.table import simulate
from dustcast.photometry import global_photometry
from dustcast.sample import galaxy_table
from dustcast.sed.grid import load_grid
from dustcast.tables import write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        bands = snakemake.params.bands
        galaxies = galaxy_table(snakemake.input.galaxies)
        fluxes, truth = simulate(
            load_grid(snakemake.input.grid),
            list(galaxies.values()),
            seed=snakemake.params.mock["seed"],
        )
        inputs = [band for band in bands_of("input") if band in bands]
        photometry = global_photometry(fluxes, galaxies, bands, input_bands=inputs)
        write_table(snakemake.output.truth, truth, meta=origin)
        write_table(snakemake.output.photometry, photometry, meta=origin)

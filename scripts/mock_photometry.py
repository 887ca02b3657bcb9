"""Simulate the photometry of galaxies at every scale, and keep what is true of them."""

from dustcast.bridge import progress, run
from dustcast.mock.spectra import Spectra
from dustcast.mock.table import simulate
from dustcast.population import dust_smoothing_kpc
from dustcast.sample import plan, read_galaxies
from dustcast.sed.grid import load_grid
from dustcast.tables import write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        galaxies = read_galaxies(snakemake.config)
        settings = snakemake.params.mock
        scales = simulate(
            Spectra(load_grid(snakemake.input.models)),
            galaxies,
            plan(snakemake.config, galaxies),
            snakemake.params.bands,
            seed=settings["seed"],
            max_pixels=settings["max_pixels"],
            dust_smoothing_kpc={
                one.galaxy: dust_smoothing_kpc(settings, one.galaxy) for one in galaxies
            },
            progress=progress(len(galaxies), "galaxies observed").until,
        )
        for number, (photometry, truth) in enumerate(scales.values()):
            write_table(snakemake.output.photometry[number], photometry, meta=origin)
            write_table(snakemake.output.truth[number], truth, meta=origin)

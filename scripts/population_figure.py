"""Draw the colours and dust of the simulated galaxies over those of DustPedia."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.population import population
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        files = snakemake.input
        figure = population(*map(read_table, (files.real, files.photometry, files.features)))
        style.save(figure, snakemake.output.pdf, snakemake.output.png)

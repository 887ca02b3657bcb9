"""Write the photometry of whole galaxies once more, with bands removed."""

from dustcast.bridge import run
from dustcast.learning.dropout import drop_bands
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        settings = snakemake.params.dropout
        photometry = drop_bands(
            read_table(snakemake.input[0]),
            snakemake.params.bands,
            settings["subsets"],
            n_random=settings["n_random"],
            every=settings["every"],
            seed=snakemake.params.seed,
        )
        write_table(snakemake.output[0], photometry, meta=origin)

"""Split the galaxies into folds."""

from dustcast.bridge import run
from dustcast.learning.folds import sample_folds
from dustcast.sample import galaxy_table
from dustcast.tables import read_table, stack_tables, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        folds = sample_folds(
            stack_tables(map(read_table, snakemake.input.photometry)),
            galaxy_table(snakemake.input.galaxies),
            **snakemake.params.settings,
        )
        table = {"galaxy": list(folds), "fold": list(folds.values())}
        write_table(snakemake.output[0], table, meta=origin)

"""Split the galaxies into folds."""

from dustcast.bridge import run
from dustcast.learning.folds import split_folds
from dustcast.sample import galaxy_table, overlapping
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        names = list(dict.fromkeys(read_table(snakemake.input.photometry)["galaxy"]))
        galaxies = galaxy_table(snakemake.input.galaxies)
        together = overlapping([galaxies[name] for name in names])
        folds = split_folds(
            names,
            snakemake.params.n_folds,
            snakemake.params.seed,
            groups=together if snakemake.params.share_folds else None,
        )
        write_table(
            snakemake.output[0], {"galaxy": list(folds), "fold": list(folds.values())}, meta=origin
        )

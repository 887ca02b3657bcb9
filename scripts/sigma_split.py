"""Measure what sigma of models of whole galaxies is worth on pixels."""

from dustcast.bridge import run
from dustcast.learning.experiments import read_features, read_folds
from dustcast.learning.shipping import carried_sigma
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        (whole, names), (pixels, _) = (
            read_features([read_table(snakemake.input[key])], snakemake.params.selection)
            for key in ("whole", "pixels")
        )
        table = carried_sigma(
            whole,
            pixels,
            names,
            read_folds(read_table(snakemake.input.folds)),
            snakemake.params.regressor,
            seed=snakemake.params.seed,
        )
        write_table(snakemake.output[0], table, meta=origin)

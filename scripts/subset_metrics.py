"""Compute the metrics of an experiment by the subset of bands that a sample has."""

from dustcast.bridge import run
from dustcast.learning.dropout import subset_metrics
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        metrics = subset_metrics(
            read_table(snakemake.input[0]),
            experiment=snakemake.wildcards.experiment,
            n_bootstrap=snakemake.params.n_bootstrap,
            seed=snakemake.params.seed,
        )
        write_table(snakemake.output[0], metrics, meta=origin)

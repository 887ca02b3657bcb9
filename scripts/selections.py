"""Average predictions by galaxy, and compute the metrics of what the figures select."""

from dustcast.bridge import run
from dustcast.learning.selections import galaxy_averages, selection_metrics
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        predictions = read_table(snakemake.input[0])
        write_table(snakemake.output.averages, galaxy_averages(predictions), meta=origin)
        metrics = selection_metrics(
            predictions,
            **snakemake.params.selections,
            n_bootstrap=snakemake.params.n_bootstrap,
            seed=snakemake.params.seed,
        )
        write_table(snakemake.output.metrics, metrics, meta=origin)

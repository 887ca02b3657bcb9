"""Compute the metrics of an experiment, overall and by galaxy."""

from dustcast.bridge import run
from dustcast.learning.metrics import galaxy_metrics_table, metrics_table
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        predictions = read_table(snakemake.input[0])
        experiment = snakemake.wildcards.experiment
        metrics = metrics_table(
            predictions,
            experiment=experiment,
            n_bootstrap=snakemake.params.n_bootstrap,
            seed=snakemake.params.seed,
        )
        by_galaxy = galaxy_metrics_table(predictions, experiment=experiment)
        write_table(snakemake.output.metrics, metrics, meta=origin)
        write_table(snakemake.output.galaxies, by_galaxy, meta=origin)

"""Cross-validate an experiment on folds of another seed, without keeping its models."""

from dustcast.bridge import progress, run
from dustcast.learning.experiments import (
    cross_validate,
    read_features,
)
from dustcast.learning.folds import sample_folds
from dustcast.learning.metrics import metrics_table
from dustcast.sample import galaxy_table
from dustcast.tables import read_table, stack_tables, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        experiment, seed = snakemake.params.experiment, int(snakemake.wildcards.seed)
        features, inputs = read_features(
            map(read_table, snakemake.input.features), experiment["selection"]
        )
        folds = sample_folds(
            stack_tables(map(read_table, snakemake.input.photometry)),
            galaxy_table(snakemake.input.galaxies),
            **{**snakemake.params.folds, "seed": seed},
        )
        count = progress(len(experiment["regressors"]), "regressors")
        parts = []
        for regressor in experiment["regressors"]:
            settings = experiment["settings"].get(regressor, {})
            parts.append(
                cross_validate(
                    features,
                    folds,
                    regressor,
                    settings=settings,
                    seed=seed,
                    feature_names=inputs,
                    training=experiment["training"],
                )
            )
            count()
        metrics = metrics_table(
            stack_tables(parts),
            experiment=snakemake.wildcards.experiment,
            n_bootstrap=snakemake.params.n_bootstrap,
        )
        write_table(snakemake.output[0], metrics, meta=origin)

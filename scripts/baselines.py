"""Predict by the short fit, a constant and a line, and compute the metrics."""

import numpy as np

from dustcast.bridge import run
from dustcast.learning.baselines import against_true_values, baselines, binned_metrics
from dustcast.learning.experiments import read_features, read_folds
from dustcast.learning.metrics import metrics_table
from dustcast.tables import Table, read_table, stack_tables, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        inputs, params = snakemake.input, snakemake.params
        features, _ = read_features(map(read_table, inputs.features), {})
        short = stack_tables(map(read_table, inputs.short))
        predictions = baselines(features, short, read_folds(read_table(inputs.folds)))
        write_table(snakemake.output.predictions, predictions, meta=origin)
        settings = {"n_bootstrap": params.n_bootstrap, "seed": params.seed}
        metrics = metrics_table(predictions, experiment="baselines", **settings)
        write_table(snakemake.output.metrics, metrics, meta=origin)
        photometry = stack_tables(map(read_table, inputs.photometry))
        both = stack_tables([read_table(inputs.predictions), predictions])
        against = {"fit": both}
        if inputs.get("true"):
            true = stack_tables(map(read_table, inputs.true))
            against["true"] = against_true_values(both, true)
        bins = []
        for name, table in against.items():
            binned = binned_metrics(table, photometry, **settings)
            front = {"against": np.full(binned.n_rows, name, object)}
            bins.append(Table(front | dict(binned)))
        write_table(snakemake.output.bins, stack_tables(bins), meta=origin)

"""Predict the pixels of a scale by models that are told another pixel scale."""

from pathlib import Path

from dustcast.bridge import run
from dustcast.learning.experiments import FoldModel, read_features, read_folds, rows_of_fold
from dustcast.learning.selections import told_metrics, told_scale
from dustcast.tables import read_table, stack_tables, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        selection = snakemake.params.experiment["selection"] | {
            "scales": [snakemake.params.told["scale"]]
        }
        features, _ = read_features([read_table(snakemake.input.features)], selection)
        folds = read_folds(read_table(snakemake.input.folds))
        parts = []
        for folder in map(Path, snakemake.input.models):
            fold = int(folder.name.removeprefix("fold"))
            rows = rows_of_fold(features, folds, fold)
            model = FoldModel.load(folder)
            parts.append(told_scale(rows, model, snakemake.params.pixel_scale_pc, fold))
        table = stack_tables(parts)
        write_table(snakemake.output.predictions, table, meta=origin)
        metrics = told_metrics(
            table, n_bootstrap=snakemake.params.n_bootstrap, seed=snakemake.params.seed
        )
        write_table(snakemake.output.metrics, metrics, meta=origin)

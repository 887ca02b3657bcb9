"""Predict pixels finer than the far-infrared by models of the folds that did not see them."""

from pathlib import Path

from dustcast.bridge import run
from dustcast.learning.experiments import (
    FoldModel,
    predict_fold,
    read_features,
    read_folds,
    rows_of_fold,
)
from dustcast.tables import read_table, stack_tables, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        features, _ = read_features(
            [read_table(snakemake.input.features)], snakemake.params.selection
        )
        folds = read_folds(read_table(snakemake.input.folds))
        parts = []
        for folder in map(Path, snakemake.input.models):
            fold = int(folder.name.removeprefix("fold"))
            rows = rows_of_fold(features, folds, fold)
            parts.append(predict_fold(rows, FoldModel.load(folder), fold))
        write_table(snakemake.output[0], stack_tables(parts), meta=origin)

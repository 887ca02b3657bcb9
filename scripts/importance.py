"""Measure which features matter for which property, and how predictions depend on them."""

from pathlib import Path

from dustcast.bridge import run
from dustcast.learning.experiments import FoldModel, read_features, read_folds
from dustcast.learning.importance import partial_dependence, permutation_importance
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        params = snakemake.params
        features, _ = read_features(
            map(read_table, snakemake.input.features), params.experiment["selection"]
        )
        folds = read_folds(read_table(snakemake.input.folds))
        models = [
            (int(folder.name.removeprefix("fold")), FoldModel.load(folder))
            for folder in map(Path, snakemake.input.models)
        ]
        importance = permutation_importance(
            features, folds, models, n_bootstrap=params.n_bootstrap, seed=params.seed
        )
        write_table(snakemake.output.importance, importance, meta=origin)
        dependence = partial_dependence(features, folds, models, importance, seed=params.seed)
        write_table(snakemake.output.dependence, dependence, meta=origin)

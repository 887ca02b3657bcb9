"""Write the models of an experiment as one folder that predicts any galaxy."""

from pathlib import Path

from dustcast.bridge import run
from dustcast.learning.dropout import subset_metrics
from dustcast.learning.experiments import read_features, read_folds
from dustcast.learning.features import official_fit
from dustcast.learning.shipping import (
    fold_metrics,
    model_card,
    own_shares,
    read_sigma_shares,
    ship_model,
    star_errors,
)
from dustcast.tables import read_table, stack_tables

if __name__ == "__main__":
    with run(snakemake):
        settings = snakemake.params.settings
        features, names = read_features(
            map(read_table, snakemake.input.features), settings["selection"]
        )
        folds = read_folds(read_table(snakemake.input.folds))
        predictions = read_table(snakemake.input.predictions)
        predictions = predictions.rows(predictions["regressor"] == snakemake.params.regressor)
        official = snakemake.input.get("truth")
        full = official_fit(official[0]) if official else map(read_table, snakemake.input.full)
        settings = settings | {
            "split": own_shares(predictions) or read_sigma_shares(snakemake.input.split),
            "stars": star_errors(
                predictions,
                stack_tables(map(read_table, snakemake.input.short)),
                full if official else stack_tables(full),
            ),
        }
        options = {"experiment": settings["name"], "n_bootstrap": snakemake.params.n_bootstrap}
        card = model_card(
            settings,
            snakemake.params.regressor,
            folds,
            features.n_rows,
            fold_metrics(predictions, **options),
            subset_metrics(predictions, **options) if snakemake.params.dropout else None,
        )
        trained = {
            (folder.parent.name, int(folder.name.removeprefix("fold"))): folder
            for folder in map(Path, snakemake.input.models)
        }
        ship_model(snakemake.output[0], features, names, trained, folds, settings, card=card)

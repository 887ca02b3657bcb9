"""Train the models of a regressor and target, one a fold."""

from dustcast.bridge import progress, run
from dustcast.learning.experiments import read_features, read_folds, train_fold, training_sample
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        features, names = read_features(
            map(read_table, snakemake.input.features), snakemake.params.experiment["selection"]
        )
        folds = read_folds(read_table(snakemake.input.folds))
        count = progress(len(snakemake.output), "folds trained")
        for fold, folder in enumerate(snakemake.output):
            others = {galaxy for galaxy, other in folds.items() if other != fold}
            training = snakemake.params.experiment["training"]
            model = train_fold(
                training_sample(features, others, training, snakemake.params.seed),
                names,
                snakemake.wildcards.target,
                others,
                snakemake.wildcards.regressor,
                snakemake.params.settings,
                snakemake.params.seed,
            )
            model.save(folder)
            count()

"""Predict a user's synthetic observations, and score what is known of them."""

from pathlib import Path

from dustcast.bridge import run
from dustcast.learning.metrics import metrics_table
from dustcast.learning.shipping import MapModel
from dustcast.learning.synthetic import as_text, with_truth
from dustcast.tables import read_csv, read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        inputs, params = snakemake.input, snakemake.params
        # No name of a galaxy: nothing synthetic was trained on.
        predictions = MapModel.load(inputs.model).predict(
            read_table(inputs.short), read_table(inputs.photometry), ""
        )
        write_table(snakemake.output.predictions, predictions, meta=origin)
        objects = {row["id"]: row for row in read_csv(inputs.truth, required=("id",))}
        scored = with_truth(predictions, objects, Path(inputs.model).name)
        metrics = metrics_table(
            scored, experiment="synthetic", n_bootstrap=params.n_bootstrap, seed=params.seed
        )
        write_table(snakemake.output.metrics, metrics, meta=origin)
        Path(snakemake.output.text).write_text(as_text(metrics) + "\n", encoding="utf-8")

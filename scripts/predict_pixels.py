"""Predict the pixels of a galaxy by a model that left the run that trained it."""

from dustcast.bridge import run
from dustcast.learning.shipping import MapModel
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        full = snakemake.input.get("full")
        predictions = MapModel.load(snakemake.input.model).predict(
            read_table(snakemake.input.short),
            read_table(snakemake.input.photometry),
            snakemake.wildcards.galaxy,
            read_table(full) if full else None,
        )
        write_table(snakemake.output[0], predictions, meta=origin)

"""Draw predicted against true values of an experiment (the paper's Fig. 1)."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.predicted_vs_true import predicted_vs_true
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        figure = predicted_vs_true(
            read_table(snakemake.input.predictions),
            read_table(snakemake.input.metrics),
            regressor=snakemake.wildcards.regressor,
            scale=snakemake.wildcards.scale,
        )
        style.save(figure, snakemake.output.pdf, snakemake.output.png)

"""Draw predicted against true values of some galaxies (the paper's Figs. 1 and 7)."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.predicted_vs_true import predicted_vs_true, select
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        params = snakemake.params
        metrics = read_table(snakemake.input.metrics)
        figure = predicted_vs_true(
            select(read_table(snakemake.input.predictions), galaxy=params.galaxies),
            select(metrics, selection=params.selection),
            regressor=params.regressor,
            scale=params.scale,
        )
        style.save(figure, snakemake.output.pdf, snakemake.output.png)

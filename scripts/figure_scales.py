"""Draw predicted against true values of a target at every scale (Figs. 2, A.1, A.2)."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.paper import scales
from dustcast.figures.predicted_vs_true import select
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        figure = scales(
            read_table(snakemake.input.predictions),
            select(read_table(snakemake.input.metrics), selection="all"),
            regressor=snakemake.params.regressor,
            target=snakemake.params.target,
            order=snakemake.params.scales,
        )
        style.save(figure, snakemake.output.pdf, snakemake.output.png)
